"""Forms: one declaration gives a structure its JSON, and in `form_xml` its XML and schema. Pure.

A value is a dict with exactly the declared keys; what is unknown is left out, never
null. Field order is the order of the XML elements. Forms that were published are
append-only: fields are added at the end and optional, never renamed or reordered,
so that a package written today reads for ever (a test pins them).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Value: TypeAlias = "str | int | bool | Mapping[str, Value] | Sequence[Value]"


class Kind(Enum):
    """What a leaf holds. The value is the XML Schema type, with a pattern where there is one."""

    TEXT = ("text", None)
    WORD = ("xs:string", r"[A-Za-z0-9_.:+/=\-]{1,300}")  # codes, ids, digests, paths
    TIME = ("xs:string", r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
    DATE = ("xs:string", r"\d{4}-\d{2}-\d{2}")
    NUMBER = ("xs:nonNegativeInteger", None)
    FLAG = ("xs:boolean", None)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; each item is an XML element called `item`."""

    item: str
    of: "Kind | Form"


@dataclass(frozen=True, slots=True)
class Field:
    """`zh` is the element's name in Chinese, as archivists know it."""

    name: str
    zh: str
    of: "Kind | Form | ListOf"
    required: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """An object with these fields."""

    fields: tuple[Field, ...]


class FormError(ValueError):
    """The value or the text is not of the form; the message names the place, not the value."""


_MAX_NUMBER = (1 << 53) - 1


def check(form: Form, value: object, where: str = "") -> Iterator[str]:
    """Every place where `value` is not of `form`."""
    if not isinstance(value, dict):
        yield where or "/"
        return
    known = {field.name: field for field in form.fields}
    for name in value:
        if name not in known:
            yield f"{where}/?"
    for name, field in known.items():
        if name in value:
            yield from _check_part(field.of, value[name], f"{where}/{name}")
        elif field.required:
            yield f"{where}/{name}"


def _check_part(of: "Kind | Form | ListOf", value: object, where: str) -> Iterator[str]:
    if isinstance(of, Form):
        yield from check(of, value, where)
    elif isinstance(of, ListOf):
        if not isinstance(value, list):
            yield where
            return
        for number, item in enumerate(value):
            yield from _check_part(of.of, item, f"{where}/{number}")
    elif not _leaf_holds(of, value):
        yield where


def _leaf_holds(kind: Kind, value: object) -> bool:
    if kind is Kind.FLAG:
        return isinstance(value, bool)
    if kind is Kind.NUMBER:
        return type(value) is int and 0 <= value <= _MAX_NUMBER
    if not isinstance(value, str):
        return False
    pattern = kind.value[1]
    return pattern is None or re.fullmatch(pattern, value, re.ASCII) is not None


def to_json(value: Mapping[str, Value]) -> bytes:
    """Indented UTF-8 JSON with a final newline, keys in the order of the form."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def from_json(form: Form, data: bytes) -> dict[str, Value]:
    """Read a value of `form`; duplicate keys, floats and other forms are a `FormError`."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except FormError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormError("not JSON") from error
    for where in check(form, value):
        raise FormError(where)
    checked: dict[str, Value] = value
    return checked


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise FormError("a key occurs twice")
    return value


def _refuse(_text: str) -> object:
    raise FormError("a number that is not a whole number")
