"""The self-test at start: whether the bucket keeps what this program relies on.

A server that accepts settings of object lock is not one that enforces them.
So a probe object is locked for some minutes, and everything that the lock must
forbid is tried. What succeeds is named, and nothing is served.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from minio.commonconfig import COMPLIANCE, GOVERNANCE

from kernel.errors import CodedError
from storage.errors import ObjectMissing, ObjectRetained
from storage.s3.bucket import Blob, Bucket
from storage.s3.errors import S3SelfTestFailed
from storage.s3.lock_times import bounded

PREFIX = "self-test/"
# Longer than servers let clocks differ (15 minutes), so that it lies in their future too.
LOCKED = timedelta(minutes=20)
_FIRST, _OTHER = b"first", b"other"


def self_test(bucket: Bucket, at: datetime) -> None:
    """Try what must not be possible; `S3SelfTestFailed` names what was.

    `BucketWithoutVersioning`, `BucketWithoutLock`, or what `Bucket.check` raises,
    before anything is stored. Takes some 20 requests. Leaves one small object
    locked for 20 minutes, and removes those of earlier starts.
    """
    bucket.check()
    _remove_old(bucket, at - 2 * LOCKED)
    name = PREFIX + secrets.token_hex(16)
    bucket.put_new(name, _FIRST)
    _check_conditions(bucket, name)
    _check_lock(bucket, name, bounded(at + LOCKED))


def _check_conditions(bucket: Bucket, name: str) -> None:
    first = bucket.get(name)
    # The newest is looked at also where the oldest is what is read: nothing is left on top.
    if bucket.put_new(name, _OTHER) or bucket.get(name).data != _FIRST:
        _failed(bucket, "overwrite an object in spite of If-None-Match: *")
    other = Blob(_OTHER, etag="0" * 32, version="0" * 32)
    if bucket.replace(name, _OTHER, other) or bucket.get(name).data != _FIRST:
        _failed(bucket, "replace an object in spite of If-Match with another ETag")
    if first.version is None:
        _failed(bucket, "store an object without a version")


def _check_lock(bucket: Bucket, name: str, until: datetime) -> None:
    version = bucket.get(name).version
    bucket.set_lock(name, version, until)
    if bucket.stat(name, version).locked_until != until:
        _failed(bucket, "ignore a retention in compliance mode")
    sooner = until - LOCKED / 2
    attempts: dict[str, Callable[[], None]] = {
        "shorten a retention": lambda: bucket.set_lock(name, version, sooner),
        "change a retention to governance mode": lambda: bucket.set_lock(
            name, version, until, GOVERNANCE
        ),
        "shorten a retention with the governance bypass": lambda: bucket.set_lock(
            name, version, sooner, COMPLIANCE, bypass=True
        ),
        "delete a locked version": lambda: bucket.remove_version(name, version),
        "delete a locked version with the governance bypass": lambda: bucket.remove_version(
            name, version, bypass=True
        ),
    }
    for what, attempt in attempts.items():
        # Some servers refuse, some say yes and do nothing: what counts is what is there.
        with suppress(ObjectRetained):
            attempt()
        _check_kept(bucket, name, version, until, what)
    # Without a condition anybody with the key can put a newer version on top, and
    # take it away again; the locked one stays below.
    bucket.overwrite(name, _OTHER)
    _check_kept(bucket, name, version, until, "overwrite a locked version")
    with suppress(ObjectRetained):
        bucket.remove(name)
    _check_kept(bucket, name, version, until, "delete a locked version")


def _check_kept(bucket: Bucket, name: str, version: str | None, until: datetime, what: str) -> None:
    try:
        kept = bucket.get(name, version).data == _FIRST
        kept = kept and bucket.stat(name, version).locked_until == until
    except ObjectMissing:
        kept = False
    if not kept:
        _failed(bucket, what)


def _remove_old(bucket: Bucket, before: datetime) -> None:
    """Younger ones may be those of a process that starts now, and not locked yet."""
    for name in {entry.name for entry in bucket.versions(PREFIX) if entry.stored_at < before}:
        # Still locked, or another process is at it: the next start comes to it.
        with suppress(CodedError):
            bucket.remove(name)


def _failed(bucket: Bucket, what: str) -> None:
    raise S3SelfTestFailed(bucket=bucket.name, what=what)
