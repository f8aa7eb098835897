"""Forms: JSON, XML and schema agree, whatever text people type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from archive.form import (
    Field,
    Form,
    FormError,
    Kind,
    ListOf,
    check,
    from_json,
    to_json,
)
from archive.form_xml import from_xml, to_xml, to_xsd

NS = "urn:example:form"
PART = Form((Field("name", "名称", Kind.TEXT), Field("size", "字节数", Kind.NUMBER, False)))
FORM = Form(
    (
        Field("id", "标识", Kind.WORD),
        Field("at", "时间", Kind.TIME),
        Field("own", "自有", Kind.FLAG),
        Field("note", "备注", Kind.TEXT, required=False),
        Field("part", "部分", PART, required=False),
        Field("parts", "各部分", ListOf("part", PART)),
        Field("tags", "标签", ListOf("tag", Kind.TEXT), required=False),
    )
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
PARTS = st.fixed_dictionaries({"name": TEXTS}, optional={"size": st.integers(0, (1 << 53) - 1)})
VALUES = st.fixed_dictionaries(
    {
        "id": st.from_regex(r"[a-z0-9_]{1,30}", fullmatch=True),
        "at": st.just("2026-11-24T04:20:21.123Z"),
        "own": st.booleans(),
        "parts": st.lists(PARTS, max_size=3),
    },
    optional={"note": TEXTS, "part": PARTS, "tags": st.lists(TEXTS, max_size=3)},
)


@given(VALUES)
@settings(max_examples=100)
def test_xml_and_json_say_the_same_and_the_schema_accepts(value: dict[str, object]) -> None:
    assert list(check(FORM, value)) == []
    xml = to_xml(FORM, "root", NS, value)  # type: ignore[arg-type]
    assert from_xml(FORM, "root", NS, xml) == value
    assert from_json(FORM, to_json(value)) == value  # type: ignore[arg-type]
    schema = etree.XMLSchema(etree.fromstring(to_xsd(FORM, "root", NS, "根")))
    schema.assertValid(etree.fromstring(xml))


BASE = {"id": "a", "at": "2026-11-24T04:20:21.123Z", "own": True, "parts": []}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": "含空 格"}, "/id"),
        ({"id": 1}, "/id"),
        ({"at": "2026-11-24"}, "/at"),
        ({"own": 1}, "/own"),
        ({"own": "true"}, "/own"),
        ({"parts": {}}, "/parts"),
        ({"parts": [{"name": "x", "size": True}]}, "/parts/0/size"),
        ({"parts": [{"name": "x", "size": -1}]}, "/parts/0/size"),
        ({"parts": [{}]}, "/parts/0/name"),
        ({"part": []}, "/part"),
        ({"more": 1}, "/?"),
        ({"note": None}, "/note"),
    ],
)
def test_what_is_not_of_the_form_is_named(change: dict[str, object], where: str) -> None:
    assert list(check(FORM, {**BASE, **change})) == [where]


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":"a","id":"b","at":"2026-11-24T04:20:21.123Z","own":true,"parts":[]}',
        b'{"id":"a","at":"2026-11-24T04:20:21.123Z","own":true,"parts":[{"name":"","size":1.0}]}',
        b'{"id":"a","at":"2026-11-24T04:20:21.123Z","own":true,"parts":[{"name":"","size":NaN}]}',
        b"[" * 100_000,
        b"\xff",
        b"",
        b"[]",
    ],
)
def test_other_json_is_refused(text: bytes) -> None:
    with pytest.raises(FormError):
        from_json(FORM, text)


def xml_of(**change: object) -> bytes:
    return to_xml(FORM, "root", NS, {**BASE, **change})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<root", b'<!DOCTYPE x [<!ENTITY a "b">]><root'),
        (b"<id>a</id>", b"<id>a</id><!-- x -->"),
        (b"<id>a</id>", b"<id>a</id><?x y?>"),
        (b"<id>a</id>", b"<id>a</id><id>a</id>"),
        (b"<id>a</id>", b"<id>a<b/></id>"),
        (b"<id>a</id>", b'<id x="y">a</id>'),
        (b"<id>a</id>", b"stray<id>a</id>"),
        (b"<id>a</id>", b"<id>&x;</id>"),
        (NS.encode(), b"urn:other"),
        (b"<own>true</own>", b"<own>1</own>"),
        (b"</root>", b""),
        (b"UTF-8", b"UTF-7"),
    ],
)
def test_other_xml_is_refused(old: bytes, new: bytes) -> None:
    data = xml_of()
    assert old in data
    with pytest.raises(FormError):
        from_xml(FORM, "root", NS, data.replace(old, new, 1))


def test_text_that_xml_cannot_hold_is_escaped_and_marked() -> None:
    data = xml_of(note="a\x0bb\r\n<c>&\ufffe")
    assert b'escaped="json"' in data
    assert from_xml(FORM, "root", NS, data)["note"] == "a\x0bb\r\n<c>&\ufffe"
