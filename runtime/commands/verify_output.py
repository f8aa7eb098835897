"""What `mianjiao verify` says: Chinese first, then English; or one JSON object.

It names what was proved and what was not. Text from a record is printed only
when it cannot disturb the terminal.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

from archive.findings import Finding
from archive.rfc8493 import Member
from ledger.policy import CheckpointEvidence
from ledger.receipts import Evidence
from runtime.commands.evidence_output import (
    anchored,
    anchored_together,
    clean,
    evidence_json,
    logged,
    proved_by,
    signed,
    signed_json,
    time_json,
    unproved,
    unsigned,
)

if TYPE_CHECKING:
    from archive.checks import PackageReport

_MAX_SHOWN: Final = 20  # findings printed for people; JSON has all of them


@dataclass(slots=True)
class Verdict:
    """`outcome`: valid, invalid or unusable; `subject`: receipt, package or unknown."""

    outcome: str
    subject: str
    failures: list[Finding] = field(default_factory=list)
    evidence: Evidence | None = None
    report: "PackageReport | None" = None
    export_evidence: Evidence | None = None
    policy_operator_only: bool = False
    file_given: Member | None = None
    file_found: tuple[str, int] | None = None  # receipt ("" when alone), position from 0


def show(verdict: Verdict, stream: TextIO, *, as_json: bool) -> None:
    """Print the verdict, nothing else."""
    if as_json:
        print(json.dumps(_json(verdict), ensure_ascii=False), file=stream)
        return
    for line in _lines(verdict):
        print(line, file=stream)


# --- JSON ----------------------------------------------------------------------------


def _json(verdict: Verdict) -> dict[str, object]:
    first = verdict.failures[0] if verdict.failures else None
    return {
        "outcome": verdict.outcome,
        "subject": verdict.subject,
        "code": first.code if first else None,
        "zh": first.zh if first else None,
        "en": first.en if first else None,
        "failures": [item.as_json() for item in verdict.failures],
        "evidence": evidence_json(verdict.evidence) if verdict.evidence else None,
        "package": _package(verdict) if verdict.report else None,
        "file": _file(verdict),
        "proved": [{"zh": zh, "en": en} for zh, en in _proved(verdict)],
        "not_proved": [{"zh": zh, "en": en} for zh, en in _not_proved(verdict)],
    }


def _package(verdict: Verdict) -> dict[str, object]:
    report = verdict.report
    assert report is not None  # noqa: S101 - asked before
    return {
        "receipts": len(report.receipts),
        "payload_files": report.payload_files,
        "payload_bytes": report.payload_bytes,
        "tagmanifest_sha256": report.tagmanifest.sha256 if report.tagmanifest else None,
        "checkpoints": [
            {
                "origin": one.head.origin,
                "size": one.head.size,
                "root": base64.b64encode(one.head.root).decode(),
                **signed_json(one.evidence),
            }
            for one in report.checkpoints
        ],
        "evidence": [
            {"path": item.path, "record": item.record, **evidence_json(item.evidence)}
            for item in report.receipts
        ],
        "proved_by": time_json(proved_by(_receipts(verdict))),
        "trust": "operator-only" if verdict.policy_operator_only else "quorum",
        "export_receipt": evidence_json(verdict.export_evidence)
        if verdict.export_evidence
        else None,
    }


def _file(verdict: Verdict) -> dict[str, object] | None:
    given, found = verdict.file_given, verdict.file_found
    if given is None:
        return None
    return {
        "size": given.size,
        "sha256": given.sha256,
        "sm3": given.sm3,
        "found": found is not None,
        "receipt": found[0] or None if found else None,
        "position": found[1] if found else None,
    }


# --- For people ----------------------------------------------------------------------


def _lines(verdict: Verdict) -> Iterator[str]:
    subject = {"receipt": ("存证凭证", "receipt"), "package": ("归档包", "package")}.get(
        verdict.subject, ("", "")
    )
    if verdict.outcome == "unusable":
        failure = verdict.failures[0]
        yield f"无法核验：{failure.zh}"
        yield f"Cannot verify: {failure.en} [{failure.code}]"
        return
    if verdict.outcome == "valid":
        yield f"有效：{subject[0]}核验通过"
        yield f"VALID: the {subject[1]} holds"
    else:
        yield f"无效：{subject[0]}核验不通过"
        yield f"NOT VALID: the {subject[1]} does not hold"
        yield from _reasons(verdict)
    proved, unproved = list(_proved(verdict)), list(_not_proved(verdict))
    if proved:
        yield ""
        yield "已证明 Proved"
        yield from _pairs(proved)
    if unproved:
        yield ""
        yield "未证明 Not proved"
        yield from _pairs(unproved)


def _reasons(verdict: Verdict) -> Iterator[str]:
    for failure in verdict.failures[:_MAX_SHOWN]:
        where = f"{failure.path}: " if failure.path else ""
        yield f"  ✗ {where}{clean(failure.zh)}"
        yield f"    {clean(failure.en)} [{failure.code}]"
    more = len(verdict.failures) - _MAX_SHOWN
    if more > 0:
        yield f"  … 另有 {more} 处 / and {more} more (--json)"


def _pairs(pairs: list[tuple[str, str]]) -> Iterator[str]:
    for zh, en in pairs:
        yield f"  · {zh}"
        yield f"    {en}"


def _proved(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.evidence is not None:
        yield logged(verdict.evidence)
        yield from signed([verdict.evidence.checkpoint])
        yield from anchored(verdict.evidence)
    report = verdict.report
    if report is not None and verdict.outcome == "valid":
        count, files = len(report.receipts), report.payload_files
        heads = "；".join(
            f"{clean(one.head.origin)} · {one.head.size}" for one in report.checkpoints
        )
        yield (
            f"{count} 份凭证全部成立，且针对同一检查点（{heads}）",
            f"all {count} receipts hold, against the same checkpoint ({heads})",
        )
        yield (
            f"{files} 个载荷文件（{report.payload_bytes} 字节）与清单和存证一致，无缺失，无多余",
            f"{files} payload files ({report.payload_bytes} bytes) match the manifests and what "
            "was logged; none is missing, none is extra",
        )
        yield from signed(_checkpoints(verdict))
        yield from anchored_together(_receipts(verdict))
    if verdict.export_evidence is not None and verdict.outcome == "valid":
        by = time_json(verdict.export_evidence.proved_by)
        yield (
            "整包（含文书与说明）与导出时的存证一致" + (f"，最晚在 {by} 已存证" if by else ""),
            "the package as a whole, documents and read-me included, is the one that was exported"
            + (f", and was logged at {by} at the latest" if by else ""),
        )
    if verdict.file_found is not None and verdict.file_given is not None:
        receipt, position = verdict.file_found
        where = f" {receipt}" if receipt else ""
        yield (
            f"所给文件即该记录的第 {position + 1} 个文件{where}"
            f"（SHA-256 {verdict.file_given.sha256}，SM3 与大小亦一致）",
            f"the given file is file {position + 1} of the record{where} "
            "(size, SHA-256 and SM3 agree)",
        )


def _receipts(verdict: Verdict) -> Sequence[Evidence]:
    """The evidence of the receipt, or of all receipts of the package."""
    if verdict.report is not None:
        return [item.evidence for item in verdict.report.receipts]
    return [] if verdict.evidence is None else [verdict.evidence]


def _checkpoints(verdict: Verdict) -> Sequence[CheckpointEvidence]:
    if verdict.report is not None:
        return [one.evidence for one in verdict.report.checkpoints]
    return [one.checkpoint for one in _receipts(verdict)]


def _not_proved(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.outcome != "valid":
        return
    yield (
        "只说明“当时已存证”，不说明“现在仍有效”",
        '"logged then", not "valid now"',
    )
    yield from unsigned(_checkpoints(verdict))
    yield from unproved(_receipts(verdict), together=verdict.subject == "package")
    operator_only = verdict.policy_operator_only or (
        verdict.evidence is not None and verdict.evidence.operator_only
    )
    if operator_only:
        yield (
            "信任策略为 quorum none：仅有运营方签名（operator-only），无见证人",
            "quorum none: operator-only, no witness vouches that the log shows one face",
        )
    if verdict.subject == "receipt" and verdict.file_given is None:
        yield (
            "未比对文件：可用 --file 与记录中的文件比对",
            "no file was compared: use --file to compare one with the record",
        )
    if verdict.subject == "package" and verdict.export_evidence is None:
        yield (
            "包外未见归档凭证（<文件夹名>.receipt.json）：文书 PDF 与说明文件仅与包内清单一致",
            "no receipt of the export stands beside the package (<folder>.receipt.json): "
            "documents and read-me agree with the package's own lists only",
        )
