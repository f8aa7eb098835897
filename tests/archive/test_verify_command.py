"""`mianjiao verify`: exit codes, named reasons, and never a zero for a changed byte."""

import hashlib
import io
import json
import resource
import subprocess
import sys
import zlib
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from archive.reading import file_blocks
from archive.stored_zip import ZipMember, zip_blocks
from kernel.clock import parse_time
from runtime.commands.verify import verify


def run(
    path: Path, policy: Path, file: Path | None = None, demands: Path | None = None
) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = verify(path, policy, file, True, demands)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, "exactly one JSON object"
    return code, json.loads(lines[0])


@pytest.fixture
def policy(folder: Path) -> Path:
    return folder.with_name("policy.txt")


@pytest.fixture
def receipt(folder: Path, tmp_path: Path) -> Path:
    """The receipt of the lease, on its own."""
    for path in sorted((folder / "receipts").iterdir()):
        record = json.loads(path.read_bytes())["record"]
        if record["kind"] == "material.registered" and record["type"] == "lease":
            target = tmp_path / "lease.json"
            target.write_bytes(path.read_bytes())
            return target
    raise AssertionError("no receipt of the lease")


LEASE = "data/materials/0001/0001.pdf"


def test_a_good_receipt_is_valid_and_says_what_it_does_not_prove(
    receipt: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = run(receipt, policy)
    assert (code, answer["outcome"], answer["subject"]) == (0, "valid", "receipt")
    assert answer["evidence"]["trust"] == "operator-only"
    assert answer["evidence"]["kind"] == "material.registered"
    assert len(answer["not_proved"]) == 4
    assert verify(receipt, policy, None, False) == 0
    text = capsys.readouterr().out
    assert text.index("有效") < text.index("VALID")
    assert "operator-only" in text
    assert '"logged then", not "valid now"' in text


def test_the_file_of_the_record_is_found_and_another_is_not(
    receipt: Path, policy: Path, folder: Path
) -> None:
    code, answer = run(receipt, policy, folder / LEASE)
    assert (code, answer["file"]["found"], answer["file"]["position"]) == (0, True, 0)
    data = bytearray((folder / LEASE).read_bytes())
    data[7] ^= 1
    (folder / "other.pdf").write_bytes(data)
    code, answer = run(receipt, policy, folder / "other.pdf")
    assert (code, answer["code"], answer["file"]["found"]) == (1, "file_not_in_record", False)


def test_a_file_that_matches_by_sha256_alone_is_not_enough(package: Any, tmp_path: Path) -> None:
    log = package.log
    entry = log.add(
        "material.registered",
        "mat_9",
        {
            "files": [
                {
                    "name": "x",
                    "size": 1,
                    "digests": {"sha256": hashlib.sha256(b"x").hexdigest(), "sm3": "00" * 32},
                }
            ]
        },
    )
    (tmp_path / "receipt.json").write_bytes(log.receipt(entry))
    (tmp_path / "policy").write_bytes(log.policy)
    (tmp_path / "x").write_bytes(b"x")
    code, answer = run(tmp_path / "receipt.json", tmp_path / "policy", tmp_path / "x")
    assert (code, answer["code"]) == (1, "file_not_in_record")


def test_every_byte_of_a_receipt_counts(receipt: Path, policy: Path) -> None:
    data = receipt.read_bytes()
    for position in range(len(data)):
        for flip in (0x01, 0x20):
            changed = bytearray(data)
            changed[position] ^= flip
            receipt.write_bytes(changed)
            code, answer = run(receipt, policy)
            assert code in (1, 2), f"byte {position}"
            assert answer["code"], f"byte {position}"
    receipt.write_bytes(data)
    assert run(receipt, policy)[0] == 0


def test_truncated_extended_and_repeated_receipts_are_not_valid(
    receipt: Path, policy: Path
) -> None:
    data = receipt.read_bytes()
    for changed in (data[:-1], data + b"\n", data + data, data[: len(data) // 2], b"{}\n", b"{"):
        receipt.write_bytes(changed)
        assert run(receipt, policy)[0] == 1


def test_unusable_input_is_two_and_named(receipt: Path, policy: Path, tmp_path: Path) -> None:
    missing, empty, junk, folder = (tmp_path / name for name in ("none", "empty", "junk", "dir"))
    empty.write_bytes(b"")
    junk.write_bytes(b"%PDF-1.7")
    folder.mkdir()
    cases = [
        (missing, policy, None, "input_unreadable"),
        (empty, policy, None, "not_receipt_or_package"),
        (junk, policy, None, "not_receipt_or_package"),
        (folder, policy, None, "not_receipt_or_package"),
        (receipt, missing, None, "policy_unreadable"),
        (receipt, folder, None, "policy_unreadable"),
        (receipt, empty, None, "policy_malformed"),
        (receipt, junk, None, "policy_malformed"),
        (receipt, policy, missing, "file_unreadable"),
        (receipt, policy, folder, "file_unreadable"),
        (tmp_path / "a\0b", policy, None, "input_unreadable"),
    ]
    for path, trust, file, code in cases:
        exit_code, answer = run(path, trust, file)
        assert (exit_code, answer["code"]) == (2, code)


def test_a_receipt_over_the_limit_is_unusable(receipt: Path, policy: Path) -> None:
    receipt.write_bytes(b"{" + b" " * (5 << 20))
    assert run(receipt, policy)[1]["code"] == "input_too_large"


def test_another_policy_refuses(receipt: Path, policy: Path, package: Any) -> None:
    stranger = type(package.log)(seed=b"\x09" * 32)
    policy.write_bytes(stranger.policy)
    assert run(receipt, policy)[1]["code"] == "log_not_trusted"
    witnessed = package.log.policy.replace(
        b"quorum none",
        b"witness w " + stranger_witness().encode() + b"\nquorum w",
    )
    policy.write_bytes(witnessed)
    assert run(receipt, policy)[1]["code"] == "quorum_not_met"


def stranger_witness() -> str:
    from ledger.keys import Ed25519Signer
    from ledger.notes import SignatureType, VerifierKey

    public = Ed25519Signer("w.example", b"\x0a" * 32).key.public
    return VerifierKey("w.example", SignatureType.COSIGNATURE_ED25519, public).text


def test_a_good_package_is_valid_and_names_what_covers_the_documents(
    folder: Path, policy: Path
) -> None:
    code, answer = run(folder, policy)
    assert (code, answer["outcome"], answer["subject"]) == (0, "valid", "package")
    assert (answer["package"]["receipts"], answer["package"]["payload_files"]) == (10, 4)
    assert answer["package"]["export_receipt"] is None
    assert any("receipt of the export" in item["en"] for item in answer["not_proved"])
    assert run(folder, policy, folder / LEASE)[1]["file"]["found"] is True
    assert run(folder, policy, folder / "case.xml")[0] == 1


def test_a_changed_package_names_the_file(
    folder: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = folder / LEASE
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    code, answer = run(folder, policy)
    assert code == 1
    assert {item["path"] for item in answer["failures"]} == {LEASE}
    assert {item["code"] for item in answer["failures"]} == {"digest_mismatch", "content_mismatch"}
    assert verify(folder, policy, None, False) == 1
    text = capsys.readouterr().out
    assert f"{LEASE}: 文件内容与存证不一致" in text
    assert "[content_mismatch]" in text


def test_a_package_without_its_declaration_is_not_valid(folder: Path, policy: Path) -> None:
    (folder / "bagit.txt").unlink()
    code, answer = run(folder, policy)
    assert (code, answer["code"]) == (1, "tag_file_missing")


def export_receipt(package: Any, folder: Path, **change: Any) -> bytes:
    data = (folder / "tagmanifest-sha256.txt").read_bytes()
    from archive.digests import Digester

    with Digester() as digester:
        digester.update(data)
        member = digester.member()
    body = {
        "files": [
            {
                "name": "tagmanifest-sha256.txt",
                "size": member.size,
                "digests": {"sha256": member.sha256, "sm3": member.sm3},
            }
        ],
        **change,
    }
    entry = package.log.add("case.exported", "exp_1", body)
    made: bytes = package.log.receipt(entry)
    return made


def test_the_receipt_of_the_export_covers_the_whole_package(
    package: Any, folder: Path, policy: Path
) -> None:
    beside = folder.with_name("package.receipt.json")
    beside.write_bytes(export_receipt(package, folder))
    code, answer = run(folder, policy)
    assert code == 0
    assert answer["package"]["export_receipt"]["kind"] == "case.exported"
    assert len(answer["not_proved"]) == 3
    # The same receipt proves it without the package check too.
    code, _ = run(beside, policy, folder / "tagmanifest-sha256.txt")
    assert code == 0


def test_a_package_made_anew_with_another_document_fails_its_export_receipt(
    package: Any, folder: Path, policy: Path, tmp_path: Path
) -> None:
    receipt = export_receipt(package, folder)
    forged = b"%PDF-1.4 forged slip"
    package.payload["data/documents/0001.pdf"] = forged
    document = package.case["documents"][0]
    document["size"], document["sha256"] = len(forged), hashlib.sha256(forged).hexdigest()
    package.write(tmp_path / "other")
    assert run(tmp_path / "other", policy)[0] == 0  # every single record holds
    (tmp_path / "other.receipt.json").write_bytes(receipt)
    code, answer = run(tmp_path / "other", policy)
    assert (code, answer["code"]) == (1, "export_receipt_differs")
    (tmp_path / "other.receipt.json").write_bytes(receipt[:-2] + b"x\n")
    assert run(tmp_path / "other", policy)[1]["code"] == "export_receipt_invalid"


def packed(folder: Path) -> bytes:
    members = []
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        data = path.read_bytes()
        name = f"package/{path.relative_to(folder)}"
        members.append(ZipMember(name, len(data), zlib.crc32(data)))
    at = parse_time("2026-11-24T05:20:21.123Z")
    return b"".join(zip_blocks(members, at, lambda item: file_blocks(folder.parent / item.name)))


def test_a_packed_package_is_verified_as_it_is(folder: Path, policy: Path, tmp_path: Path) -> None:
    data = packed(folder)
    target = tmp_path / "package.zip"
    target.write_bytes(data)
    assert run(target, policy)[0] == 0
    for position in range(0, len(data), max(1, len(data) // 40)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        target.write_bytes(changed)
        assert run(target, policy)[0] in (1, 2), f"byte {position}"
    target.write_bytes(data[:-30])
    assert run(target, policy)[1]["code"] in ("zip_invalid", "tag_file_missing")


def test_a_zip_of_another_program_is_refused_by_name(
    folder: Path, policy: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.make_archive(str(tmp_path / "other"), "zip", folder.parent, "package")
    code, answer = run(tmp_path / "other.zip", policy)
    assert (code, answer["failures"][0]["code"]) == (1, "zip_invalid")


def test_verify_starts_cold_in_under_half_a_second_without_heavy_imports(
    receipt: Path, policy: Path
) -> None:
    program = (
        "import sys, pathlib\n"
        "from runtime.commands.verify import verify\n"
        "code = verify(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), None, True)\n"
        "heavy = {'sqlalchemy', 'fastapi', 'pydantic', 'starlette', 'yaml', 'reportlab'}\n"
        "sys.exit(99 if heavy & set(sys.modules) else code)\n"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", program, str(receipt), str(policy)],
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr.decode()
        # Processor time: what it takes where nothing else runs.
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5
