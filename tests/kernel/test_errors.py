"""Coded errors: every refusal of every room has a code of its own and both languages."""

import importlib
import re
import string
from pathlib import Path

import pytest

import kernel
from kernel import errors as kinds
from kernel.errors import CodedError

ROOT = Path(kernel.__file__).parent.parent
ROOMS = (
    "kernel",
    "storage",
    "ledger",
    "parties",
    "license_service",
    "materials_api",
    "archive",
    "portal",
    "runtime",
)
BASES = {value for value in vars(kinds).values() if isinstance(value, type)}


def modules_with_errors():
    """Every module of the product in whose text a refusal is defined."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if re.search(r'^    code(: .*)? = "', path.read_text("utf-8"), re.MULTILINE):
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def refusals():
    for name in modules_with_errors():
        importlib.import_module(name)
    found, waiting = set(), [CodedError]
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            if subclass not in found:
                found.add(subclass)
                waiting.append(subclass)
    return sorted(
        (error for error in found - BASES if error.__module__.split(".")[0] in ROOMS),
        key=lambda error: (error.__module__, error.__qualname__),
    )


REFUSALS = refusals()


def test_the_walk_finds_the_refusals_of_every_room_that_has_some():
    rooms = {error.__module__.split(".")[0] for error in REFUSALS}
    assert {"kernel", "storage", "ledger", "parties", "license_service"} <= rooms
    assert len(REFUSALS) > 50


def test_no_code_is_used_twice():
    by_code = {}
    for error in REFUSALS:
        by_code.setdefault(error.code, []).append(f"{error.__module__}.{error.__qualname__}")
    assert {code: names for code, names in by_code.items() if len(names) > 1} == {}


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.__qualname__)
def test_a_refusal_has_its_own_stable_code_and_both_languages(error):
    for name in ("code", "zh", "en"):
        assert name in vars(error), f"{name} is inherited"
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,63}", error.code)
    assert re.search(r"[\u4e00-\u9fff]", error.zh)
    assert re.search(r"[a-z]", error.en)
    assert not re.search(r"[\u4e00-\u9fff]", error.en)
    # One of the kinds that have an HTTP status, so that none ends as a 500 by accident.
    assert set(error.__mro__) & (BASES - {CodedError})


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.__qualname__)
def test_both_sentences_name_the_same_details(error):
    def fields(template):
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}

    assert fields(error.zh) <= fields(error.en) or fields(error.en) <= fields(error.zh)


class Sample(kinds.InvalidInput):
    code = "sample"
    zh = "上限 {limit}"
    en = "the limit is {limit}"


def test_details_fill_both_sentences_and_a_missing_one_breaks_nothing():
    assert Sample(limit=3).message_zh() == "上限 3"
    assert Sample(limit=3).message_en() == "the limit is 3"
    assert Sample().message_en() == "the limit is ?"
    assert str(Sample(limit=3)) == "上限 3 / the limit is 3 [sample]"
    assert Sample(limit=3).details == {"limit": 3}
