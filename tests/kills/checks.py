"""Asks a server that came back for everything that its killed forerunners acknowledged."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ledger.policy import Policy, parse_policy
from ledger.receipts import Evidence, verify_receipt
from tests.kills.clients import Caller

# How far a case has come: an answer once given is not taken back.
_STATES = ("draft", "submitted", "accepted", "approved", "closed")


def lost(caller: Caller, items: Iterable[tuple[str, str, Any]], policy: Policy) -> list[str]:
    """What of these items is not there, or not as it was acknowledged, a line each."""
    found = []
    for kind, thing, said in items:
        what = _difference(caller, kind, thing, said, policy)
        if what is not None:
            found.append(f"{kind} {thing}: {what}")
    return found


def _difference(caller: Caller, kind: str, thing: str, said: Any, policy: Policy) -> str | None:
    if kind == "upload":
        return None  # a material names it: see `missing_rows`
    who = "representative" if kind == "grant" else "window"
    status, data = caller.send(who, "GET", _address(kind, thing))
    if status != 200:
        return f"{status} {data[:200]!r}"
    if kind == "receipt":
        return _receipt(data, said, policy)
    body = json.loads(data)
    if kind == "state" and _STATES.index(body["state"]) < _STATES.index(said):
        return f"{body['state']} instead of {said}"
    if kind == "grant" and body["status"] not in said:
        return f"{body['status']} instead of {said}"
    if kind == "verification" and said not in {one["outcome"] for one in body["items"]}:
        return f"not {said}"
    if kind == "material" and said not in data.decode():
        return "another digest"
    return None


def _address(kind: str, thing: str) -> str:
    folder = {"case": "cases", "state": "cases", "receipt": ""}.get(kind, f"{kind}s")
    return f"/v1/{folder}/{thing}" if folder else thing


def _receipt(now: bytes, then: bytes, policy: Policy) -> str | None:
    """The same record at the same place, in a log that only grew."""
    old, new = verify_receipt(then, policy), verify_receipt(now, policy)
    if not isinstance(old, Evidence) or not isinstance(new, Evidence):
        return "a receipt does not verify"
    if (old.index, old.record) != (new.index, new.record) or new.size < old.size:
        return "another record, another index, or a smaller log"
    return None


def policy_of(data: Path) -> Policy:
    from runtime.store import open_store

    with open_store(data) as store:
        return parse_policy(store.ledger.policy_text().encode())


_ROWS = {
    "case": "SELECT case_id FROM cases",
    "material": "SELECT material_id FROM materials",
    "grant": "SELECT grant_id FROM grants",
    "upload": "SELECT upload_id FROM uploads",
    "verification": "SELECT verification_id FROM verifications",
}


def missing_rows(ids: Callable[[str], set[str]], items: list[tuple[str, str, Any]]) -> list[str]:
    """Rows that are not those of the acknowledged things: one lost, or one made twice.

    To be asked when every request was answered, so that nothing is under way.
    """
    found = []
    for kind, query in _ROWS.items():
        there = ids(query)
        known = {thing for what, thing, _ in items if what == kind}
        if known - there:
            found.append(f"{len(known - there)} acknowledged of kind {kind} have no row")
        if there - known:
            found.append(f"{len(there - known)} of kind {kind} that nobody was told of")
    return found
