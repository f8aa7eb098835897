"""Every change of a receipt: its bytes, its JSON, the text of its proofs, and what stands
in base64: items of RLP (headers, trie nodes, seals), fields of DER (stamps, certificates).

A change is a place and the receipt as it then reads. Nothing here knows what is valid.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import rlp
from rlp.exceptions import RLPException

from tests.mutations import der

Path: TypeAlias = tuple[str | int, ...]
Change: TypeAlias = tuple[str, bytes]

OTHER_TYPES: tuple[Any, ...] = (None, True, 0, "", [], {})
CHAIN_PARTS = ("proof", "contract", "header", "account", "storage", "following")
STAMP_PARTS = ("proof", "tokens", "certificates")
RECEIPT_PARTS = ("record", "salt", "entry", "proof", "anchors")


# --- JSON, read and written without care for what is canonical ---


def load(data: bytes) -> Any:
    return json.loads(data)


def dump(value: Any, twice: Path | None = None) -> bytes:
    """As the store writes it; the key at the path `twice` stands there two times."""
    return _text(value, twice).encode("utf-8", "surrogatepass") + b"\n"


def _text(value: Any, twice: Path | None) -> str:
    def below(key: str | int) -> Path | None:
        return twice[1:] if twice and len(twice) > 1 and twice[0] == key else None

    if isinstance(value, dict):
        items = []
        for key in sorted(value):
            item = f"{json.dumps(key)}:{_text(value[key], below(key))}"
            items += [item] * (2 if twice == (key,) else 1)
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(one, below(at)) for at, one in enumerate(value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def at_path(value: Any, path: Path) -> Any:
    """What stands there; `LookupError` if nothing does."""
    for key in path:
        if not isinstance(value, dict if isinstance(key, str) else list):
            raise LookupError(key)
        value = value[key]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy in which `new` stands at `path`."""
    if not path:
        return new
    made = value.copy()
    made[path[0]] = put(value[path[0]], path[1:], new)
    return made


