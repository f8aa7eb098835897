"""Packages carry the evidence that there is when they are made: real stamps, and a year's end."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.package import export_to_folder
from ledger.demands import FORMAT
from ledger.stamps.stamper import Stamper
from runtime.cli import run
from runtime.settings import read_settings
from runtime.store import open_store
from tests.ledger.stamps.test_stamps import known
from tests.servers.stamp_authority import StampAuthority


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[StampAuthority]:
    made = StampAuthority(tmp_path / "authority")
    yield made
    made.close()


def stamp(office: Any, authority: StampAuthority) -> None:
    made = Stamper(
        office.store.ledger,
        known(authority),
        interval=60,
        renew_before=timedelta(days=30),
        seconds=10,
    )
    made.step(office.clock.now())
    made.close()


def verified(
    package: Path, policy: str, demands: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    files = [package.with_name("policy.txt"), package.with_name("demands.toml")]
    for file, text in zip(files, (policy, demands), strict=True):
        file.write_text(text)
    capsys.readouterr()
    told = ["--policy", str(files[0]), "--demands", str(files[1]), "--json"]
    code = run(["verify", str(package), *told])
    return code, json.loads(capsys.readouterr().out)


def demanded(authority: StampAuthority) -> str:
    roots = authority.roots.decode()
    return f'format = "{FORMAT}"\n[[stamp]]\nname = "authority"\nroots = """{roots}"""\n'


def test_a_package_made_after_the_stamp_meets_the_demand_and_one_made_before_does_not(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, case_id = office.store.archive, office.closed_case()
    early, late = tmp_path / "early", tmp_path / "late"
    policy, demands = office.store.ledger.policy_text(), demanded(authority)
    export_to_folder(archive, office.archivist, case_id, early)
    stamp(office, authority)
    export_to_folder(archive, office.archivist, case_id, late)
    code, answer = verified(early, policy, demands, capsys)
    assert (code, answer["code"]) == (1, "demand_unmet")
    code, answer = verified(late, policy, demands, capsys)
    assert (code, answer["failures"]) == (0, [])
    told = [one for item in answer["package"]["evidence"] for one in item["anchors"]]
    assert [(one["name"], one["state"]) for one in told] == [
        ("authority", "holds") for _ in answer["package"]["evidence"]
    ]
    assert all(len(one["log_keys"]) == 2 for one in told)
    assert answer["package"]["proved_by"] == max(one["time"] for one in told)


def test_a_package_of_a_shard_that_ended_holds_under_the_new_policy_with_its_pin(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = office.store.data
    before, after = tmp_path / "before", tmp_path / "after"
    stamp(office, authority)
    export_to_folder(office.store.archive, office.archivist, office.closed_case(), before)
    assert run(["log", "close", "2027", "--data", str(data)]) == 0
    capsys.readouterr()
    assert run(["log", "retired", "--data", str(data)]) == 0
    pins = capsys.readouterr().out
    with open_store(data, read_settings(None), office.clock) as store:
        export_to_folder(store.archive, office.archivist, office.closed_case(), after)
        policy = store.ledger.policy_text()
    both = pins + demanded(authority).removeprefix(f'format = "{FORMAT}"\n')
    for package in (before, after):
        code, answer = verified(package, policy, both, capsys)
        assert (code, answer["failures"]) == (0, [])
        assert [one["origin"] for one in answer["package"]["checkpoints"]] == [
            "archive.example/2026"
        ]
        # Another end of that year, pinned: nothing of it may come later, or from another tree.
        size = f"size = {store.ledger.readers.finals()[0].size}"
        assert size in pins
        code, answer = verified(package, policy, pins.replace(size, "size = 3"), capsys)
        assert (code, answer["code"]) == (1, "checkpoint_invalid")


def test_the_command_says_how_many_receipts_have_evidence(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, case_id = office.store.data, office.closed_case()
    assert run(["export", case_id, "--data", str(data), "-o", str(tmp_path / "early")]) == 0
    count = len(list((tmp_path / "early" / "receipts").iterdir()))
    assert f"外部证据 evidence   0/{count} 份凭证" in capsys.readouterr().out
    stamp(office, authority)
    assert run(["export", case_id, "--data", str(data), "-o", str(tmp_path / "late")]) == 0
    assert f"外部证据 evidence   {count}/{count} 份凭证" in capsys.readouterr().out
