"""Coded errors: every refusal has a stable code and a sentence in both languages.

Rooms derive their own errors from `CodedError` in `<room>/errors.py`. No error
knows of HTTP: `runtime/problems.py` maps codes to RFC 9457 problem details.
A code is never renamed or reused. Details never hold personal data, because
they reach logs and responses.
"""

from typing import ClassVar

Detail = str | int | bool | None | list[str]


class CodedError(Exception):
    """Base of all refusals. Subclasses set `code`, `zh`, `en` once.

    `zh` and `en` are `str.format` templates over the details. The type of
    refusal (what kind of no it is) is the subclass's base: see below.
    """

    code: ClassVar[str] = "error"
    zh: ClassVar[str] = "出错"
    en: ClassVar[str] = "error"

    def __init__(self, **details: Detail) -> None:
        super().__init__(self.code)
        self.details = details

    def message_zh(self) -> str:
        return self.zh.format_map(_Lenient(self.details))

    def message_en(self) -> str:
        return self.en.format_map(_Lenient(self.details))

    def __str__(self) -> str:
        return f"{self.message_zh()} / {self.message_en()} [{self.code}]"


class InvalidInput(CodedError):
    """What was sent cannot be accepted, whoever sends it and whenever."""


class NotAuthenticated(CodedError):
    """The credential is missing, unknown, expired or revoked."""


class NotPermitted(CodedError):
    """The credential is good, but not for this role, audience, case or capacity."""


class NotFound(CodedError):
    """Unknown, or another holder's: the two are never told apart."""


class Conflict(CodedError):
    """The thing is not in a state, or not at the version, that allows this."""


class TooLarge(CodedError):
    """Over a limit of size, count, depth or rate."""


class TooSlow(CodedError):
    """The sender took longer than the receive time-out."""


class Unavailable(CodedError):
    """The service cannot do this now; the same request may succeed later."""


class Corrupt(CodedError):
    """What is stored does not agree with what was recorded: refused, never believed."""


class _Lenient(dict[str, Detail]):
    def __missing__(self, key: str) -> str:
        return "?"
