"""One request to an S3 server: sent again where that can help, named where it cannot.

Every request of this package may be sent twice: reads change nothing, a put
has a condition, removing and extending a retention are idempotent. So whether
a failed request was carried out does not have to be known.
"""

import random
import time
from collections.abc import Callable, Collection
from typing import TypeVar
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from kernel.errors import CodedError
from storage.errors import StorageFailed, StorageFull
from storage.s3.errors import (
    BucketMissing,
    S3AccessDenied,
    S3Busy,
    S3CertificateRefused,
    S3ClockSkewed,
    S3CredentialsRefused,
    S3NotUnderstood,
    S3Slow,
    S3Unreachable,
)
from storage.s3.settings import S3Settings

T = TypeVar("T")

_LONGEST_PAUSE = 2.0  # seconds
_KNOWN_AWAY = 2.0  # seconds after nobody answered one request in which others are sent once
_FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId"})
# The bytes were changed or cut on their way: sent again, they may arrive.
_DAMAGED = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InvalidDigest",
        "InvalidPart",
        "MalformedXML",
        "RequestTimeout",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)


class Told(Exception):
    """The server's answer is one that the caller asked to be told of: its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Unfinished(Exception):
    """An answer with status 200 that still is none: to be asked again."""


class Requests:
    """Runs requests within the bounds of the settings. Safe from many threads."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._unanswered: float | None = None  # when the last request was given up for that

    def run(self, action: str, request: Callable[[], T], known: Collection[str] = ()) -> T:
        """What `request` returns. `action`: what it does, in words, for an error.

        `Told` for an error code of `known`; a `CodedError` for every other failure. While
        the server is known to be away it is asked once: whoever waits is told so at once.
        """
        started = time.monotonic()
        pause = self._settings.pause_seconds
        since = self._unanswered
        known_away = since is not None and started - since < _KNOWN_AWAY
        tries = 1 if known_away else self._settings.tries
        for attempt in range(1, tries + 1):
            try:
                answer = request()
                self._unanswered = None
                return answer
            except (ParseError, ValueError) as error:
                # The package could not read the answer.
                raise S3NotUnderstood(
                    endpoint=self._settings.endpoint, problem=type(error).__name__
                ) from error
            except (S3Error, ServerError, InvalidResponseError, HTTPError, Unfinished) as error:
                code = error.code if isinstance(error, S3Error) else None
                if code is not None and code in known:
                    raise Told(code) from error
                spent = time.monotonic() - started
                last = attempt == tries or spent > self._settings.give_up_seconds
                if last or not _passing(error):
                    if isinstance(error, HTTPError):
                        self._unanswered = time.monotonic()
                    raise self._named(action, error) from error
            # Not all who failed together come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("the last try returns or raises")

    def _named(self, action: str, error: Exception) -> CodedError:
        endpoint, bucket = self._settings.endpoint, self._settings.bucket
        match error:
            case S3Error():
                return self._refused(action, error.code or "", _status(error))
            case SSLError():
                return S3CertificateRefused(endpoint=endpoint, problem=_tls_problem(error))
            case ConnectTimeoutError() | NewConnectionError():
                return S3Unreachable(endpoint=endpoint, problem=type(error).__name__)
            case ReadTimeoutError():
                return S3Slow(endpoint=endpoint)
            case HTTPError():
                return S3Unreachable(endpoint=endpoint, problem=type(error).__name__)
            case Unfinished():
                return S3Busy(endpoint=endpoint, problem="unfinished")
        status = _status(error)
        if status == 403:
            return S3AccessDenied(bucket=bucket, action=action)
        if status >= 500 or status == 429:
            return S3Busy(endpoint=endpoint, problem=str(status))
        return S3NotUnderstood(endpoint=endpoint, problem=f"HTTP {status}")

    def _refused(self, action: str, code: str, status: int) -> CodedError:
        endpoint, bucket = self._settings.endpoint, self._settings.bucket
        if code == "NoSuchBucket":
            return BucketMissing(bucket=bucket)
        if code in _FULL:
            return StorageFull()
        if code in _CREDENTIALS:
            return S3CredentialsRefused(endpoint=endpoint, problem=code)
        if code == "RequestTimeTooSkewed":
            return S3ClockSkewed(endpoint=endpoint)
        if code == "AccessDenied":
            return S3AccessDenied(bucket=bucket, action=action)
        if status >= 500 or status == 429:
            return S3Busy(endpoint=endpoint, problem=_word(code))
        return StorageFailed(problem=f"{action}: {_word(code)}")


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    match error:
        case SSLError():
            return False
        case HTTPError() | Unfinished():
            return True
        case S3Error() if error.code in _DAMAGED:
            return True
        case S3Error() if error.code in _FULL:
            return False
    return _status(error) >= 500 or _status(error) == 429


def _status(error: Exception) -> int:
    match error:
        case S3Error():
            return error.response.status
        case ServerError():
            return error.status_code
        case InvalidResponseError():
            return error._code  # the package gives it no public name
    return 0


def _word(code: str) -> str:
    """An error code of the server, as far as it looks like one."""
    return code[:64] if code.isascii() and code.isalnum() else "unknown"


def _tls_problem(error: SSLError) -> str:
    cause = error.args[0] if error.args else error
    reason = getattr(cause, "reason", None)
    verify = getattr(cause, "verify_message", None)
    return str(verify or reason or type(cause).__name__)
