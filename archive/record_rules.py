"""The description of a case against the logged records, and files against both. Pure.

A description that somebody edited, with all manifests made anew, is found here:
what it says of an item must be what the item's first record says, its status
what the newest one says.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archive.findings import Finding, finding
from archive.form import Value
from archive.rfc8493 import Member
from kernel.canonical import JsonValue

Records = Mapping[str, Mapping[str, JsonValue]]  # by entry id, of receipts that hold

CASE_JSON: Final = "case.json"


@dataclass(frozen=True, slots=True)
class Rule:
    """How an item of a list repeats its records.

    `kind`: how the kind of the first record begins. `first`: fields that repeat
    the first record, `newest` those that repeat the newest record which has the
    key; each under the record's own key where that differs. What a record lacks
    or holds null in is absent from the description.
    """

    kind: str
    first: Mapping[str, str]
    newest: Mapping[str, str]
    own: bool = True  # the records are about the item itself


def _same(*names: str, **other: str) -> Mapping[str, str]:
    return {**{name: name for name in names}, **other}


RULES: Final[Mapping[str, Rule]] = {
    "case": Rule(
        "case.",
        _same(
            "number",
            "matter",
            "variant",
            "catalogue",
            "applicant",
            "person",
            "capacity",
            "project",
            "channel",
            "window_org",
            "department",
        ),
        _same(state="status"),
    ),
    "parties": Rule("party.registered", _same("type", "code"), _same("name")),
    "materials": Rule(
        "material.registered",
        _same(
            "case",
            "type",
            "title",
            "form",
            "requirement",
            "provenance",
            "certified",
            "supersedes",
            "issued_at",
            "valid_until",
            "parties",
        ),
        _same("status"),
    ),
    "licenses": Rule(
        "license.",
        _same("holder", "issuer", kind="license_kind"),
        _same("identifier", "status"),
    ),
    "verifications": Rule(
        "verification.",
        _same(
            "requirement",
            "item",
            "item_kind",
            "item_type",
            "route",
            "outcome",
            "reasons",
            "checks",
            "basis",
            "grants",
            "answer",
            "org",
            "unit",
            "by_officer",
        ),
        {},
    ),
    "answers": Rule("license.answered", _same("source", "answer", "asked_at"), {}),
    # A document rests on the record that it renders: its own, a verification, an event.
    "documents": Rule("", {}, {}, own=False),
    "grants": Rule(
        "grant.",
        _same("holder"),
        _same(
            "purpose",
            "use",
            "approved",
            "person",
            "capacity",
            "decided_at",
            "expires_at",
            "status",
        ),
    ),
}


def check_records(case: Mapping[str, Value], records: Records) -> Iterator[Finding]:
    """Every item has its records, they are of it, and it repeats them truly."""
    known = {str(item["record"]) for item in _objects(case["receipts"])}
    spoken_for: set[str] = set()
    for name, item in _all_items(case):
        ids = [str(entry) for entry in _sequence(item["records"])]
        spoken_for |= set(ids)
        if not ids or not known.issuperset(ids):
            yield _differs(name, item, "records")
            continue
        opened = [records[entry] for entry in ids if entry in records]
        if len(opened) == len(ids):  # otherwise the receipt has a finding of its own
            yield from _check_item(name, item, opened)
    yield from _check_steps(case, records)
    for entry in sorted(known - spoken_for):
        yield finding("receipt_stray", f"receipts/{entry}.json")


def _check_item(
    name: str, item: Mapping[str, Value], opened: Sequence[Mapping[str, JsonValue]]
) -> Iterator[Finding]:
    rule = RULES[name]
    if rule.own and any(record["entity"] != item["id"] for record in opened):
        yield _differs(name, item, "entity")
        return
    first = opened[0]
    if not str(first["kind"]).startswith(rule.kind):
        yield _differs(name, item, "kind")
    for field, key in rule.first.items():
        if item.get(field) != plain(first.get(key)):
            yield _differs(name, item, field)
    for field, key in rule.newest.items():
        if item.get(field) != plain(newest(opened, key)):
            yield _differs(name, item, field)
    if name == "materials" and list(_stated_files(item)) != list(_recorded_files(first)):
        yield _differs(name, item, "files")


def plain(value: JsonValue) -> JsonValue:
    """A value as the description has it: without the keys that hold null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def newest(records: Sequence[Mapping[str, JsonValue]], key: str) -> JsonValue:
    """The value of `key` in the newest record that has the key; None when none has."""
    for record in reversed(records):
        if key in record:
            return record[key]
    return None


