"""`mianjiao demo --json`: the contract of its one object, and what lies in `DIR-demo/`."""

import hashlib
import json
from pathlib import Path

import pytest

from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from tests.conftest import Played, mianjiao

pytestmark = pytest.mark.xdist_group("played")


def test_the_object_has_exactly_the_promised_members(played: Played) -> None:
    answer = played.summary
    assert set(answer) == {
        "origin", "tree_size", "cases", "materials", "licenses", "verifications",
        "receipts", "policy", "packages", "refused_files",
    }  # fmt: skip
    assert answer["origin"].startswith("yunjian.mianjiao.example/")
    for name in ("cases", "materials", "licenses"):
        assert answer[name]
        assert len(set(answer[name])) == len(answer[name])
    for one in answer["verifications"]:
        assert set(one) == {"id", "outcome", "reason"}
        assert (one["outcome"] == "allowed") == (one["reason"] is None)


def test_at_least_six_different_reasons_of_denial_occur(played: Played) -> None:
    reasons = {one["reason"] for one in played.summary["verifications"]} - {None}
    assert reasons >= {
        "address_changed_since", "co_owner_consent_missing", "content_mismatch",
        "grant_other_case", "grant_revoked", "grant_missing", "material_stopped",
    }  # fmt: skip


def test_every_thing_has_a_receipt_that_holds_and_nothing_else_lies_there(played: Played) -> None:
    answer = played.summary
    folder = Path(answer["receipts"])
    things = {
        *answer["cases"],
        *answer["materials"],
        *answer["licenses"],
        *(one["id"] for one in answer["verifications"]),
    }
    assert {path.name for path in folder.iterdir()} == {f"{thing}.json" for thing in things}
    policy = parse_policy(Path(answer["policy"]).read_bytes())
    for path in folder.iterdir():
        assert isinstance(verify_receipt(path.read_bytes(), policy), Evidence), path.name


def test_the_policy_stands_apart_and_asks_for_no_quorum(played: Played) -> None:
    policy = Path(played.summary["policy"])
    assert "quorum none" in policy.read_text()
    assert not policy.is_relative_to(played.summary["receipts"])
    for package in played.summary["packages"]:
        assert not policy.is_relative_to(package)


def test_the_users_own_files_are_kept_byte_for_byte(played: Played) -> None:
    wanted = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.stat().st_size
        for path in played.own_files.rglob("*")
        if path.is_file() and path.stat().st_size
    }
    kept: dict[str, int] = {}
    for material in played.summary["materials"]:
        receipt = json.loads((Path(played.summary["receipts"]) / f"{material}.json").read_text())
        (file,) = receipt["record"]["files"]
        kept[file["digests"]["sha256"]] = file["size"]
    assert wanted.items() <= kept.items()


def test_each_stored_file_has_one_id(played: Played) -> None:
    objects = [path for path in (played.data / "objects").rglob("*") if path.is_file()]
    # One package per closed case is kept for a week, sealed like everything else.
    assert len(objects) == len(played.summary["materials"]) + len(played.summary["packages"])


def test_an_empty_file_is_refused_by_its_name(played: Played) -> None:
    assert played.summary["refused_files"] == [{"name": "空.txt", "code": "empty_file"}]


def test_packages_verify_with_the_policy(played: Played) -> None:
    assert played.summary["packages"]
    for package in played.summary["packages"]:
        done = mianjiao("verify", package, "--policy", played.summary["policy"], "--json")
        assert json.loads(done.stdout)["outcome"] == "valid"


def test_a_used_folder_is_refused_and_left_alone(played: Played) -> None:
    before = sorted(played.results.rglob("*"))
    done = mianjiao("demo", "--data", played.data, expect=1)
    assert "store_exists" in done.stderr
    assert sorted(played.results.rglob("*")) == before


def test_a_missing_folder_of_files_is_an_error_before_anything_is_made(tmp_path: Path) -> None:
    done = mianjiao("demo", "--data", tmp_path / "store", "--files", tmp_path / "none", expect=2)
    assert "files_folder_unreadable" in done.stderr
    assert not (tmp_path / "store").exists()


def test_tokens_are_for_the_owner_alone(played: Played) -> None:
    tokens = played.results / "tokens.json"
    assert tokens.stat().st_mode & 0o077 == 0
    assert len(json.loads(tokens.read_text(encoding="utf-8"))) == len(played.tokens)
