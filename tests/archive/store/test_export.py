"""Exporting a case from a real store: what is in the package, and what is never left behind."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import bagit
import pytest
from lxml import etree
from sqlalchemy import delete, func, select, update

from archive.checks import PackageReport, check_package, verify_export_receipt
from archive.errors import (
    CaseNotExportable,
    EvidencePending,
    PackageIncomplete,
    PackageTooLarge,
    TargetExists,
    TargetUnusable,
)
from archive.package import export_to_folder
from archive.reading import read_folder
from archive.records import exports_of
from archive.tables import exports
from ledger.policy import parse_policy
from ledger.receipts import Evidence, parse_receipt
from materials_api.errors import CaseUnknown, RecordMismatch
from materials_api.tables import case_documents, cases, materials, uses
from runtime.commands.import_files import import_manifest
from storage.errors import ObjectCorrupt
from storage.tables import audit


def check(office: Any, root: Path) -> PackageReport:
    package = read_folder(root)
    policy = parse_policy(office.store.ledger.policy_text().encode())
    report = check_package(package.members, package.texts, policy)
    report.findings[:0] = package.findings
    return report


def count(office: Any, table: Any, *where: Any) -> int:
    with office.store.database.read() as tx:
        return int(tx.scalar(select(func.count()).select_from(table).where(*where)))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "package"


def test_a_closed_case_becomes_a_package_that_proves_itself(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    made = export_to_folder(office.store.archive, office.archivist, case_id, target)
    report = check(office, target)
    assert report.findings == []
    assert bagit.Bag(str(target)).validate()
    for name in ("case", "process"):
        schema = etree.XMLSchema(etree.parse(target / "schema" / f"{name}.xsd"))
        schema.assertValid(etree.parse(target / f"{name}.xml"))
    assert (made.payload_files, made.payload_bytes) == (
        report.payload_files,
        report.payload_bytes,
    )
    assert report.tagmanifest is not None
    assert made.tagmanifest_sha256.hex() == report.tagmanifest.sha256
    assert [item.name for item in target.parent.iterdir()] == ["package"]


def test_the_description_tells_the_case_and_keeps_the_original_names(
    office: Any, target: Path
) -> None:
    case_id = office.closed_case()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    case = json.loads((target / "case.json").read_bytes())
    assert case["case"]["id"] == case_id
    assert (case["case"]["outcome"], case["case"]["state"]) == ("approved", "closed")
    assert case["case"]["matter_name"] == "高龄津贴"
    assert [item["name"] for item in case["parties"]] == ["赵阿福"]
    identity = case["materials"][0]
    assert identity["title"] == "身份证 <赵阿福>"
    assert [file["name"] for file in identity["files"]] == ["身份证 正面.pdf", "身份证 反面.pdf"]
    assert [file["path"] for file in identity["files"]] == [
        "data/materials/0001/0001.pdf",
        "data/materials/0001/0002.pdf",
    ]
    assert all(item["own"] and item["status"] == "reusable" for item in case["materials"])
    assert identity["certified"]["by"] == "陈晓岚"
    assert (target / "data/materials/0003/0001.pdf").stat().st_size > 300_000
    assert [item["kind"] for item in case["documents"]] == ["acceptance_notice", "decision_notice"]
    assert (target / "data/documents/0001.pdf").read_bytes().startswith(b"%PDF-")
    assert [(item["result"], item["status"]) for item in case["licenses"]] == [(True, "valid")]
    events = [step["event"] for step in case["process"]]
    assert events == ["open", "submit", "accept", "approve", "close"]
    assert case["process"][3]["officer"] == "林知远"
    kinds = {item["kind"] for item in case["receipts"]}
    assert {"party.registered", "material.registered", "material.verify", "case.approve",
            "license.issued"} <= kinds  # fmt: skip
    assert {path.name for path in (target / "receipts").iterdir()} == {
        f"{item['record']}.json" for item in case["receipts"]
    }


def test_a_reused_material_comes_with_its_slip_its_grant_and_its_receipt(
    office: Any, target: Path
) -> None:
    case_id, used = office.residence_case()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert check(office, target).findings == []
    case = json.loads((target / "case.json").read_bytes())
    lease = next(item for item in case["materials"] if item["id"] == used["lease"])
    assert (lease["own"], lease["case"]) == (False, office.closed)
    assert (target / lease["files"][0]["path"]).read_bytes().endswith(b"5")
    outcomes = {item["requirement"]: item["outcome"] for item in case["verifications"]}
    assert outcomes == {
        "identity_proof": "allowed",
        "residence_proof": "allowed",
        "employment_contract": "denied",
    }
    slips = [item for item in case["documents"] if item["kind"] == "verification_slip"]
    assert len(slips) == 3
    assert [(item["id"], item["result"]) for item in case["licenses"]] == [(used["card"], False)]
    assert len(case["answers"]) == 1
    assert {item["purpose"] for item in case["grants"]} == {"居住证签注"}
    met = {item["requirement"]: item for item in case["requirements"]}
    assert (met["residence_proof"]["exempted"], met["residence_proof"]["item"]) == (
        True,
        used["lease"],
    )
    assert met["employment_contract"]["reason"] == "verification_denied"


def test_what_was_only_looked_at_stays_out_of_the_package(office: Any, target: Path) -> None:
    case_id, used = office.residence_case()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    case = json.loads((target / "case.json").read_bytes())
    assert used["contract"] not in {item["id"] for item in case["materials"]}
    text = (target / "case.json").read_text(encoding="utf-8")
    assert '"劳动.pdf"' not in text


def test_another_bodys_licence_is_no_result_of_the_case(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    stranger = replace(office.department, org="11310199MB2Y030387")
    foreign = office.license(case_id, by=stranger)
    office.publish()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    case = json.loads((target / "case.json").read_bytes())
    assert case["licenses"]
    assert foreign not in json.dumps(case)


def test_a_missing_slip_is_named(office: Any, target: Path) -> None:
    case_id, _ = office.residence_case()
    office.store.database.write(
        lambda tx: tx.execute(
            delete(case_documents).where(
                case_documents.c.kind == "verification_slip",
                case_documents.c.requirement == "residence_proof",
            )
        )
    )
    with pytest.raises(PackageIncomplete) as refused:
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    reasons = refused.value.details["reasons"]
    assert isinstance(reasons, list)
    assert reasons[0] == "verification_slip_missing:residence_proof"
    nothing_happened(office, target)


def test_no_path_or_bag_info_holds_a_name_or_a_code(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    paths = "".join(str(path.relative_to(target)) for path in target.rglob("*"))
    assert paths.isascii()
    info = (target / "bag-info.txt").read_text(encoding="utf-8")
    assert "赵阿福" not in info
    assert "310199194803219179" not in info


def test_all_receipts_are_against_one_checkpoint_whatever_was_published_since(
    office: Any, target: Path
) -> None:
    case_id = office.closed_case()
    seen = set()

    def meddle(_step: str, _done: int, _total: int) -> None:
        # The log grows while the package is written.
        office.store.database.write(
            lambda tx: office.store.ledger.journal.record(
                tx, office.clock.now(), "other.thing", "oth_1", {"status": "x"}
            )
        )
        office.publish()

    size = office.store.ledger.checkpoint().size
    made = export_to_folder(office.store.archive, office.archivist, case_id, target, meddle)
    for path in (target / "receipts").iterdir():
        seen.add(parse_receipt(path.read_bytes()).proof.checkpoint.encode())
    assert seen == {(target / "checkpoints" / "2026").read_bytes()}
    assert made.tree_size == size < office.store.ledger.checkpoint().size


def test_the_export_is_recorded_audited_and_shown_to_every_holder(
    office: Any, target: Path
) -> None:
    case_id = office.closed_case()
    made = export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert count(office, audit, audit.c.action == "case.export") == 1
    with office.store.database.read() as tx:
        assert exports_of(tx, case_id) == [made]
        shown = tx.all(select(uses).where(uses.c.action == "exported"))
        record = office.store.ledger.records.open(tx, made.entry_id)
    assert {row["case_id"] for row in shown} == {case_id}
    assert len({row["item"] for row in shown}) == 6  # five materials, one licence
    assert {row["entry_id"] for row in shown} == {made.entry_id}
    assert (record.kind, record.entity) == ("case.exported", made.export_id)


def test_the_receipt_of_the_export_proves_the_package_as_a_whole(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    made = export_to_folder(office.store.archive, office.archivist, case_id, target)
    office.publish()
    with office.store.database.read() as tx:
        receipt = office.store.ledger.evidence.receipt(tx, made.entry_id)
    policy = parse_policy(office.store.ledger.policy_text().encode())
    report = check(office, target)
    assert isinstance(verify_export_receipt(receipt, policy, report), Evidence)


def test_a_case_may_be_exported_again_and_after_it_was_filed(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    office.happen(case_id, "file", by=office.archivist)
    office.publish()
    again = target.with_name("again")
    export_to_folder(office.store.archive, office.archivist, case_id, again)
    assert check(office, again).findings == []
    assert json.loads((again / "case.json").read_bytes())["case"]["state"] == "filed"


def test_an_imported_case_can_be_exported_with_what_is_known_of_it(
    office: Any, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.4\nold\n%%EOF\n")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "holder_type,holder_code,holder_name,material_type,title,source_case,matter,provenance,"
        "certified_by,certified_at,issued_at,valid_until,files\n"
        "111,310199194803219179,赵阿福,lease_contract,旧租约,OLD-1,000709021000,back_scan,,,,,scan.pdf\n",
        encoding="utf-8",
    )
    assert import_manifest(tmp_path / "data", manifest, as_json=True) == 0
    capsys.readouterr()
    with office.store.database.read() as tx:
        case_id = tx.scalar(select(cases.c.case_id).where(cases.c.number == "OLD-1"))
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert check(office, target).findings == []
    case = json.loads((target / "case.json").read_bytes())
    assert [step["event"] for step in case["process"]] == ["imported"]
    assert [item["title"] for item in case["materials"]] == ["旧租约"]


def nothing_happened(office: Any, target: Path) -> None:
    """No package, no temporary folder, no row, no record."""
    assert not target.exists() or target.is_file()
    assert [item.name for item in target.parent.iterdir() if item.name.startswith(".")] == []
    assert count(office, exports) == 0
    assert count(office, uses, uses.c.action == "exported") == 0


@pytest.mark.parametrize("events", [(), ("submit",), ("submit", "accept", "approve")])
def test_only_closed_cases_are_exported(office: Any, target: Path, events: tuple[str, ...]) -> None:
    case_id = office.open()
    for requirement in ("identity_proof", "household_register", "bank_account_proof"):
        office.bring(case_id, requirement, ("x.pdf", b"%PDF-1.7\nx"), reason="other")
    office.happen(case_id, *events)
    office.publish()
    with pytest.raises(CaseNotExportable):
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    nothing_happened(office, target)


def test_an_unknown_case_is_refused(office: Any, target: Path) -> None:
    with pytest.raises(CaseUnknown):
        export_to_folder(office.store.archive, office.archivist, "cas_" + "0" * 26, target)
    nothing_happened(office, target)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_an_existing_target_is_refused_and_left_alone(office: Any, target: Path, kind: str) -> None:
    case_id = office.closed_case()
    if kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.write_bytes(b"mine")
    else:
        target.symlink_to(target.parent / "nowhere")
    with pytest.raises(TargetExists):
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert count(office, exports) == 0
    assert kind != "file" or target.read_bytes() == b"mine"
    assert len(list(target.parent.iterdir())) == 1


def test_a_target_in_a_missing_folder_is_refused(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    with pytest.raises(TargetUnusable):
        export_to_folder(office.store.archive, office.archivist, case_id, target / "deeper")
    nothing_happened(office, target)


def test_a_missing_notice_is_named_and_nothing_is_exported(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    office.store.database.write(
        lambda tx: tx.execute(
            delete(case_documents).where(case_documents.c.kind == "decision_notice")
        )
    )
    with pytest.raises(PackageIncomplete) as refused:
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert refused.value.details["reasons"] == ["decision_notice_missing:approve"]
    nothing_happened(office, target)


def test_a_case_closed_without_acceptance_can_be_archived(office: Any, target: Path) -> None:
    case_id = office.open()
    office.happen(case_id, "withdraw", "close")
    office.publish()
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert check(office, target).findings == []
    case = json.loads((target / "case.json").read_bytes())
    assert (case["case"]["outcome"], case["materials"]) == ("withdrawn", [])


def test_a_flipped_byte_of_a_stored_object_stops_the_export(
    office: Any, target: Path, tmp_path: Path
) -> None:
    case_id = office.closed_case()
    stored = max(
        (path for path in (tmp_path / "data" / "objects").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    stored.chmod(0o600)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with pytest.raises(ObjectCorrupt):
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    nothing_happened(office, target)


def test_a_row_that_disagrees_with_its_record_stops_the_export(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    office.store.database.write(
        lambda tx: tx.execute(update(materials).values(provenance="authority_issued"))
    )
    with pytest.raises(RecordMismatch):
        export_to_folder(office.store.archive, office.archivist, case_id, target)
    nothing_happened(office, target)


def test_records_that_are_not_in_the_log_yet_make_the_export_wait_then_refuse(
    office: Any, target: Path
) -> None:
    case_id = office.closed_case()
    office.happen(case_id, "file", by=office.archivist)  # not published
    room = replace(office.store.archive, wait_seconds=0.1)
    with pytest.raises(EvidencePending):
        export_to_folder(room, office.archivist, case_id, target)
    nothing_happened(office, target)
    office.publish()
    export_to_folder(room, office.archivist, case_id, target)
    assert check(office, target).findings == []


def test_a_running_log_lets_the_export_wait_for_its_records(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    office.store.ledger.start()
    office.happen(case_id, "file", by=office.archivist)
    export_to_folder(office.store.archive, office.archivist, case_id, target)
    assert check(office, target).findings == []


def test_a_package_over_the_limit_is_refused_before_it_is_written(
    office: Any, target: Path
) -> None:
    case_id = office.closed_case()
    room = replace(office.store.archive, package_bytes=1000)
    with pytest.raises(PackageTooLarge):
        export_to_folder(room, office.archivist, case_id, target)
    nothing_happened(office, target)


def test_the_time_of_the_export_is_one_reading_of_the_clock(office: Any, target: Path) -> None:
    case_id = office.closed_case()
    office.clock.set(office.clock.now() + timedelta(days=3))
    made = export_to_folder(office.store.archive, office.archivist, case_id, target)
    case = json.loads((target / "case.json").read_bytes())
    assert made.at == office.clock.now()
    assert case["exported_at"].startswith("2026-11-27T")
    assert "Bagging-Date: 2026-11-27" in (target / "bag-info.txt").read_text(encoding="utf-8")
