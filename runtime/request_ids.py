"""The id by which a request is known in logs, problems and traces."""

import re

from kernel.ids import IdKind, is_id, new_id

# Forms that generators of random ids write. Anything freer could carry a name or a
# citizen number into the log.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}")


def request_id(offered: bytes | None) -> str:
    """The caller's `X-Request-Id` if it is a UUID, 32 hex digits or an id of our own form;
    otherwise a fresh one."""
    if offered is not None:
        text = offered.decode("latin-1")
        if is_id(text, IdKind.REQUEST) or _UUID.fullmatch(text) or _HEX.fullmatch(text):
            return text
    return new_id(IdKind.REQUEST)
