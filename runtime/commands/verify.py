"""`mianjiao verify`: checks a receipt or a package offline, under the reader's own policy.

Imports only the pure part of the ledger and of the archive, so that it starts
fast and runs where no server is. Exit 0: valid; 1: not valid, with the reason
named; 2: the input cannot be used.
"""

import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from archive.digests import Digester
from archive.findings import Finding
from archive.reading import (
    Package,
    file_blocks,
    looks_like_package,
    read_folder,
    read_packed,
)
from archive.rfc8493 import Member
from kernel.canonical import JsonValue
from kernel.errors import CodedError
from ledger.demands import Demands, parse_demands
from ledger.policy import Policy, parse_policy
from ledger.receipts import Failure, verify_receipt
from runtime.commands.verify_output import Verdict, show

MAX_RECEIPT: Final = 4 << 20  # a record of 1 MiB, its proof and 64 large signatures
MAX_POLICY: Final = 1 << 20
EXPORT_RECEIPT_SUFFIX: Final = ".receipt.json"


class _Unusable(Exception):
    """The input cannot be used: exit code 2."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(code)
        self.finding = Finding(code, None, zh, en)


def verify(
    path: Path, policy: Path, file: Path | None, json: bool, demands: Path | None = None
) -> int:
    """Verify `path`; with `file`, also that it is one of the files that the record names;
    with `demands`, the evidence from outside as well: of a package that of every receipt.

    Prints the verdict (one JSON object with `json`) and returns the exit code.
    """
    try:
        verdict = _verdict(path, policy, file, demands)
    except _Unusable as error:
        verdict = Verdict("unusable", "unknown", failures=[error.finding])
    show(verdict, sys.stdout, as_json=json)
    return {"valid": 0, "invalid": 1, "unusable": 2}[verdict.outcome]


def _verdict(
    path: Path, policy_path: Path, file: Path | None, demands_path: Path | None
) -> Verdict:
    policy = _policy(policy_path)
    demands = None if demands_path is None else _demands(demands_path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        raise _unreadable("input", path) from None
    given = None if file is None else _member(file)
    if is_folder:
        if not looks_like_package(path):
            raise _unknown()
        return _package_verdict(path, read_folder(path), policy, demands, given)
    head = _head(path)
    if head == b"PK\x03\x04":
        try:
            package = read_packed(path)
        except OSError:
            raise _unreadable("input", path) from None
        return _package_verdict(path, package, policy, demands, given)
    if not head.startswith(b"{"):
        raise _unknown()
    return _receipt_verdict(_bytes(path, MAX_RECEIPT, "input"), policy, demands, given)


def _receipt_verdict(
    data: bytes, policy: Policy, demands: Demands | None, given: Member | None
) -> Verdict:
    outcome = verify_receipt(data, policy, demands)
    if isinstance(outcome, Failure):
        reason = Finding(outcome.code, None, outcome.zh, outcome.en)
        return Verdict("invalid", "receipt", failures=[reason])
    verdict = Verdict("valid", "receipt", evidence=outcome)
    if given is not None:
        _compare(verdict, [("", outcome.record)], given)
    return verdict


def _package_verdict(
    path: Path, package: Package, policy: Policy, demands: Demands | None, given: Member | None
) -> Verdict:
    # Imported here: a receipt, the usual case, needs none of it.
    from archive.checks import check_package, verify_export_receipt

    report = check_package(package.members, package.texts, policy, demands)
    findings = [*package.findings, *report.findings]
    verdict = Verdict("valid", "package", report=report, policy_operator_only=policy.operator_only)
    beside = path.absolute().with_name(path.absolute().name + EXPORT_RECEIPT_SUFFIX)
    if beside.is_file():
        # Covers what no single record does: read-me, rendered documents, the list itself.
        data = _bytes(beside, MAX_RECEIPT, "input")
        outcome = verify_export_receipt(data, policy, report, demands)
        if isinstance(outcome, Finding):
            findings.append(outcome)
        else:
            verdict.export_evidence = outcome
    if findings:
        verdict.outcome = "invalid"
        verdict.failures = findings
    if given is not None:
        records = [(item.path, item.evidence.record) for item in report.receipts]
        _compare(verdict, records, given)
    return verdict


def _compare(
    verdict: Verdict, records: list[tuple[str, Mapping[str, JsonValue]]], given: Member
) -> None:
    """Look for the given file among those of the records; size, SHA-256 and SM3 must all agree."""
    verdict.file_given = given
    for receipt, record in records:
        files = record.get("files")
        for position, file in enumerate(files if isinstance(files, list) else []):
            if isinstance(file, dict) and _same(file, given):
                verdict.file_found = (receipt, position)
                return
    verdict.outcome = "invalid"
    verdict.failures.append(
        Finding(
            "file_not_in_record",
            None,
            "该文件不在所存证的记录中（大小、SHA-256、SM3 须全部一致）",
            "this file is not among those of the record (size, SHA-256 and SM3 must agree)",
        )
    )


def _same(file: Mapping[str, JsonValue], given: Member) -> bool:
    digests = file.get("digests")
    if not isinstance(digests, dict) or file.get("size") != given.size:
        return False
    return digests.get("sha256") == given.sha256 and digests.get("sm3") == given.sm3


def _policy(path: Path) -> Policy:
    data = _bytes(path, MAX_POLICY, "policy")
    try:
        return parse_policy(data)
    except CodedError as error:
        raise _Unusable(error.code, error.message_zh(), error.message_en()) from error


def _demands(path: Path) -> Demands:
    data = _bytes(path, MAX_POLICY, "demands")
    try:
        return parse_demands(data)
    except CodedError as error:
        raise _Unusable(error.code, error.message_zh(), error.message_en()) from error


def _member(path: Path) -> Member:
    with Digester() as digester:
        try:
            for block in file_blocks(path, follow=True):
                digester.update(block)
        except (OSError, ValueError):
            raise _unreadable("file", path) from None
        return digester.member()


def _head(path: Path) -> bytes:
    """The first four bytes: they tell a receipt from a packed package."""
    try:
        return next(file_blocks(path, follow=True), b"")[:4]
    except (OSError, ValueError):
        raise _unreadable("input", path) from None


def _bytes(path: Path, limit: int, what: str) -> bytes:
    """The whole file; more than `limit` bytes is unusable."""
    parts: list[bytes] = []
    size = 0
    try:
        for block in file_blocks(path, follow=True):
            parts.append(block)
            size += len(block)
            if size > limit:
                break
    except (OSError, ValueError):
        raise _unreadable(what, path) from None
    if size > limit:
        raise _Unusable(
            f"{what}_too_large",
            f"文件超过上限（{limit} 字节）",
            f"the file is over the limit of {limit} bytes",
        )
    return b"".join(parts)


def _unreadable(what: str, path: Path) -> _Unusable:
    shown = "".join(char if char.isprintable() else "?" for char in str(path))
    zh = {
        "input": "凭证或归档包",
        "policy": "信任策略",
        "demands": "核验要求",
        "file": "待比对文件",
    }[what]
    en = {
        "input": "receipt or package",
        "policy": "trust policy",
        "demands": "file of demands",
        "file": "file to compare",
    }[what]
    return _Unusable(
        f"{what}_unreadable", f"无法读取{zh}：{shown}", f"cannot read the {en}: {shown}"
    )


def _unknown() -> _Unusable:
    return _Unusable(
        "not_receipt_or_package",
        "既不是存证凭证，也不是归档包",
        "neither a receipt nor a package",
    )