def name(path: Path) -> str:
    return "/" + "/".join(str(key) for key in path)


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place below, outer ones first."""
    pairs: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, item in pairs:
        yield (*path, key)
        yield from paths(item, (*path, key))


def place(before: bytes, after: bytes) -> str:
    """Where two receipts differ first, as far in as it can be told."""
    try:
        one, two = load(before), load(after)
    except ValueError:
        return "not JSON"
    path: Path = ()
    for path in paths(one):
        try:
            same = at_path(one, path) == at_path(two, path)
        except LookupError:
            return f"{name(path)} missing"
        if not same and not isinstance(at_path(one, path), dict | list):
            break
    else:
        return "spelling"
    mine, yours = at_path(one, path), at_path(two, path)
    if path[-1] == "proof":
        return f"{name(path)} {_line_place(mine.split(chr(10)), yours.split(chr(10)))}"
    if "tokens" in path:
        return f"{name(path)} {der.place(base64.b64decode(mine), base64.b64decode(yours))}"
    return name(path)


def _line_place(lines: Sequence[str], other: Sequence[str]) -> str:
    pairs = zip(lines, other, strict=False)
    at = next((at for at, (one, two) in enumerate(pairs) if one != two), len(lines))
    line = lines[at] if at < len(lines) else ""
    if at < len(other) and line.startswith("— ") and other[at].startswith("— "):
        same = line.rsplit(" ", 1)[0] == other[at].rsplit(" ", 1)[0]
        if not same:
            return f"line {at} name"
        if _blob(line)[:4] != _blob(other[at])[:4]:
            return f"line {at} key id"
    return f"line {at}"


# --- Families of changes ---


def of_bytes(data: bytes) -> Iterator[Change]:
    """Each byte with one bit changed, left out, and twice."""
    for at in range(len(data)):
        before, one, after = data[:at], data[at], data[at + 1 :]
        yield f"byte {at} changed", before + bytes([one ^ 1 << at % 8]) + after
        yield f"byte {at} removed", before + after
        yield f"byte {at} twice", before + bytes([one, one]) + after


def of_json(data: bytes) -> Iterator[Change]:
    """Each key and item deleted, twice, renamed, turned with the next, of another type, of
    another value."""
    value = load(data)
    for path in paths(value):
        *above, last = path
        held = at_path(value, tuple(above))
        yield f"{name(path)} deleted", dump(put(value, tuple(above), _without(held, last)))
        if isinstance(held, dict):
            yield f"{name(path)} twice", dump(value, path)
            renamed = {f"{key}x" if key == last else key: one for key, one in held.items()}
            yield f"{name(path)} renamed", dump(put(value, tuple(above), renamed))
        else:
            assert isinstance(last, int)
            more = [*held[: last + 1], *held[last:]]
            yield f"{name(path)} twice", dump(put(value, tuple(above), more))
            if last + 1 < len(held):
                turned = [*held[:last], held[last + 1], held[last], *held[last + 2 :]]
                yield f"{name(path)} turned", dump(put(value, tuple(above), turned))
        for new in _other_values(held[last]):
            yield f"{name(path)} is {_shown(new)}", dump(put(value, path, new))


def of_proofs(data: bytes) -> Iterator[Change]:
    """Each line of each proof deleted, twice, empty, turned with the next; every field of
    each signature line."""
    value = load(data)
    for path in paths(value):
        if path[-1] == "proof":
            lines = at_path(value, path).split("\n")
            for what, changed in _other_lines(lines):
                yield f"{name(path)} {what}", dump(put(value, path, "\n".join(changed)))


def of_binary(data: bytes) -> Iterator[Change]:
    """Each item of RLP, each field of DER, in what is base64."""
    value = load(data)
    for path in paths(value):
        for what, text in _other_binary(path, at_path(value, path)):
            yield f"{name(path)} {what}", dump(put(value, path, text))


def of_swaps(data: bytes, donor: bytes) -> Iterator[Change]:
    """Values of the donor in the same place, and in the place of every other anchor; any of
    an anchor's parts together; lines, items of RLP and fields of DER one at a time."""
    value, other = load(data), load(donor)
    for path in paths(value):
        here = at_path(value, path)
        for there in _same_places(path, other):
            new = at_path(other, there)
            yield f"{name(path)} from {name(there)}", dump(put(value, path, new))
            if path[-1] == "proof" and isinstance(new, str):
                for what, lines in _swapped_lines(here.split("\n"), new.split("\n")):
                    text = "\n".join(lines)
                    yield f"{name(path)} {what} from {name(there)}", dump(put(value, path, text))
            for what, text in _swapped_binary(path, here, new):
                yield f"{name(path)} {what} from {name(there)}", dump(put(value, path, text))
    yield from _swapped_parts(value, other, (), RECEIPT_PARTS)
    for at, anchor in enumerate(value["anchors"]):
        parts = CHAIN_PARTS if "header" in anchor else STAMP_PARTS
        for there in _same_places(("anchors", at), other):
            yield from _swapped_parts(value, at_path(other, there), ("anchors", at), parts)
    for at, anchor in enumerate(other["anchors"]):
        more = [*value["anchors"], anchor]
        yield f"/anchors more: {at}", dump(put(value, ("anchors",), more))


def _swapped_parts(value: Any, other: Any, path: Path, parts: Sequence[str]) -> Iterator[Change]:
    """Two parts and more from the donor; one alone is a place of its own."""
    held = at_path(value, path)
    for count in range(2, len(parts) + 1):
        for chosen in combinations(parts, count):
            if all(key in held and key in other for key in chosen):
                new = {**held, **{key: other[key] for key in chosen}}
                yield f"{name(path)} with {'+'.join(chosen)}", dump(put(value, path, new))


