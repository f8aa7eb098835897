"""XML and XML Schema of forms: written, and read back strictly. Pure.

A reader in decades needs the schema alone; our own reader accepts exactly what
the writer makes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree import ElementTree

from archive.form import Field, Form, FormError, Kind, ListOf, Value

# The library's own escaping imports an HTTP client, which a verifier need not wait for.
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})

# Not representable in XML 1.0 (§2.2): such text is written as a JSON string.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(form: Form, root: str, namespace: str, value: Mapping[str, Value]) -> bytes:
    """The XML document of a value that `check` found good."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines += _element(root, form, value, "", f" xmlns={quoteattr(namespace)}")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _element(
    name: str, of: "Kind | Form | ListOf", value: Value, indent: str, attributes: str = ""
) -> Iterator[str]:
    if isinstance(of, Kind):
        yield indent + _leaf_xml(name, of, value)
        return
    children = list(_children(of, value))
    if not children:
        yield f"{indent}<{name}{attributes}/>"
        return
    yield f"{indent}<{name}{attributes}>"
    for child_name, child_of, child in children:
        yield from _element(child_name, child_of, child, indent + "  ")
    yield f"{indent}</{name}>"


def _children(
    of: "Form | ListOf", value: Value
) -> Iterator[tuple[str, "Kind | Form | ListOf", Value]]:
    if isinstance(of, ListOf):
        if not isinstance(value, list):
            raise FormError("a list is needed")
        for item in value:
            yield of.item, of.of, item
        return
    if not isinstance(value, dict):
        raise FormError("an object is needed")
    for field in of.fields:
        if field.name in value:
            yield field.name, field.of, value[field.name]


def _leaf_xml(name: str, kind: Kind, value: Value) -> str:
    if kind is Kind.FLAG:
        return f"<{name}>{'true' if value else 'false'}</{name}>"
    text = str(value)
    if kind is Kind.TEXT and _NOT_XML.search(text):
        return f'<{name} escaped="json">{escape(json.dumps(text))}</{name}>'
    return f"<{name}>{escape(text)}</{name}>"


def escape(text: str) -> str:
    """Text for an element or an attribute."""
    # A parser would turn a bare carriage return into a line feed.
    return text.translate(_ESCAPES).replace("\r", "&#13;")


def quoteattr(text: str) -> str:
    return f'"{escape(text)}"'


def from_xml(form: Form, root: str, namespace: str, data: bytes) -> dict[str, Value]:
    """Read what `to_xml` wrote; anything else is a `FormError`.

    No DTD, comment, CDATA or processing instruction: nothing that expands or loads.
    """
    if b"<!" in data or data.count(b"<?") != 1:
        raise FormError("declarations are not accepted")
    try:
        element = ElementTree.fromstring(data)  # noqa: S314 - without DTD nothing expands
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise FormError("not well-formed XML") from error
    prefix = f"{{{namespace}}}"
    if element.tag != prefix + root or element.attrib:
        raise FormError("another root element")
    value = _read_part(form, element, prefix, "")
    if not isinstance(value, dict):
        raise FormError("an object is needed")
    return value


def _read_part(
    of: "Kind | Form | ListOf", element: ElementTree.Element, prefix: str, where: str
) -> Value:
    if isinstance(of, Kind):
        return _read_leaf(of, element, where)
    if element.attrib or (element.text or "").strip():
        raise FormError(where)
    for child in element:
        if (child.tail or "").strip():
            raise FormError(where)
    if isinstance(of, ListOf):
        items = []
        for child in element:
            if child.tag != prefix + of.item:
                raise FormError(where)
            items.append(_read_part(of.of, child, prefix, f"{where}/{of.item}"))
        return items
    value: dict[str, Value] = {}
    children = list(element)
    for field in of.fields:
        if children and children[0].tag == prefix + field.name:
            value[field.name] = _read_part(
                field.of, children.pop(0), prefix, f"{where}/{field.name}"
            )
    if children:  # unknown, repeated, or out of order
        raise FormError(where)
    return value


def _read_leaf(kind: Kind, element: ElementTree.Element, where: str) -> Value:
    if len(element):
        raise FormError(where)
    text = element.text or ""
    if element.attrib:
        if kind is not Kind.TEXT or element.attrib != {"escaped": "json"}:
            raise FormError(where)
        try:
            value = json.loads(text)
        except ValueError as error:
            raise FormError(where) from error
        if not isinstance(value, str):
            raise FormError(where)
        return value
    if kind is Kind.NUMBER:
        if not re.fullmatch(r"0|[1-9]\d{0,15}", text, re.ASCII):
            raise FormError(where)
        return int(text)
    if kind is Kind.FLAG:
        if text not in ("true", "false"):
            raise FormError(where)
        return text == "true"
    return text


# --- XML Schema ----------------------------------------------------------------------

_XSD_HEAD: Final = """<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns={namespace}
    targetNamespace={namespace} elementFormDefault="qualified">
  <xs:complexType name="text">
    <xs:simpleContent>
      <xs:extension base="xs:string">
        <xs:attribute name="escaped" fixed="json"/>
      </xs:extension>
    </xs:simpleContent>
  </xs:complexType>
"""


def to_xsd(form: Form, root: str, namespace: str, zh: str) -> bytes:
    """The XML Schema 1.0 of `to_xml`, with the Chinese name of every element."""
    body = _schema(Field(root, zh, form), "  ", "")
    text = _XSD_HEAD.format(namespace=quoteattr(namespace)) + "\n".join(body) + "\n</xs:schema>\n"
    return text.encode("utf-8")


def _schema(field: Field, indent: str, occurs: str) -> Iterator[str]:
    of = field.of
    note = f"<xs:annotation><xs:documentation>{escape(field.zh)}</xs:documentation></xs:annotation>"
    if isinstance(of, Kind):
        kind, pattern = of.value
        if pattern is None:
            head = f'{indent}<xs:element name="{field.name}" type="{kind}"{occurs}>'
            yield f"{head}{note}</xs:element>"
            return
        yield f'{indent}<xs:element name="{field.name}"{occurs}>{note}'
        yield f'{indent}  <xs:simpleType><xs:restriction base="{kind}">'
        yield f"{indent}    <xs:pattern value={quoteattr(_xsd_pattern(pattern))}/>"
        yield f"{indent}  </xs:restriction></xs:simpleType>"
        yield f"{indent}</xs:element>"
        return
    yield f'{indent}<xs:element name="{field.name}"{occurs}>{note}'
    yield f"{indent}  <xs:complexType><xs:sequence>"
    if isinstance(of, ListOf):
        item = Field(of.item, field.zh, of.of)
        yield from _schema(item, indent + "    ", ' minOccurs="0" maxOccurs="unbounded"')
    else:
        for part in of.fields:
            optional = "" if part.required else ' minOccurs="0"'
            yield from _schema(part, indent + "    ", optional)
    yield f"{indent}  </xs:sequence></xs:complexType>"
    yield f"{indent}</xs:element>"


def _xsd_pattern(pattern: str) -> str:
    # XML Schema's \d is any Unicode digit.
    return pattern.replace(r"\d", "[0-9]")
