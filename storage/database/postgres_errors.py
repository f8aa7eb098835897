"""PostgreSQL's errors as coded errors, by SQLSTATE (appendix A of its manual).

A connection that could not be made has no SQLSTATE in the driver, only a text.
"""

from typing import Any

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kernel.errors import CodedError
from storage.errors import (
    DatabaseAbsent,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseRefused,
    DatabaseUnavailable,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    StorageFailed,
    StorageFull,
    TextNotStorable,
)

_DISK_FULL = "53100"
_BUSY = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock time-out
        "57014",  # statement time-out
        "53000",
        "53200",  # out of memory
        "53400",
    }
)
_UNAVAILABLE = frozenset(
    {
        "53300",  # too many connections
        "57P01",  # shut down by the administrator
        "57P02",  # another session crashed
        "57P03",  # starting up or shutting down
        "57P04",  # the database was dropped
        "57P05",
        "25P03",  # idle in a transaction for too long
        "25P04",
    }
)
_FAILED = frozenset({"25006", "58000", "58030", "58P01", "58P02", "42501"})
_DAMAGED = frozenset({"XX001", "XX002"})
_TEXT = frozenset({"22001", "22021", "22P05"})


def quieten(error: psycopg.Error) -> None:
    """Take everything after the first line out of the text of a driver's error."""
    error.args = (str(error).partition("\n")[0],)


def coded(error: BaseException) -> BaseException:
    """Errors of the server or the connection as coded errors; all others as they are."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy()
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return error
    return _of_state(cause) or error


def _of_state(error: psycopg.Error) -> CodedError | None:
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.DataError):
            return TextNotStorable()  # the driver itself refuses NUL
        # Refused, closed, reset, timed out: the driver's own words for no connection.
        return DatabaseUnavailable() if isinstance(error, psycopg.OperationalError) else None
    if state == _DISK_FULL:
        return StorageFull()
    if state in _BUSY:
        return DatabaseBusy()
    if state in _UNAVAILABLE or state.startswith("08"):
        return DatabaseUnavailable()
    if state in _DAMAGED:
        return DatabaseDamaged()
    if state in _FAILED:
        return StorageFailed(problem=type(error).__name__)
    if state in _TEXT:
        return TextNotStorable()
    return None


def opening_error(error: BaseException, url: URL, name: str) -> BaseException:
    """Why a database could not be opened, in words that say what to do."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None:
        return DatabaseUrlInvalid(problem="an unknown parameter, or one that is not allowed")
    text = str(cause)
    refused = ("authentication failed", "no password supplied", "no pg_hba.conf entry")
    if cause.sqlstate in ("28P01", "28000") or any(words in text for words in refused):
        return DatabaseRefused(database=name, user=url.username or "-")
    role = "role" in text and "does not exist" in text
    if role:
        return DatabaseRefused(database=name, user=url.username or "-")
    if cause.sqlstate == "3D000" or ("database" in text and "does not exist" in text):
        return DatabaseAbsent(name=url.database or "-")
    if cause.sqlstate is None:
        return DatabaseUnreachable(database=name, problem=_problem(text))
    return coded(cause)


def _problem(text: str) -> str:
    """The driver's reason without its preamble, on one line."""
    for words in (
        "Connection refused",
        "timeout expired",
        "No such file or directory",
        "starting up",
        "shutting down",
        "too many clients",
        "SSL",
    ):
        if words in text:
            return words
    return "failed to resolve host" if "resolve host" in text else "no connection"
