"""`mianjiao token`: issues an opaque bearer token; only its hash is kept."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kernel.principals import Capacity, Role
from runtime.errors import CapacityWithoutHolder, HolderUnreadable


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The options of the command, as typed."""

    role: str
    org: str | None = None
    unit: str | None = None
    officer: str | None = None
    holder: str | None = None
    holder_name: str | None = None
    for_holder: str | None = None
    capacity: str | None = None
    days: int = 30


def issue_token(data: Path, request: TokenRequest) -> int:
    """Print the token alone on standard output, so that a script can take it."""
    from runtime.store import open_store

    with open_store(data) as store:
        print(issue(store, request))
    return 0
