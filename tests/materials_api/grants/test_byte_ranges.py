"""Byte ranges (RFC 9110 section 14): pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from materials_api.grants.errors import RangeUnsatisfiable
from materials_api.releases.byte_ranges import ByteRange, RangeRequest, requested_range

ETAG = '"e"'


def asked(text: str | None, size: int, if_range: str | None = None) -> ByteRange:
    return requested_range(RangeRequest(text, if_range), size, ETAG)


@given(size=st.integers(1, 1000), first=st.integers(0, 1100), last=st.integers(0, 1100))
def test_a_range_is_what_python_slices(size: int, first: int, last: int) -> None:
    if first >= size:
        if last >= first:
            with pytest.raises(RangeUnsatisfiable):
                asked(f"bytes={first}-{last}", size)
        return
    found = asked(f"bytes={first}-{last}", size)
    if last < first:
        assert found == ByteRange(0, size, partial=False)
        return
    data = bytes(n % 251 for n in range(size))
    assert found.partial
    assert data[found.start : found.stop] == data[first : last + 1]


@given(size=st.integers(1, 1000), length=st.integers(1, 1100))
def test_a_suffix_is_the_end(size: int, length: int) -> None:
    assert asked(f"bytes=-{length}", size) == ByteRange(max(0, size - length), size, partial=True)


def test_an_open_range_goes_to_the_end() -> None:
    assert asked("bytes=3-", 10) == ByteRange(3, 10, partial=True)
    assert asked("BYTES=3-", 10) == ByteRange(3, 10, partial=True)


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_nothing_of_it_exists(text: str) -> None:
    with pytest.raises(RangeUnsatisfiable) as refused:
        asked(text, 10)
    assert refused.value.details == {"size": 10}


@pytest.mark.parametrize(
    "text",
    [None, "", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=a-b", "bytes=5-3",
     "bytes=٣-٤", "bytes=0-99999999999999999999"],
)  # fmt: skip
def test_what_does_not_parse_is_answered_with_the_whole(text: str | None) -> None:
    assert asked(text, 10) == ByteRange(0, 10, partial=False)


def test_another_etag_gets_the_whole() -> None:
    assert asked("bytes=0-1", 10, ETAG).partial
    assert not asked("bytes=0-1", 10, '"other"').partial
    assert not asked("bytes=0-1", 10, 'W/"e"').partial


def test_only_a_conditional_range_resumes() -> None:
    assert RangeRequest("bytes=3-", ETAG).resumes(ETAG)
    assert not RangeRequest("bytes=3-", None).resumes(ETAG)
    assert not RangeRequest("bytes=3-", '"other"').resumes(ETAG)
    assert not RangeRequest(None, ETAG).resumes(ETAG)
