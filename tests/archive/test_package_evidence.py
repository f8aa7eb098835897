"""Evidence from outside in a package: carried by each receipt, judged as a receipt's is."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoints import SignedCheckpoint
from ledger.notes import SignatureType
from runtime.commands.verify import verify
from tests.archive.evidenced import COSIGNED_AT, Evidenced, make_evidenced
from tests.archive.test_verify_command import export_receipt, run


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Evidenced:
    return make_evidenced(tmp_path_factory.mktemp("package") / "authority")


@pytest.fixture
def made(made_once: Evidenced) -> Evidenced:
    return deepcopy(made_once)


@pytest.fixture
def check(made: Evidenced, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Writes the package, as it is now, and verifies it as a command."""

    def work(demands: bytes | None = made.demands) -> tuple[int, dict[str, Any]]:
        folder, policy = tmp_path / "package", tmp_path / "policy.txt"
        if not folder.exists():
            made.package.write(folder)
        policy.write_bytes(made.policy)
        told = tmp_path / "demands.toml"
        told.write_bytes(demands or b"")
        return run(folder, policy, None, None if demands is None else told)

    return work


Check = Callable[..., tuple[int, dict[str, Any]]]


def codes(answer: dict[str, Any]) -> set[tuple[str, str | None]]:
    return {(one["code"], one["path"]) for one in answer["failures"]}


def limited(made: Evidenced, time: str) -> bytes:
    first, rest = made.demands.split(b"\n", 1)
    return first + f'\nnot_later_than = "{time}"\n'.encode() + rest


def test_the_report_says_of_a_package_what_it_says_of_a_receipt(
    made: Evidenced, check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = check()
    assert (code, answer["subject"], answer["failures"]) == (0, "package", [])
    assert answer["package"]["trust"] == "quorum"
    (checkpoint,) = answer["package"]["checkpoints"]
    assert checkpoint["post_quantum"] is True
    assert len(checkpoint["log_keys"]) == 2
    assert checkpoint["witnesses"] == [{"name": "w", "time": COSIGNED_AT}]
    told = answer["package"]["evidence"]
    assert len(told) == answer["package"]["receipts"] == 10
    # The very words that `verify` has for each receipt on its own.
    policy, demands = tmp_path / "policy.txt", tmp_path / "demands.toml"
    for one in told:
        alone = run(tmp_path / "package" / one.pop("path"), policy, None, demands)[1]["evidence"]
        one.pop("record")
        assert one == alone
    chain, stamp = told[0]["anchors"]
    assert (chain["name"], chain["state"], chain["block"]) == ("city chain", "holds", 7)
    assert (stamp["name"], stamp["state"], stamp["renewals"]) == ("authority", "holds", 1)
    assert answer["package"]["proved_by"] == chain["time"]  # a stamp's is that of today
    assert verify(tmp_path / "package", policy, None, False, demands) == 0
    text = capsys.readouterr().out
    for words in ("ML-DSA-44", "见证人已联署：w", "区块链 city chain 的区块 7", "10/10 份凭证"):
        assert words in text
    assert f"全部 10 条记录最晚在 {chain['time']} 已存证" in text
    assert "not checked" not in text


def test_without_demands_the_evidence_is_there_and_not_checked(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = check(None)
    assert code == 0
    states = {one["state"] for item in answer["package"]["evidence"] for one in item["anchors"]}
    assert (states, answer["package"]["proved_by"]) == ({"unchecked"}, None)
    verify(tmp_path / "package", tmp_path / "policy.txt", None, False)
    text = capsys.readouterr().out
    assert "not checked: --demands says whom you trust (10 receipts)" in text
    assert "for 10 of 10 receipts" in text


@pytest.mark.parametrize(("gone", "demand"), [(0, "city chain"), (1, "authority")])
def test_one_receipt_without_demanded_evidence_is_named(
    made: Evidenced, check: Check, gone: int, demand: str
) -> None:
    made.carry(made.anchors[1 - gone], number=3)
    path = made.package.case["receipts"][3]["path"]
    code, answer = check()
    assert (code, codes(answer)) == (1, {("demand_unmet", path)})
    assert demand in answer["zh"]
    assert len(answer["package"]["evidence"]) == 10  # what it does have is told
    assert check(None)[0] == 0


def test_every_record_must_have_stood_there_by_then(made: Evidenced, check: Check) -> None:
    at = check()[1]["package"]["proved_by"]
    assert check(limited(made, at))[0] == 0
    code, answer = check(limited(made, at.replace("7.000Z", "6.999Z")))
    assert (code, len(answer["failures"])) == (1, 10)
    assert {code for code, _ in codes(answer)} == {"demand_unmet"}


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"c0c0", b"c1c0"), (b'code_hash = "0x', b'code_hash = "0x00'), (b'["0x', b'["0x00')],
)
def test_evidence_of_another_contract_code_or_validators_does_not_count(
    made: Evidenced, check: Check, old: bytes, new: bytes
) -> None:
    at = made.demands.index(old)
    drop = len(new) - len(old)
    changed = made.demands[:at] + new + made.demands[at + len(old) + drop :]
    code, answer = check(changed)
    assert (code, answer["code"]) == (1, "demand_unmet")


