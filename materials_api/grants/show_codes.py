"""Show codes (亮证码): a holder shows a short code, a window turns it into a grant.

Eight characters, one minute, once. Only a keyed digest is kept. Wrong tries are
counted per principal, so guessing among 2^40 gets nowhere.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from kernel.principals import Principal
from materials_api.cases.access import CaseView, case_for
from materials_api.cases.requirements import still_open
from materials_api.grants.authority import decider
from materials_api.grants.errors import (
    GrantBound,
    GrantExpired,
    GrantUnknown,
    ShowCodeInvalid,
    ShowCodeTries,
)
from materials_api.grants.lifecycle import GrantStanding, GrantState, GrantUse, standing
from materials_api.grants.records import Grant, actor_of, open_grant, save_grant
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.rules.rule_errors import GrantTransitionIllegal
from materials_api.tables import code_tries, grants
from storage import audit
from storage.database import WriteTx

# Crockford base32: no letter that is read as a digit, none that spells a word.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", " ": None, "-": None})


@dataclass(frozen=True, slots=True)
class ShownCode:
    """`code` is known to its holder alone, and kept nowhere."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WrongCode:
    """A try that failed and was counted. `wait_seconds` is set when tries are used up.

    A value, not an error: the count has to be committed.
    """

    wait_seconds: int | None = None

    def error(self) -> ShowCodeInvalid | ShowCodeTries:
        if self.wait_seconds is None:
            return ShowCodeInvalid()
        return ShowCodeTries(seconds=self.wait_seconds)


def show_code(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, grant_id: str
) -> ShownCode:
    """Make a code for an unbound grant in force. An older code of it serves no longer."""
    grant = open_grant(room, tx, grant_id, lock=True)
    if principal.holder is None or grant.holder != principal.holder:
        raise GrantUnknown()
    decider(room, tx, at, principal)
    now = standing(at, grant.state, grant.expires_at)
    if now is GrantStanding.EXPIRED:
        raise GrantExpired()
    if grant.case_id is not None:
        raise GrantBound()
    if now is not GrantStanding.GRANTED:
        raise GrantTransitionIllegal(state=grant.state.value, event="show_code")
    length = room.limits.grants.code_chars
    code = "".join(secrets.choice(_ALPHABET) for _ in range(length))
    expires_at = at + timedelta(seconds=room.limits.grants.code_life)
    tx.execute(
        update(grants)
        .where(grants.c.grant_id == grant_id)
        .values(code_mac=_mac(room, code), code_expires_at=expires_at)
    )
    audit.note(tx, at, principal, "grant.code", entity=grant_id)
    return ShownCode(code, expires_at)


def redeem(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, case_id: str, code: str
) -> Grant | WrongCode:
    """Bind the grant behind a code to this case. The code is used up.

    A grant for use `until` stays unbound, as its holder meant it; the window
    learns its id and can name it. Any failure to find a code that fits this
    case is a `WrongCode`, which must be committed.
    """
    case = still_open(case_for(tx, principal, case_id))
    checked_state(room, tx, case_id, case.state.value)
    wait = _wait(room, tx, at, principal)
    if wait is not None:
        audit.note(tx, at, principal, "grant.redeem", case_id=case_id, outcome="blocked")
        return WrongCode(wait)
    row = tx.one(
        select(grants.c.grant_id, grants.c.code_expires_at)
        .where(grants.c.code_mac == _mac(room, code))
        .with_for_update()
    )
    if row is None or at >= row["code_expires_at"]:
        return _failed(room, tx, at, principal, case_id)
    grant = open_grant(room, tx, row["grant_id"], lock=True)
    if not _fits(at, grant, case, principal):
        return _failed(room, tx, at, principal, case_id)
    bound = grant
    if grant.use is GrantUse.ONCE:
        bound = replace(grant, case_id=case_id, audience=principal.org, matter=case.matter)
    saved = save_grant(room, tx, at, "grant.bound", actor_of(principal), bound)
    tx.execute(delete(code_tries).where(code_tries.c.principal == principal.subject))
    audit.note(tx, at, principal, "grant.redeem", entity=grant.grant_id, case_id=case_id)
    return saved


def _fits(at: datetime, grant: Grant, case: CaseView, principal: Principal) -> bool:
    return (
        standing(at, grant.state, grant.expires_at) is GrantStanding.GRANTED
        and grant.state is GrantState.GRANTED
        and grant.case_id is None
        and grant.audience in (None, principal.org)
        and grant.matter in (None, case.matter)
    )


def _mac(room: MaterialsRoom, code: str) -> bytes:
    plain = code.upper().translate(_READ_AS)
    return room.vault.mac("show-code", plain[:64].encode())


def _wait(room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal) -> int | None:
    """Seconds to wait when this principal has used up its tries."""
    row = tx.one(select(code_tries).where(code_tries.c.principal == principal.subject))
    limits = room.limits.grants
    if row is None or row["failures"] < limits.code_failures:
        return None
    left = limits.code_window - int((at - row["since"]).total_seconds())
    return left if left > 0 else None


def _failed(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, case_id: str
) -> WrongCode:
    window = timedelta(seconds=room.limits.grants.code_window)
    mine = code_tries.c.principal == principal.subject
    row = tx.one(select(code_tries).where(mine).with_for_update())
    if row is None:
        values = {"principal": principal.subject, "failures": 1, "since": at}
        tx.execute(insert(code_tries), values)
    elif at >= row["since"] + window:
        tx.execute(update(code_tries).where(mine).values(failures=1, since=at))
    else:
        tx.execute(update(code_tries).where(mine).values(failures=row["failures"] + 1))
    audit.note(tx, at, principal, "grant.redeem", case_id=case_id, outcome="wrong_code")
    return WrongCode()
