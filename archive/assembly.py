"""Puts a package together: payload, receipts, checkpoints, description, read-me, manifests.

Says nothing of where these come from and records nothing: `archive.package`
gathers them from the store, the tests make them up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archive.bag import BagSummary, BagWriter
from archive.case_form import (
    CASE_FILE,
    CASE_NAMESPACE,
    CASE_ROOT,
    CASE_TITLE,
    FORMAT,
    PROCESS,
    PROCESS_NAMESPACE,
    PROCESS_ROOT,
    PROCESS_TITLE,
)
from archive.checks import CASE_JSON, CASE_XML, CASE_XSD, PROCESS_XML, PROCESS_XSD, README
from archive.form import Value, check, to_json
from archive.form_xml import to_xml, to_xsd
from archive.readme import readme
from kernel.clock import china_date, time_text


@dataclass(frozen=True, slots=True)
class Content:
    """All that goes into a package, by path.

    `case` is the description (`case_form.CASE_FILE`); `payload` gives the bytes
    of each file below `data/` when asked; `texts` are receipts and checkpoints.
    """

    case: Mapping[str, Value]
    payload: Mapping[str, Callable[[], Iterator[bytes]]]
    texts: Mapping[str, bytes]
    vkeys: Sequence[str]
    at: datetime
    software: str


def assemble(root: Path, content: Content, progress: Callable[[int], None]) -> BagSummary:
    """Write the package into the new folder `root`; durable on return.

    `progress` is told the payload bytes of every block written. Raises what the
    payload's sources raise; the folder is then incomplete and the caller's to remove.
    """
    about = content.case["case"]
    problems = list(check(CASE_FILE, content.case))
    if problems or not isinstance(about, dict):
        # Never personal data: places in the form, not values.
        raise ValueError(f"the description is not of its form: {', '.join(problems[:8])}")
    number, case_id = str(about["number"]), str(about["id"])
    process = {"case": case_id, "number": number, "steps": content.case["process"]}
    writer = BagWriter(root)
    try:
        for path, source in content.payload.items():
            writer.add(path, _counted(source(), progress))
        for path, data in content.texts.items():
            writer.add_bytes(path, data)
        writer.add_bytes(CASE_JSON, to_json(content.case))
        writer.add_bytes(CASE_XML, to_xml(CASE_FILE, CASE_ROOT, CASE_NAMESPACE, content.case))
        writer.add_bytes(PROCESS_XML, to_xml(PROCESS, PROCESS_ROOT, PROCESS_NAMESPACE, process))
        writer.add_bytes(CASE_XSD, schema(CASE_XSD))
        writer.add_bytes(PROCESS_XSD, schema(PROCESS_XSD))
        writer.add_bytes(README, readme(number, time_text(content.at), FORMAT, content.vkeys))
        return writer.finish(_info(content, number, case_id, writer.payload_size()))
    finally:
        writer.close()


def schema(path: str) -> bytes:
    """The schema file that stands at `path` in every package of this version."""
    if path == CASE_XSD:
        return to_xsd(CASE_FILE, CASE_ROOT, CASE_NAMESPACE, CASE_TITLE)
    return to_xsd(PROCESS, PROCESS_ROOT, PROCESS_NAMESPACE, PROCESS_TITLE)


def _info(content: Content, number: str, case_id: str, payload_bytes: int) -> list[tuple[str, str]]:
    counts = {name: _count(content.case[name]) for name in ("materials", "licenses", "documents")}
    return [
        ("External-Identifier", number if number.isprintable() and number.strip() else case_id),
        ("Internal-Sender-Identifier", case_id),
        ("External-Description", "办件归档包 / package of a closed government-service case"),
        ("Bagging-Date", china_date(content.at).isoformat()),
        ("Bag-Software-Agent", content.software),
        ("Bag-Size", _size(payload_bytes)),
        ("Bag-Count", "1 of 1"),
        ("Mianjiao-Format", FORMAT),
        ("Mianjiao-Materials", str(counts["materials"])),
        ("Mianjiao-Licenses", str(counts["licenses"])),
        ("Mianjiao-Documents", str(counts["documents"])),
        ("Mianjiao-Receipts", str(_count(content.case["receipts"]))),
    ]


def _count(value: Value) -> int:
    return len(value) if isinstance(value, list) else 0


def _size(payload_bytes: int) -> str:
    """RFC 8493 wants a rough size for people."""
    size = float(payload_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _counted(blocks: Iterator[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    for block in blocks:
        yield block
        progress(len(block))
