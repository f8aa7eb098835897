"""What a verification's caller is told, from its record: every check, with reason and remedy.

Plain JSON values, made fast: this is the answer of the hot path, and the same
for a fresh verification as for one that is read again.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from kernel.clock import time_text
from materials_api.catalogue.terms import ROUTE_EN, ROUTE_ZH, Route
from materials_api.rules.decisions import CHECK_EN, CHECK_ZH, CheckName, CheckResult
from materials_api.rules.reasons import REASONS, ReasonCode

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def call_answer(
    call_id: str, case_id: str, at: datetime, items: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """All items of a call, those that failed first; `outcome` is allowed only if all are."""
    listed = sorted(items, key=lambda item: item["outcome"] == "allowed")
    allowed = bool(listed) and listed[0]["outcome"] == "allowed"
    return {
        "call": call_id,
        "case": case_id,
        "at": time_text(at),
        "outcome": "allowed" if allowed else "denied",
        "items": listed,
    }


def item_answer(
    verification_id: str, entry_id: str, slip: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """One verification, from its record's body. Checks that failed stand first."""
    checks = [
        _check(one["check"], one["result"], tuple(one.get("reasons", ()))) for one in body["checks"]
    ]
    checks.sort(key=lambda check: check["result"] != CheckResult.FAILED)
    reasons = [_reason(code) for code in body["reasons"]]
    return {
        "verification": verification_id,
        "requirement": body["requirement"],
        "item": body["item"],
        "item_kind": body["item_kind"],
        "item_type": body["item_type"],
        "route": body["route"],
        "outcome": body["outcome"],
        "reason": reasons[0]["code"] if reasons else None,
        "reasons": reasons,
        "alternatives": [_route(route) for route in body["alternatives"]],
        "checks": checks,
        "basis": body["basis"]["kind"],
        "grants": list(body["grants"]),
        "slip": f"/v1/cases/{body['case']}/documents/{slip}",
        "receipt": {"entry": entry_id, "status": "pending", "href": f"/v1/receipts/{entry_id}"},
    }


def encode(answer: Mapping[str, Any]) -> bytes:
    return _encode(answer).encode()


@lru_cache(4096)
def _check(name: str, result: str, codes: tuple[str, ...]) -> dict[str, Any]:
    # Shared between answers and never changed.
    check = CheckName(name)
    return {
        "check": name,
        "zh": CHECK_ZH[check],
        "en": CHECK_EN[check],
        "result": result,
        "passed": result != CheckResult.FAILED.value,
        "code": codes[0] if codes else None,
        "reasons": [_reason(code) for code in codes],
    }


@cache
def _reason(code: str) -> dict[str, Any]:
    reason = REASONS[ReasonCode(code)]
    return {
        "code": code,
        "zh": reason.zh,
        "en": reason.en,
        "remedy": {
            "code": reason.remedy.value,
            "zh": reason.remedy_zh,
            "en": reason.remedy_en,
        },
    }


@cache
def _route(route: str) -> dict[str, str]:
    known = Route(route)
    return {"route": route, "zh": ROUTE_ZH[known], "en": ROUTE_EN[known]}
