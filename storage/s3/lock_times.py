"""Retention dates as servers write and hold them."""

import re
from datetime import UTC, datetime, timedelta

from storage.errors import StorageFailed

LATEST = datetime(2105, 12, 31, tzinfo=UTC)
"""The furthest date that every server holds: Ceph 16 keeps seconds in 32 bits without a sign,
so that a later one comes back as one that has passed."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(?:Z|\+00:00)", re.ASCII)


def bounded(until: datetime) -> datetime:
    """`until` in whole seconds, rounded up, and not beyond `LATEST`."""
    whole = until.replace(microsecond=0)
    if whole < until:
        whole += timedelta(seconds=1)
    return min(whole, LATEST)


def lock_text(until: datetime) -> str:
    """RFC 3339 in UTC and whole seconds, e.g. `2036-11-24T00:00:00Z`."""
    return until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_lock_time(text: str) -> datetime:
    """The time in a server's answer, fractions dropped: MinIO writes three digits of
    them, Ceph nine, which `datetime` does not read."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise StorageFailed(problem="retention date not understood")
    return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
