"""Checks a package: bag, receipts, checkpoints, files, description. Pure.

Takes what `archive.reading` found and the reader's own policy and demands; nothing
inside a package is trusted, least of all a policy. Every check runs, so that one look
shows all that is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from archive import record_rules
from archive.case_form import (
    CASE_FILE,
    CASE_NAMESPACE,
    CASE_ROOT,
    FORMAT,
    PROCESS,
    PROCESS_NAMESPACE,
    PROCESS_ROOT,
)
from archive.findings import Finding, finding
from archive.form import Form, FormError, Value, from_json
from archive.form_xml import from_xml
from archive.rfc8493 import PAYLOAD, REQUIRED, TAGMANIFESTS, Member, check_bag
from kernel.errors import CodedError
from ledger.anchor_checks import require
from ledger.checkpoints import Checkpoint, parse_checkpoint
from ledger.demands import Demands
from ledger.errors import DemandUnmet
from ledger.policy import CheckpointEvidence, Policy, evaluate
from ledger.receipts import Evidence, Failure, parse_receipt, verify_receipt

CASE_JSON: Final = "case.json"
CASE_XML: Final = "case.xml"
PROCESS_XML: Final = "process.xml"
CASE_XSD: Final = "schema/case.xsd"
PROCESS_XSD: Final = "schema/process.xsd"
README: Final = "README.txt"
TEXTS: Final = (CASE_JSON, CASE_XML, PROCESS_XML, CASE_XSD, PROCESS_XSD, README)
RECEIPTS: Final = "receipts/"
CHECKPOINTS: Final = "checkpoints/"


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A receipt that holds: the record's entry id, the file, the evidence."""

    record: str
    path: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class CheckedCheckpoint:
    """A checkpoint of the package that the policy accepts, and who signed it."""

    head: Checkpoint
    evidence: CheckpointEvidence


@dataclass(slots=True)
class PackageReport:
    """What was found. The package holds exactly when `findings` is empty."""

    findings: list[Finding] = field(default_factory=list)
    receipts: list[CheckedReceipt] = field(default_factory=list)
    checkpoints: list[CheckedCheckpoint] = field(default_factory=list)
    case: Mapping[str, Value] | None = None
    tagmanifest: Member | None = None
    payload_files: int = 0
    payload_bytes: int = 0


def check_package(
    members: Mapping[str, Member],
    texts: Mapping[str, bytes],
    policy: Policy,
    demands: Demands | None = None,
) -> PackageReport:
    """Check a package against `policy`. `texts`: the bytes of the tag files (all but `data/`).

    What `demands` demands, each receipt inside must have: by the rule for receipts.
    """
    report = PackageReport(findings=check_bag(members, texts))
    payload = {path: item for path, item in members.items() if path.startswith(PAYLOAD)}
    report.payload_files = len(payload)
    report.payload_bytes = sum(item.size for item in payload.values())
    report.tagmanifest = members.get(TAGMANIFESTS[0])
    report.findings += [finding("tag_file_missing", name) for name in TEXTS if name not in texts]
    case = _description(report, texts)
    if case is None:
        return report
    report.case = case
    demands = demands or Demands()
    _check_checkpoints(report, case, texts, policy, demands)
    _check_receipts(report, case, texts, policy, demands)
    records = {item.record: item.evidence.record for item in report.receipts}
    report.findings += record_rules.check_records(case, records)
    report.findings += record_rules.check_files(case, records, members)
    _check_accounted(report, case, members)
    return report


def verify_export_receipt(
    data: bytes, policy: Policy, report: PackageReport, demands: Demands | None = None
) -> Evidence | Finding:
    """Check the receipt of the export, which names the digest of the tag manifest.

    It stands beside the package, never inside: it is made when the package is done. Of
    `demands` only who is known counts: a case of long ago may be exported today.
    """
    outcome = verify_receipt(data, policy, (demands or Demands()).known)
    if isinstance(outcome, Failure):
        return finding("export_receipt_invalid", None, outcome.code)
    files = outcome.record.get("files")
    first = files[0] if isinstance(files, list) and files else None
    known = report.tagmanifest
    if (
        outcome.record.get("kind") != "case.exported"
        or known is None
        or not isinstance(first, dict)
        or first.get("size") != known.size
        or first.get("digests") != {"sha256": known.sha256, "sm3": known.sm3}
    ):
        return finding("export_receipt_differs")
    return outcome