def test_empty_and_malformed_demands_are_unusable_for_a_package_too(check: Check) -> None:
    for demands, why in (
        (b'format = "mianjiao.demands/v1"\n', "demands_empty"),
        (b"x", "demands_malformed"),
    ):
        code, answer = check(demands)
        assert (code, answer["outcome"], answer["code"]) == (2, "unusable", why)


def test_an_end_of_the_log_that_is_pinned_elsewhere_refuses_the_package(
    made: Evidenced, check: Check
) -> None:
    head = made.checkpoint.checkpoint

    def pinned(size: int, root: bytes) -> bytes:
        return (
            f'format = "mianjiao.demands/v1"\n[[retired]]\norigin = "{head.origin}"\n'
            f'size = {size}\nroot = "0x{root.hex()}"\n'.encode()
        )

    assert check(pinned(head.size, head.root))[0] == 0
    assert check(pinned(head.size + 1, bytes(32)))[0] == 0
    for size, root in ((head.size, bytes(32)), (head.size - 1, head.root)):
        code, answer = check(pinned(size, root))
        assert code == 1
        assert ("checkpoint_invalid", "checkpoints/2026") in codes(answer)
        assert "checkpoint_after_end" in answer["zh"]
        assert sum(one["code"] == "receipt_invalid" for one in answer["failures"]) == 10


def test_the_receipt_of_the_export_is_told_of_and_nothing_is_demanded_of_it(
    made: Evidenced, check: Check, tmp_path: Path
) -> None:
    made.package.write(tmp_path / "package")
    beside = tmp_path / "package.receipt.json"
    beside.write_bytes(export_receipt(made.package, tmp_path / "package"))
    made.policy = made.package.log.policy  # no witness cosigned that one
    code, answer = check()
    assert (code, answer["package"]["export_receipt"]["anchors"]) == (0, [])
    # By itself it is a receipt like any other.
    policy, demands = tmp_path / "policy.txt", tmp_path / "demands.toml"
    assert run(beside, policy, None, demands)[1]["code"] == "demand_unmet"


def without(signed: SignedCheckpoint, kind: SignatureType) -> SignedCheckpoint:
    blobs = {SignatureType.ED25519: 64, SignatureType.COSIGNATURE_MLDSA44: 2428}
    kept = [one for one in signed.note.signatures if len(one.blob) != blobs[kind]]
    assert len(kept) == len(signed.note.signatures) - 1
    return replace(signed, note=replace(signed.note, signatures=tuple(kept)))


def test_a_post_quantum_signature_that_was_dropped_is_told(
    made: Evidenced, check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fields, about), stamp = made.anchors
    kind = SignatureType.COSIGNATURE_MLDSA44
    made.carry((fields, without(about, kind)), stamp, number=2)
    code, answer = check()
    assert code == 0
    absent = [item["anchors"][0]["absent_log_keys"] for item in answer["package"]["evidence"]]
    assert [len(keys) for keys in absent] == [0, 0, 1, *[0] * 7]
    verify(tmp_path / "package", tmp_path / "policy.txt", None, False, tmp_path / "demands.toml")
    assert "缺少信任策略所列日志公钥的签名（ML-DSA-44）（1 份凭证）" in capsys.readouterr().out


def test_a_package_signed_only_the_old_way_is_told(
    made: Evidenced, check: Check, tmp_path: Path
) -> None:
    made.checkpoint = without(made.checkpoint, SignatureType.COSIGNATURE_MLDSA44)
    made.package.texts["checkpoints/2026"] = made.checkpoint.encode()
    made.carry(*made.anchors)
    code, answer = check()
    assert code == 0
    (checkpoint,) = answer["package"]["checkpoints"]
    assert (checkpoint["post_quantum"], len(checkpoint["absent_log_keys"])) == (False, 1)
    assert any("ML-DSA-44" in one["zh"] for one in answer["not_proved"])
    assert not any("ML-DSA-44" in one["zh"] for one in answer["proved"])
    receipt = json.loads(next((tmp_path / "package" / "receipts").iterdir()).read_bytes())
    assert receipt["proof"].count("— archive.example") == 1
