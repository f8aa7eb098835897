"""A sample of flips and edits; `make soak` makes 10,000."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kernel.clock import FixedClock
from runtime.store import Store, open_store
from tests.flips.flipping import Editor, Flipper, make_small
from tests.runtime.fsck.conftest import NOON


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("flips")
    ids = make_small(folder)
    with open_store(folder / "store", clock=FixedClock(NOON + timedelta(days=200))) as store:
        yield store, ids


def test_every_flipped_bit_is_named(made: tuple[Store, dict[str, str]]) -> None:
    flipper = Flipper(made[0], random.Random(20261124))
    for _ in range(400):
        flipper.flip()
    assert flipper.found.missed == []
    assert min(flipper.found.made[kind] for kind in ("object", "log", "key", "package")) > 0


def test_every_edited_or_deleted_row_is_named(made: tuple[Store, dict[str, str]]) -> None:
    editor = Editor(*made, random.Random(20261124))
    for _ in range(60):
        editor.edit()
    editor.close()
    assert editor.found.missed == []
    assert min(editor.found.made.values()) > 5


def test_a_flip_that_no_part_looks_at_is_noticed(made: tuple[Store, dict[str, str]]) -> None:
    flipper = Flipper(made[0], random.Random(1))
    flipper._named = lambda *_: False  # type: ignore[method-assign]
    flipper.flip()
    assert len(flipper.found.missed) == 1
