"""Pages speak the language that was asked for, in every sentence."""

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.language import Language, choose
from portal.texts import KEYS, TEXTS


@pytest.mark.parametrize(
    ("asked", "accept", "expected"),
    [
        (None, None, Language.ZH),
        (None, "", Language.ZH),
        (None, "en-US,en;q=0.9", Language.EN),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", Language.ZH),
        (None, "fr, en;q=0.3, zh;q=0.5", Language.ZH),
        (None, "fr, en;q=0.5, zh;q=0.3", Language.EN),
        (None, "en, zh", Language.EN),
        (None, "en;q=0, fr", Language.ZH),
        (None, "fr,de", Language.ZH),
        ("en", "zh", Language.EN),
        ("zh", "en", Language.ZH),
        ("EN-gb", "zh", Language.EN),
        ("xx", "en", Language.EN),
    ],
)
def test_the_address_wins_then_the_browser_then_chinese(
    asked: str | None, accept: str | None, expected: Language
) -> None:
    assert choose(asked, accept) is expected


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_header_gives_a_language(asked: str, accept: str) -> None:
    assert choose(asked, accept) in Language


def test_every_sentence_stands_in_both_languages() -> None:
    for key in KEYS:
        zh, en = TEXTS[Language.ZH][key], TEXTS[Language.EN][key]
        assert zh
        assert en
        if key != "brand_other":
            assert re.search(r"[\u4e00-\u9fff]", zh), key
            assert not re.search(r"[\u4e00-\u9fff]", en), key
        assert re.findall(r"{\w+}", zh) == re.findall(r"{\w+}", en), key


def test_pages_use_every_sentence_and_no_other() -> None:
    templates = "".join(
        path.read_text(encoding="utf-8")
        for path in files("portal").joinpath("templates").iterdir()
        if path.name.endswith(".html")
    )
    with pytest.raises(AttributeError):
        _ = TEXTS[Language.ZH].no_such_sentence
    words = set(re.findall(r"\w+", templates)) | {
        f"{which}_{n}" for which in ("proved", "not_proved") for n in range(1, 5)
    }
    assert KEYS - words == set()
    assert set(re.findall(r"\bt\.(\w+)", templates)) - KEYS == set()
