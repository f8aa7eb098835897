"""`mianjiao monitor`: watches a log of others by its URL; exit codes for cron.

0: verified; 1: the log contradicts itself, is damaged, or names evidence that does not hold;
2: unusable input or state; 3: it could not be read; 4: verified, but stalled or without its
quorum.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path

from kernel.canonical import JsonValue, canonical_bytes
from kernel.clock import SystemClock, time_text
from kernel.errors import CodedError, Corrupt, InvalidInput
from ledger.demands import parse_demands
from ledger.errors import DemandsEmpty, DemandsMalformed, PolicyMalformed
from ledger.monitor.errors import LogUnreachable, MonitorStateInvalid
from ledger.monitor.looking import Look, look
from ledger.monitor.remote import RemoteLog
from ledger.monitor.state import MonitorState
from ledger.policy import parse_policy
from runtime.errors import ConfigUnreadable

FINE, WRONG, UNUSABLE, UNREAD, LATE = 0, 1, 2, 3, 4


def monitor(
    url: str,
    policy: Path,
    state: Path,
    *,
    stall: float,
    every: float | None,
    metrics: Path | None,
    as_json: bool,
    demands: Path | None = None,
) -> int:
    """Look once, or with `every` (seconds) again and again until something is wrong.

    `stall`: seconds without a new entry that are too long. `metrics`: a Prometheus text
    file, replaced after each look. `demands`: pins of chains and authorities for named evidence.
    """
    try:
        trusted = parse_policy(_bytes(policy))
        pinned = None if demands is None else parse_demands(_bytes(demands))
    except (PolicyMalformed, DemandsMalformed, DemandsEmpty) as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        return UNUSABLE
    clock = SystemClock()
    remote = RemoteLog(url)
    try:
        while True:
            at = clock.now()
            found: Look | CodedError
            try:
                found = look(remote, trusted, MonitorState(state), at, pinned)
            except CodedError as error:
                found = error
            late = (
                isinstance(found, Look)
                and found.successor is None
                and at - found.grew_at > timedelta(seconds=stall)
            )
            code = _code(found, late)
            _tell(found, late, as_json)
            if metrics is not None:
                _write_metrics(metrics, found, code, at.timestamp())
            if every is None or code in (WRONG, UNUSABLE):
                return code
            time.sleep(every)
    finally:
        remote.close()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror) from None


def _code(found: Look | CodedError, late: bool) -> int:
    if isinstance(found, Look):
        if found.evidence_missed or (found.pins is not None and found.pins.refused):
            return WRONG
        return LATE if late or not found.quorum_met else FINE
    if isinstance(found, LogUnreachable):
        return UNREAD
    if isinstance(found, MonitorStateInvalid):
        return UNUSABLE
    # What the log served is refused: its signature, its tiles, its history.
    return WRONG if isinstance(found, Corrupt | InvalidInput) else UNREAD


def _tell(found: Look | CodedError, late: bool, as_json: bool) -> None:
    if as_json:
        print(canonical_bytes(_facts(found, late)).decode(), flush=True)
    elif isinstance(found, CodedError):
        print(f"mianjiao: {found}", file=sys.stderr, flush=True)
    else:
        grown = found.size - found.before
        print(f"{found.origin}：{found.size} 条已全部核验，新增 {grown} 条", flush=True)
        print(f"{found.origin}: {found.size} entries verified, {grown} of them new", flush=True)
        if found.successor is not None:
            print(f"该日志已封存，后续日志 it has ended; it goes on as {found.successor.origin}")
            for key in found.successor.keys:
                print(f"log {key.text}", flush=True)
        if late:
            print(f"停滞 stalled since {time_text(found.grew_at)}", flush=True)
        for one in found.evidence_missed:
            print(f"证据缺失 evidence missed: {one}", flush=True)
        _tell_pins(found)
        if not found.quorum_met:
            print("见证人数不足 the quorum of witnesses is unmet", flush=True)


def _tell_pins(found: Look) -> None:
    if found.pins is None:
        if found.evidence:
            count = found.evidence
            print(f"外部证据 {count} 件，未按核验要求核对（可用 --demands）", flush=True)
            print(f"named evidence: {count}, not checked against pins (--demands)", flush=True)
        return
    for one in found.pins.refused:
        print(f"证据不成立 evidence refused: {one}", flush=True)
    held, unchecked = found.pins.held, found.pins.unchecked
    if found.evidence:
        print(f"外部证据经核对成立 {held} 件，来源未知未核对 {len(unchecked)} 件", flush=True)
        print(
            f"named evidence that holds: {held}, of sources that the demands do not know, "
            f"unchecked: {len(unchecked)}",
            flush=True,
        )


def _pins_facts(found: Look) -> JsonValue:
    if found.pins is None:
        return "not checked against pins"
    return {
        "held": found.pins.held,
        "unchecked": list(found.pins.unchecked),
        "refused": list(found.pins.refused),
    }


def _facts(found: Look | CodedError, late: bool) -> dict[str, JsonValue]:
    if isinstance(found, CodedError):
        return {"code": found.code, "en": found.message_en(), "zh": found.message_zh()}
    return {
        "code": None,
        "origin": found.origin,
        "size": found.size,
        "grown": found.size - found.before,
        "grew_at": time_text(found.grew_at),
        "stalled": late,
        "quorum_met": found.quorum_met,
        "evidence": found.evidence,
        "evidence_missed": list(found.evidence_missed),
        "evidence_pins": _pins_facts(found),
        "successor": None if found.successor is None else found.successor.origin,
    }


def _write_metrics(path: Path, found: Look | CodedError, code: int, at: float) -> None:
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, what: str, value: float) -> None:
        Gauge(f"mianjiao_monitor_{name}", what, registry=registry).set(value)

    gauge("exit_code", "0 fine, 1 wrong, 2 unusable, 3 not read, 4 late", code)
    gauge("looked_at_seconds", "when the log was looked at", at)
    if isinstance(found, Look):
        gauge("log_size", "entries verified", found.size)
        gauge("grew_at_seconds", "when it was first seen at this size", found.grew_at.timestamp())
        gauge("evidence_missed", "named evidence that is not served", len(found.evidence_missed))
        if found.pins is not None:
            refused, unchecked = len(found.pins.refused), len(found.pins.unchecked)
            gauge("evidence_refused", "named evidence that fails under the demands", refused)
            gauge("evidence_unchecked", "named evidence of unknown sources", unchecked)
        gauge("ended", "1 when the log's last entry closes it", found.successor is not None)
        gauge("quorum_met", "1 when the policy's quorum cosigned", found.quorum_met)
    write_to_textfile(str(path), registry)
