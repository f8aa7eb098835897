"""Canonical JSON: equal to RFC 8785, reversible, and strict about everything else."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kernel.canonical import (
    MAX_BYTES,
    MAX_DEPTH,
    NotCanonical,
    canonical_bytes,
    parse_canonical,
    parse_record,
)

MAX_INT = 2**53 - 1
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
brackets = st.text('[]{}"\\', max_size=60)  # no nesting, however many
keys = st.text(st.characters(max_codepoint=127), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | text | brackets,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_canonical_bytes_are_those_of_rfc_8785(value):
    assert canonical_bytes(value) == rfc8785.dumps(value)


def test_every_character_is_written_as_rfc_8785_writes_it():
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(characters), 0x8000):
        value = ["".join(characters[start : start + 0x8000])]
        assert canonical_bytes(value) == rfc8785.dumps(value)
        assert parse_canonical(canonical_bytes(value)) == value


@given(values)
def test_canonical_bytes_read_back_to_the_same_value(value):
    assert parse_canonical(canonical_bytes(value)) == value


@given(st.dictionaries(keys, values, max_size=6))
def test_the_order_in_which_keys_were_put_does_not_show(record):
    backwards = dict(reversed(record.items()))
    assert canonical_bytes(backwards) == canonical_bytes(record)


@given(st.dictionaries(keys, values, min_size=1, max_size=4), st.integers(0), st.binary(min_size=1))
def test_changed_bytes_never_read_as_the_same_record(record, place, junk):
    data = canonical_bytes(record)
    cut = place % (len(data) + 1)
    for changed in (data[:cut] + junk + data[cut:], data[:cut] + data[cut + 1 :]):
        if changed != data:
            try:
                assert parse_canonical(changed) != record
            except NotCanonical:
                continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{}\n",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        '{"é":1}'.encode(),
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"{'a':1}",
        b'{"a":1,}',
        b"[" * 5000 + b"]" * 5000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 200 + b"]" * 200,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    ],
)
def test_other_spellings_are_refused(data):
    with pytest.raises(NotCanonical):
        parse_canonical(data)


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), b"x", {1: 2}, {"é": 1}, "\ud800", {"a"}, object(), 1j],
)
def test_values_outside_the_form_are_refused(value):
    for nested in (value, [value], {"a": value}):
        with pytest.raises(NotCanonical):
            canonical_bytes(nested)


def test_depth_and_size_have_limits():
    deepest = None
    for _ in range(MAX_DEPTH):
        deepest = [deepest]
    assert parse_canonical(canonical_bytes(deepest)) == deepest
    with pytest.raises(NotCanonical):
        canonical_bytes([deepest])
    filler = MAX_BYTES - len(canonical_bytes({"a": ""}))
    assert len(canonical_bytes({"a": "x" * filler})) == MAX_BYTES
    with pytest.raises(NotCanonical):
        canonical_bytes({"a": "x" * (filler + 1)})
    with pytest.raises(NotCanonical):
        parse_canonical(b'"' + b"x" * MAX_BYTES + b'"')


def test_brackets_inside_strings_do_not_count_as_depth():
    for record in ({"a": "[" * 40, "b": "]" * 12}, {"a": ["{" * 10_000, '"[{'] * 3}):
        assert parse_canonical(canonical_bytes(record)) == record


def test_a_record_is_an_object():
    assert parse_record(b'{"v":1}') == {"v": 1}
    for data in (b"[]", b"1", b"null", b'"v"'):
        with pytest.raises(NotCanonical):
            parse_record(data)


def test_chinese_text_is_written_as_itself():
    assert canonical_bytes({"a": "免交"}) == '{"a":"免交"}'.encode()
    assert json.loads(canonical_bytes({"a": "\u2028\x7f\x00"})) == {"a": "\u2028\x7f\x00"}