def _description(report: PackageReport, texts: Mapping[str, bytes]) -> Mapping[str, Value] | None:
    if CASE_JSON not in texts:
        return None
    try:
        case = from_json(CASE_FILE, texts[CASE_JSON])
    except FormError as error:
        report.findings.append(finding("case_malformed", CASE_JSON, str(error)))
        return None
    if case["format"] != FORMAT:
        report.findings.append(finding("case_malformed", CASE_JSON, "/format"))
        return None
    about = case["case"]
    assert isinstance(about, dict)  # noqa: S101 - the form says so
    process = {"case": about["id"], "number": about["number"], "steps": case["process"]}
    for path, form, root, namespace, value in (
        (CASE_XML, CASE_FILE, CASE_ROOT, CASE_NAMESPACE, case),
        (PROCESS_XML, PROCESS, PROCESS_ROOT, PROCESS_NAMESPACE, process),
    ):
        if path in texts:
            report.findings += _same_xml(path, form, root, namespace, texts[path], value)
    return case


def _same_xml(
    path: str, form: Form, root: str, namespace: str, data: bytes, value: Mapping[str, Value]
) -> list[Finding]:
    try:
        same = from_xml(form, root, namespace, data) == value
    except FormError as error:
        return [finding("case_malformed", path, str(error))]
    return [] if same else [finding("case_xml_differs", path)]


def _check_checkpoints(
    report: PackageReport,
    case: Mapping[str, Value],
    texts: Mapping[str, bytes],
    policy: Policy,
    demands: Demands,
) -> None:
    listed = set()
    for item in items(case, "checkpoints"):
        path = str(item["path"])
        if path != f"{CHECKPOINTS}{item['shard']}" or path in listed:
            report.findings.append(finding("case_malformed", CASE_JSON, "/checkpoints"))
            continue
        listed.add(path)
        if path not in texts:
            report.findings.append(finding("checkpoint_missing", path))
            continue
        try:
            signed = parse_checkpoint(texts[path])
            evidence = evaluate(policy, signed)
            demands.require_within(signed.checkpoint)
        except CodedError as error:
            report.findings.append(finding("checkpoint_invalid", path, error.code))
            continue
        head = signed.checkpoint
        stated = (item["origin"], item["size"], item["root"])
        if stated != (head.origin, head.size, head.root.hex()):
            report.findings.append(finding("case_record_differs", path, "checkpoint"))
        report.checkpoints.append(CheckedCheckpoint(head, evidence))
    report.findings += [
        finding("checkpoint_stray", path)
        for path in texts
        if path.startswith(CHECKPOINTS) and path not in listed
    ]


def _check_receipts(
    report: PackageReport,
    case: Mapping[str, Value],
    texts: Mapping[str, bytes],
    policy: Policy,
    demands: Demands,
) -> None:
    listed = set()
    pinned = {item["shard"]: texts.get(str(item["path"])) for item in items(case, "checkpoints")}
    for item in items(case, "receipts"):
        path = str(item["path"])
        if path != f"{RECEIPTS}{item['record']}.json" or path in listed:
            report.findings.append(finding("case_malformed", CASE_JSON, "/receipts"))
            continue
        listed.add(path)
        if path not in texts:
            report.findings.append(finding("receipt_missing", path))
            continue
        # What is demanded comes last: an unmet demand hides nothing else of the receipt.
        outcome = verify_receipt(texts[path], policy, demands.known)
        if isinstance(outcome, Failure):
            report.findings.append(finding("receipt_invalid", path, outcome.code))
            continue
        record = outcome.record
        if any(record.get(key) != item[key] for key in ("kind", "entity", "at")):
            report.findings.append(finding("receipt_other_record", path))
            continue
        checkpoint = parse_receipt(texts[path]).proof.checkpoint.encode()
        if checkpoint != pinned.get(item["shard"]) or outcome.index != item["index"]:
            report.findings.append(finding("checkpoint_differs", path))
        report.receipts.append(CheckedReceipt(str(item["record"]), path, outcome))
        try:
            require(demands, outcome.anchors)
        except DemandUnmet as error:
            report.findings.append(
                Finding(error.code, path, error.message_zh(), error.message_en())
            )
    report.findings += [
        finding("receipt_stray", path)
        for path in texts
        if path.startswith(RECEIPTS) and path not in listed
    ]


def _check_accounted(
    report: PackageReport, case: Mapping[str, Value], members: Mapping[str, Member]
) -> None:
    """Nothing in the package that nobody speaks of: no smuggled files, no policy."""
    known = {*REQUIRED, *TEXTS}
    known |= {str(item["path"]) for name in ("checkpoints", "receipts", "licenses", "documents")
              for item in items(case, name)}  # fmt: skip
    known |= {
        str(file["path"]) for item in items(case, "materials") for file in items(item, "files")
    }
    report.findings += [
        finding("content_unaccounted", path) for path in members if path not in known
    ]


def items(value: Mapping[str, Value], name: str) -> Iterator[Mapping[str, Value]]:
    """The objects of a list field of a value that was checked against its form."""
    found = value[name]
    for item in found if isinstance(found, Sequence) else ():
        if isinstance(item, dict):
            yield item
