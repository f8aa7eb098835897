"""Which language a page speaks: what was asked for, else what the browser prefers, else Chinese."""

import re
from enum import StrEnum

_PART = re.compile(r"\s*([A-Za-z*]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*")
_MOST = 32  # longer lists are cut: nobody speaks more


class Language(StrEnum):
    """The value is the page's `lang` attribute, and the value of `?lang=` before the dash."""

    ZH = "zh-CN"
    EN = "en"

    @property
    def short(self) -> str:
        return self.value.partition("-")[0]


def choose(asked: str | None, accept: str | None) -> Language:
    """`asked` is the value of `?lang=`, `accept` the Accept-Language header (RFC 9110 §12.5.4).

    Anything that is neither Chinese nor English counts as not said.
    """
    named = _known(asked or "")
    if named is not None:
        return named
    best, best_weight = Language.ZH, 0.0
    for part in (accept or "").split(",")[:_MOST]:
        match = _PART.fullmatch(part)
        if match is None:
            continue
        language, weight = _known(match[1]), float(match[2] or 1)
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def _known(tag: str) -> Language | None:
    word = tag.partition("-")[0].lower()
    return {"zh": Language.ZH, "en": Language.EN}.get(word)
