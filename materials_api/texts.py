"""Which text people may hand in: titles, file names, notes. Pure.

Rare characters in private-use areas stand in real names, so only what can hide
or reorder text is refused.
"""

import unicodedata

from materials_api.errors import TextInvalid

_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Direction marks and overrides, the byte order mark: they make text read as another.
_DECEIVING = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u061c"
)


def is_clean(text: str, *, lines: bool = False) -> bool:
    """No control characters, lone surrogates or direction marks; with `lines`, `\\n` is fine."""
    return not any(
        char in _DECEIVING
        or (unicodedata.category(char) in _REFUSED and not (lines and char == "\n"))
        for char in text
    )


def clean_text(field: str, text: str, most: int, *, lines: bool = False) -> str:
    """The text without outer blanks; `TextInvalid` when empty, longer than `most` or unclean."""
    text = text.strip()
    if not text or len(text) > most or not is_clean(text, lines=lines):
        raise TextInvalid(field=field)
    return text


def clean_name(field: str, text: str, most: int) -> str:
    """A file's name as the sender calls it: clean text, the last part of any path."""
    return clean_text(field, text.replace("\\", "/").rsplit("/", 1)[-1], most)
