"""Package checks: what was changed is named, also when all manifests were made anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bagit
import pytest
from lxml import etree

from archive import checks
from archive.assembly import schema
from archive.checks import PackageReport, check_package
from archive.findings import CODES, Finding
from archive.reading import read_folder
from ledger.policy import parse_policy

SCHEMAS = Path(checks.__file__).parent / "schema"


def report_of(root: Path, policy: bytes) -> PackageReport:
    package = read_folder(root)
    report = check_package(package.members, package.texts, parse_policy(policy))
    report.findings[:0] = package.findings
    return report


def findings(made: Any, root: Path) -> list[Finding]:
    """Write the (changed) package with fresh manifests and check it."""
    made.write(root)
    return report_of(root, made.log.policy).findings


def test_a_good_package_has_no_findings_and_the_outside_checker_agrees(folder: Path) -> None:
    report = report_of(folder, folder.with_name("policy.txt").read_bytes())
    assert report.findings == []
    assert len(report.receipts) == 10
    assert (report.payload_files, report.case is not None) == (4, True)
    assert bagit.Bag(str(folder)).validate()


def test_both_xml_files_follow_the_schemas_in_the_package(folder: Path) -> None:
    for name in ("case", "process"):
        tree = etree.parse(folder / "schema" / f"{name}.xsd")
        etree.XMLSchema(tree).assertValid(etree.parse(folder / f"{name}.xml"))


def test_a_title_that_xml_cannot_hold_survives_in_both(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_bytes())
    assert case["materials"][0]["title"] == "租赁合同 <新>\u000b"
    assert b'escaped="json"' in (folder / "case.xml").read_bytes()


@pytest.mark.parametrize("name", ["case", "process"])
def test_published_schemas_do_not_change(name: str) -> None:
    # Version 1 is append-only: an old package must still be read by new software.
    assert schema(f"schema/{name}.xsd") == (SCHEMAS / f"{name}.xsd").read_bytes()


def test_any_changed_byte_of_any_file_is_found(folder: Path) -> None:
    policy = folder.with_name("policy.txt").read_bytes()
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        data = path.read_bytes()
        for position in range(0, len(data), max(1, len(data) // 6)):
            changed = bytearray(data)
            changed[position] ^= 0x01
            path.write_bytes(changed)
            found = report_of(folder, policy).findings
            assert found, f"{path.name} byte {position}"
        path.write_bytes(data)


Change = Callable[[Any], None]


def edit(*path: str | int, to: object) -> Change:
    """Change one value of the description."""

    def change(made: Any) -> None:
        place = made.case
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def payload(path: str, data: bytes) -> Change:
    def change(made: Any) -> None:
        made.payload[path] = data

    return change


def drop_text(number: int) -> Change:
    def change(made: Any) -> None:
        del made.texts[made.case["receipts"][number]["path"]]

    return change


def drop_receipt_entirely(number: int) -> Change:
    def change(made: Any) -> None:
        del made.texts[made.case["receipts"].pop(number)["path"]]

    return change


def flip_receipt(made: Any) -> None:
    path = made.case["receipts"][4]["path"]
    made.texts[path] = made.texts[path].replace(b"certified_copy", b"authority_copy")


def later_checkpoint(made: Any) -> None:
    made.log.add("later", "cas_9", {"status": "x"})
    item = made.case["receipts"][4]
    made.texts[item["path"]] = made.log.receipt(item["record"])


def swap_receipts(made: Any) -> None:
    first, second = made.case["receipts"][4]["path"], made.case["receipts"][1]["path"]
    made.texts[first], made.texts[second] = made.texts[second], made.texts[first]


def extra_receipt(made: Any) -> None:
    made.texts["receipts/ent_extra.json"] = made.texts[made.case["receipts"][0]["path"]]


def extra_listed_receipt(made: Any) -> None:
    entry = made.log.entries[-1][0]
    record = made.log.record(entry)
    path = f"receipts/{entry}.json"
    made.texts[path] = made.log.receipt(entry)
    made.case["receipts"].append(
        {
            "record": entry,
            "entity": record["entity"],
            "kind": record["kind"],
            "at": record["at"],
            "shard": "2026",
            "index": len(made.log.entries) - 1,
            "path": path,
        }
    )


def drop_material(made: Any) -> None:
    gone = made.case["materials"].pop(0)
    for file in gone["files"]:
        del made.payload[file["path"]]


def own_policy(made: Any) -> None:
    made.texts["policy.txt"] = made.log.policy


def other_file_digests(made: Any) -> None:
    made.payload["data/materials/0001/0001.pdf"] = b"forged"
    file = made.case["materials"][0]["files"][0]
    from hashlib import sha256

    file["sha256"], file["size"] = sha256(b"forged").hexdigest(), 6


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (payload("data/materials/0001/0001.pdf", b"%PDF-1.7 forged"), "content_mismatch"),
        (payload("data/documents/0001.pdf", b"%PDF-1.7 forged"), "content_mismatch"),
        (payload("data/licenses/0001.json", b"{}\n"), "content_mismatch"),
        (payload("data/materials/0003/0001.pdf", b"x"), "content_unaccounted"),
        (own_policy, "content_unaccounted"),
        (other_file_digests, "case_record_differs"),
        (other_file_digests, "content_mismatch"),
        (edit("materials", 0, "title", to="别的合同"), "case_record_differs"),
        (edit("materials", 0, "provenance", to="authority_issued"), "case_record_differs"),
        (edit("materials", 0, "certified", "by", to="别人"), "case_record_differs"),
        (edit("materials", 0, "supersedes", to="mat_0"), "case_record_differs"),
        (edit("materials", 0, "status", to="reusable"), "case_record_differs"),
        (edit("materials", 0, "valid_until", to="2030-01-01T00:00:00.000Z"), "case_record_differs"),
        (edit("materials", 0, "parties", to=[]), "case_record_differs"),
        (edit("materials", 1, "status", to="pending"), "case_record_differs"),
        (edit("materials", 0, "files", 0, "name", to="x.pdf"), "case_record_differs"),
        (edit("materials", 0, "records", to=[]), "case_record_differs"),
        (edit("materials", 0, "id", to="mat_9"), "case_record_differs"),
        (edit("case", "applicant", to="pty_2"), "case_record_differs"),
        (edit("case", "state", to="filed"), "case_record_differs"),
        (edit("parties", 0, "name", to="别人"), "case_record_differs"),
        (edit("parties", 0, "code", to="310199196105179316"), "case_record_differs"),
        (edit("licenses", 0, "status", to="revoked"), "case_record_differs"),
        (edit("verifications", 0, "outcome", to="denied"), "case_record_differs"),
        (edit("verifications", 0, "checks", to=[]), "case_record_differs"),
        (edit("verifications", 0, "basis", "kind", to="statutory_duty"), "case_record_differs"),
        (edit("grants", 0, "purpose", to="别的用途"), "case_record_differs"),
        (edit("grants", 0, "holder", to="pty_2"), "case_record_differs"),
        (edit("process", 1, "state", to="accepted"), "case_record_differs"),
        (edit("process", 1, "at", to="2026-11-25T00:00:00.000Z"), "case_record_differs"),
        (edit("process", to=[]), "case_record_differs"),
        (edit("checkpoints", 0, "size", to=14), "case_record_differs"),
        (edit("checkpoints", 0, "path", to="checkpoints/2025"), "case_malformed"),
        (edit("checkpoints", to=[]), "checkpoint_stray"),
        (edit("checkpoints", to=[]), "checkpoint_differs"),
        (edit("receipts", 0, "path", to="receipts/other.json"), "case_malformed"),
        (edit("receipts", 0, "index", to=5), "checkpoint_differs"),
        (edit("receipts", 0, "entity", to="pty_2"), "receipt_other_record"),
        (edit("format", to="mianjiao.package/v2"), "case_malformed"),
        (drop_text(4), "receipt_missing"),
        (drop_receipt_entirely(4), "case_record_differs"),
        (drop_material, "receipt_stray"),
        (flip_receipt, "receipt_invalid"),
        (later_checkpoint, "checkpoint_differs"),
        (swap_receipts, "receipt_other_record"),
        (extra_receipt, "receipt_stray"),
        (extra_listed_receipt, "receipt_stray"),
    ],
)
def test_a_forged_package_with_fresh_manifests_is_named(
    package: Any, tmp_path: Path, change: Change, code: str
) -> None:
    change(package)
    assert code in {item.code for item in findings(package, tmp_path / "forged")}


def test_a_package_of_another_log_is_refused_under_my_policy(package: Any, tmp_path: Path) -> None:
    mine = package.log.policy
    package.log.seed = b"\x08" * 32
    fresh = type(package.log)(seed=b"\x08" * 32)
    fresh.entries = package.log.entries
    checkpoint = fresh.checkpoint()
    package.texts["checkpoints/2026"] = checkpoint.encode()
    for item in package.case["receipts"]:
        package.texts[item["path"]] = fresh.receipt(item["record"], checkpoint)
    package.write(tmp_path / "forged")
    codes = {item.code for item in report_of(tmp_path / "forged", mine).findings}
    assert codes == {"checkpoint_invalid", "receipt_invalid"}
    assert report_of(tmp_path / "forged", package.log.policy).findings == []


@pytest.mark.parametrize("name", ["case.xml", "process.xml"])
def test_an_xml_that_says_something_else_is_found(package: Any, tmp_path: Path, name: str) -> None:
    package.write(tmp_path / "package")
    read = read_folder(tmp_path / "package")
    read.texts[name] = read.texts[name].replace(b"closed", b"filed", 1)
    policy = parse_policy(package.log.policy)
    codes = {item.code for item in check_package(read.members, read.texts, policy).findings}
    assert "case_xml_differs" in codes
    read.texts[name] = b'<!DOCTYPE x [<!ENTITY a "b">]>' + read.texts[name]
    codes = {item.code for item in check_package(read.members, read.texts, policy).findings}
    assert "case_malformed" in codes


@pytest.mark.parametrize("name", checks.TEXTS)
def test_every_description_file_is_required(package: Any, tmp_path: Path, name: str) -> None:
    package.write(tmp_path / "package")
    read = read_folder(tmp_path / "package")
    del read.texts[name], read.members[name]
    policy = parse_policy(package.log.policy)
    found = check_package(read.members, read.texts, policy).findings
    assert ("tag_file_missing", name) in {(item.code, item.path) for item in found}


def test_a_hostile_description_is_refused_in_time(package: Any, tmp_path: Path) -> None:
    package.write(tmp_path / "package")
    read = read_folder(tmp_path / "package")
    policy = parse_policy(package.log.policy)
    for data in (b"[" * 1_000_000, b'{"format":' * 50_000, b"\xff\xfe", b"null", b"{}"):
        read.texts["case.json"] = data
        codes = {item.code for item in check_package(read.members, read.texts, policy).findings}
        assert "case_malformed" in codes


def test_the_number_of_files_is_limited(folder: Path) -> None:
    assert "too_many_files" in {item.code for item in read_folder(folder, limit=5).findings}
    assert len(read_folder(folder, limit=5).members) == 5


def test_every_finding_code_is_given_somewhere() -> None:
    room = Path(checks.__file__).parent
    source = "".join(
        path.read_text(encoding="utf-8") for path in room.glob("*.py") if path.name != "findings.py"
    )
    assert [code for code in sorted(CODES) if f'"{code}"' not in source] == []


def test_findings_hold_no_control_characters_and_stay_short(package: Any, tmp_path: Path) -> None:
    package.write(tmp_path / "package")
    (tmp_path / "package" / ("x\x1b[31m\n" + "y" * 230)).write_bytes(b"x")
    found = report_of(tmp_path / "package", package.log.policy).findings
    assert found
    for item in found:
        assert item.path is None or (item.path.isprintable() and len(item.path) <= 200)
