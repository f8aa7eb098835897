"""What is remembered of an upload, so that looking at it reads nothing back from the store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from materials_api.uploads import incoming
from materials_api.uploads.incoming import Ends
from materials_api.uploads.zip_containers import TAIL_BYTES


@given(st.data(), st.lists(st.binary(max_size=40), max_size=12))
def test_what_is_remembered_is_what_went_by(data: Any, blocks: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming, "HEAD_BYTES", 32)
        patch.setattr(incoming, "TAIL_BYTES", 8)
        ends, content = Ends(), b"".join(blocks)
        for block in blocks:
            ends.add(block)
        size = len(content)
        start = data.draw(st.integers(0, size))
        stop = data.draw(st.integers(start, size))
        assert ends.head == content[:32]
        assert ends.read(start, stop) in (content[start:stop], None)
        if stop <= 32 or start >= size - 8:
            assert ends.read(start, stop) == content[start:stop]


def test_memory_is_bounded_and_the_end_is_always_there() -> None:
    ends = Ends()
    block = bytes(range(256)) * 512
    for _ in range(200):
        ends.add(block)
    size = 200 * len(block)
    assert ends.read(size - TAIL_BYTES, size) == (block * 2)[-TAIL_BYTES:]
    assert ends.read(size // 2, size // 2 + 1) is None
    assert len(ends._tail) <= 4 * TAIL_BYTES
