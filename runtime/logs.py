"""Structured logs: one JSON object a line on standard error, without personal data.

Our own messages are constant words with fields; whoever writes one answers for the
fields. What other libraries say may hold anything that they were given (a path, a
statement, the text of an error), so of that only place and kind are written.
"""

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

from structlog.processors import JSONRenderer, TimeStamper
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name

from runtime.unexpected import describe

OWN = "mianjiao"
ROOMS = (
    "kernel",
    "storage",
    "ledger",
    "parties",
    "license_service",
    "materials_api",
    "archive",
    "portal",
    "runtime",
    "migrations",
)
# Their messages speak of sockets, processes and revisions, not of what was sent.
_TRUSTED = frozenset({OWN, *ROOMS, "uvicorn", "alembic"})

_Event = MutableMapping[str, Any]
log = logging.getLogger("mianjiao.process")


def configure(level: str) -> None:
    """Send every log record of this process to standard error as JSON.

    `level` is for our own loggers; others speak from WARNING on. Errors that end a
    thread are logged by kind and place too: Python would print their text.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in (OWN, *ROOMS):
        logging.getLogger(name).setLevel(level)
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable


def formatter() -> ProcessorFormatter:
    """Renders a record of the standard library as one line of JSON."""
    return ProcessorFormatter(
        foreign_pre_chain=[
            add_log_level,
            add_logger_name,
            ExtraAdder(),
            TimeStamper(fmt="iso", utc=True, key="at"),
        ],
        processors=[_without_texts, JSONRenderer(ensure_ascii=False)],
    )


def _without_texts(_logger: object, _method: str, event: _Event) -> _Event:
    """No text of an error, and no message of a library that nobody vouches for."""
    record: logging.LogRecord = event["_record"]
    told: _Event = {"at": event.pop("at"), "level": event.pop("level")}
    told["logger"] = event.pop("logger")
    if record.name.partition(".")[0] in _TRUSTED:
        told["event"] = event.pop("event")
        told.update({key: value for key, value in event.items() if not key.startswith("_")})
    else:
        told["event"] = "message_withheld"
        told["place"] = f"{record.module}:{record.lineno}"
    told.pop("stack_info", None)
    told.pop("exc_info", None)
    reported = event.get("exc_info")
    if isinstance(reported, tuple) and isinstance(reported[1], BaseException):
        told["error"] = describe(reported[1])
    return told


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        name = told.thread.name if told.thread is not None else "-"
        log.error("thread_ended", extra={"ended": name, "error": describe(told.exc_value)})


def _unraisable(told: "sys.UnraisableHookArgs") -> None:
    if told.exc_value is not None:
        log.error("unraisable", extra={"error": describe(told.exc_value)})