def _check_steps(case: Mapping[str, Value], records: Records) -> Iterator[Finding]:
    about = _object(case["case"])
    own = [str(entry) for entry in _sequence(about["records"])]
    steps = list(_objects(case["process"]))
    if [step["record"] for step in steps] != own:
        yield _differs("process", about, "records")
    for step in steps:
        record = records.get(str(step["record"]))
        if record is None:
            continue  # its receipt is missing or does not hold: reported there
        if step["at"] != record.get("at") or step["state"] != record.get("status"):
            yield _differs("process", about, f"step {step['sequence']}")
        if record["kind"] != "case.opened" and record["kind"] != f"case.{step['event']}":
            yield _differs("process", about, f"step {step['sequence']}")


def check_files(
    case: Mapping[str, Value], records: Records, members: Mapping[str, Member]
) -> Iterator[Finding]:
    """Every file of a material has the size and digests that were logged; documents
    those of the description."""
    seen: set[str] = set()
    for item in _objects(case["materials"]):
        first = records.get(str(next(iter(_sequence(item["records"])), "")))
        logged = list(_recorded_files(first)) if first is not None else None
        for position, file in enumerate(_objects(item["files"])):
            path = str(file["path"])
            member = members.get(path)
            if path in seen:
                yield finding("case_malformed", CASE_JSON, path)
            seen.add(path)
            if member is None:
                yield finding("file_missing", path)
                continue
            if logged is None or position >= len(logged):
                continue  # reported as a missing record or as other files
            _, _, size, sha256, sm3 = logged[position]
            if (member.size, member.sha256, member.sm3) != (size, sha256, sm3):
                yield finding("content_mismatch", path)
    for item in _objects(case["documents"]):
        yield from _check_file(item, members, int(str(item["size"])), str(item["sha256"]))
    for item in _objects(case["licenses"]):
        entries = [str(entry) for entry in _sequence(item["records"])]
        if all(entry in records for entry in entries):
            text = license_text(str(item["id"]), [(entry, records[entry]) for entry in entries])
            yield from _check_file(item, members, len(text), hashlib.sha256(text).hexdigest())


def _check_file(
    item: Mapping[str, Value], members: Mapping[str, Member], size: int, sha256: str
) -> Iterator[Finding]:
    path = str(item["path"])
    member = members.get(path)
    if member is None:
        yield finding("file_missing", path)
    elif (member.size, member.sha256) != (size, sha256):
        yield finding("content_mismatch", path)


def _stated_files(item: Mapping[str, Value]) -> Iterator[tuple[object, ...]]:
    for file in _objects(item["files"]):
        yield file["name"], file["media_type"], file["size"], file["sha256"], file["sm3"]


def _recorded_files(record: Mapping[str, JsonValue]) -> Iterator[tuple[object, ...]]:
    files = record.get("files")
    for file in files if isinstance(files, list) else []:
        if not isinstance(file, dict):
            continue
        digests = file.get("digests")
        known = digests if isinstance(digests, dict) else {}
        yield (
            file.get("name"),
            file.get("media_type"),
            file.get("size"),
            known.get("sha256"),
            known.get("sm3"),
        )


def _all_items(case: Mapping[str, Value]) -> Iterator[tuple[str, Mapping[str, Value]]]:
    yield "case", _object(case["case"])
    for name in RULES:
        if name != "case":
            for item in _objects(case[name]):
                yield name, item


def _differs(name: str, item: Mapping[str, Value], field: str) -> Finding:
    return finding("case_record_differs", CASE_JSON, f"{name} {item['id']} {field}")


def _object(value: Value) -> Mapping[str, Value]:
    if not isinstance(value, dict):
        raise TypeError("checked against its form before")
    return value


def _sequence(value: Value) -> Sequence[Value]:
    if not isinstance(value, list):
        raise TypeError("checked against its form before")
    return value


def _objects(value: Value) -> Iterator[Mapping[str, Value]]:
    for item in _sequence(value):
        yield _object(item)


def license_text(license_id: str, records: Sequence[tuple[str, Mapping[str, JsonValue]]]) -> bytes:
    """The metadata file of a licence: its records as logged, oldest first, by entry id."""
    body = {
        "license": license_id,
        "records": [{"record": entry, "content": dict(record)} for entry, record in records],
    }
    return (json.dumps(body, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