def _same_places(path: Path, other: Any) -> Iterator[Path]:
    """The same path in the donor, and for what is in an anchor that of each of its anchors."""
    tried = [path]
    if len(path) > 1 and path[0] == "anchors":
        tried += [("anchors", at, *path[2:]) for at in range(len(other["anchors"]))]
    for one in dict.fromkeys(tried):
        try:
            at_path(other, one)
        except LookupError:
            continue
        yield one


def _without(held: Any, key: str | int) -> Any:
    made = held.copy()
    del made[key]
    return made


def _other_values(value: Any) -> Iterator[Any]:
    yield from (one for one in OTHER_TYPES if one != value or type(one) is not type(value))
    yield [value]
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, str(value))
    elif isinstance(value, str) and value:
        yield from (value + " ", " " + value, value[:-1], value + value[-1], value.swapcase())
    elif isinstance(value, dict):
        yield {**value, "more": 1}
    elif isinstance(value, list):
        yield value[::-1]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 20 else f"{text[:20]}…"


# --- Text of proofs ---


def _other_lines(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for at, line in enumerate(lines):
        before, after = [*lines[:at]], [*lines[at + 1 :]]
        yield f"line {at} deleted", before + after
        yield f"line {at} twice", [*before, line, line, *after]
        yield f"line {at} empty", [*before, "", *after]
        if after:
            yield f"line {at} turned", [*before, after[0], line, *after[1:]]
        if line.isdecimal():
            yield f"line {at} more", [*before, str(int(line) + 1), *after]
            yield f"line {at} less", [*before, str(int(line) - 1), *after]
        if line.startswith("index "):
            number = int(line.removeprefix("index "))
            for new in (number + 1, number - 1, f"0{number}"):
                yield f"line {at} index {new}", [*before, f"index {new}", *after]
        if line.startswith("— "):
            for what, new_line in _other_signatures(line):
                yield f"line {at} {what}", [*before, new_line, *after]
            others = [one for one in lines if one.startswith("— ") and one != line]
            for number, other in enumerate(others):
                mixed = f"{line.rsplit(' ', 1)[0]} {other.rsplit(' ', 1)[1]}"
                yield f"line {at} blob of {number}", [*before, mixed, *after]
                mine, yours = _blob(line), _blob(other)
                swapped = _signature(line, mine[:4] + yours[4:])
                yield f"line {at} signature of {number}", [*before, swapped, *after]


def _other_signatures(line: str) -> Iterator[tuple[str, str]]:
    """Name, key id, time, signature."""
    raw = _blob(line)
    head, _, encoded = line.rpartition(" ")
    yield "name", f"{head}x {encoded}"
    yield "key id", _signature(line, bytes([raw[0] ^ 1]) + raw[1:])
    time = int.from_bytes(raw[4:12], "big")
    for new in (time + 1, time - 1, time + 1000, 0, (1 << 63) - 1, 1 << 63):
        if new != time and 0 <= new < 1 << 64:
            moved = raw[:4] + new.to_bytes(8, "big") + raw[12:]
            yield f"time {new - time:+d}", _signature(line, moved)
    yield "without time", _signature(line, raw[:4] + raw[12:])
    yield "with time", _signature(line, raw[:4] + bytes(8) + raw[4:])
    yield "shorter", _signature(line, raw[:-1])
    yield "longer", _signature(line, raw + b"\0")
    yield "no signature", _signature(line, raw[:4])
    yield "zeros", _signature(line, raw[:4] + bytes(len(raw) - 4))


def _swapped_lines(lines: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for at, line in enumerate(lines):
        for number, new in enumerate(other):
            if number == at or (line.startswith("— ") and new.startswith("— ")):
                yield f"line {at} is {number}", [*lines[:at], new, *lines[at + 1 :]]
    for number, new in enumerate(other):
        if new.startswith("— ") and new not in lines:
            yield f"line {number} more", [*lines[:-1], new, ""]


def _blob(line: str) -> bytes:
    return base64.b64decode(line.rsplit(" ", 1)[1])


def _signature(line: str, blob: bytes) -> str:
    return f"{line.rsplit(' ', 1)[0]} {base64.b64encode(blob).decode()}"


# --- What is in base64 ---


def _other_binary(path: Path, text: Any) -> Iterator[tuple[str, str]]:
    raw = _binary(path, text)
    if raw is None:
        return
    yield from _texts((f"bytes {what}", new) for what, new in _other_octets(raw))
    if "tokens" in path or "certificates" in path:
        yield from _texts(der.changes(raw))
    elif path[0] == "anchors":
        item = _items(raw)
        if item is not None:
            yield from _texts((what, _encoded(new)) for what, new in _other_items(item))


def _swapped_binary(path: Path, text: Any, other: Any) -> Iterator[tuple[str, str]]:
    raw, given = _binary(path, text), _binary(path, other)
    if raw is None or given is None or path[0] != "anchors":
        return
    if "tokens" in path or "certificates" in path:
        yield from _texts(der.swaps(raw, given))
        return
    mine, yours = _items(raw), _items(given)
    if mine is not None and yours is not None:
        yield from _texts((what, _encoded(new)) for what, new in _swapped_items(mine, yours))


def _binary(path: Path, text: Any) -> bytes | None:
    keys = {"salt", "entry", "header", "account", "storage", "following", "tokens", "certificates"}
    if not isinstance(text, str) or not keys.intersection(path) or path[0] == "record":
        return None
    return base64.b64decode(text)


def _texts(found: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    for what, raw in found:
        yield what, base64.b64encode(raw).decode()


def _other_octets(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "emptied", b""
    yield "zero before", b"\0" + raw
    yield "zero after", raw + b"\0"
    if raw:
        yield "first changed", bytes([raw[0] ^ 1]) + raw[1:]
        yield "last changed", raw[:-1] + bytes([raw[-1] ^ 1])
        yield "shorter", raw[:-1]


class Inside(list):  # type: ignore[type-arg]
    """A list of RLP that stands in a string of RLP: extraData of a header, an account."""


def _items(raw: bytes) -> Any:
    """Bytes, lists, and lists inside of bytes; None if it is no list."""
    try:
        item = rlp.decode(raw)
    except (RLPException, ValueError):
        return None
    return _opened(item) if isinstance(item, list) else None


def _opened(item: Any) -> Any:
    if isinstance(item, list):
        return [_opened(one) for one in item]
    inside = _items(item) if len(item) > 1 and item[0] >= 0xC0 else None
    same = inside is not None and rlp.encode(_closed(inside)) == item
    return Inside(inside) if same else item


def _closed(item: Any) -> Any:
    if isinstance(item, list):
        made = [_closed(one) for one in item]
        return rlp.encode(made) if isinstance(item, Inside) else made
    return item


def _encoded(item: Any) -> bytes:
    return bytes(rlp.encode(_closed(item)))


def _other_items(item: Any) -> Iterator[tuple[str, Any]]:
    for path in paths(item):
        *above, last = path
        held = at_path(item, tuple(above))
        assert isinstance(last, int)
        one, kind = held[last], type(held)
        more: Mapping[str, Any] = {
            "deleted": [*held[:last], *held[last + 1 :]],
            "twice": [*held[: last + 1], *held[last:]],
            "turned": [*held[:last], *held[last : last + 2][::-1], *held[last + 2 :]],
        }
        for what, new in more.items():
            yield f"item {name(path)} {what}", put(item, tuple(above), kind(new))
        if isinstance(one, bytes):
            for what, raw in _other_octets(one):
                yield f"item {name(path)} {what}", put(item, path, raw)
        else:
            yield f"item {name(path)} emptied", put(item, path, b"")
        yield f"item {name(path)} in a list", put(item, path, [one])


def _swapped_items(item: Any, other: Any) -> Iterator[tuple[str, Any]]:
    for path in paths(item):
        try:
            new = at_path(other, path)
        except LookupError:
            continue
        if new != at_path(item, path):
            yield f"item {name(path)}", put(item, path, new)
