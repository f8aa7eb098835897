from datetime import datetime

import pytest
from sqlalchemy import select

from kernel.canonical import NotCanonical
from kernel.principals import Capacity, Principal, Role
from storage.audit import note
from storage.database import Database, WriteTx
from storage.tables import audit

pytestmark = pytest.mark.both_engines

AGENT = Principal(
    "tok_" + "0" * 26,
    Role.APPLICANT,
    person="pty_" + "1" * 26,
    holder="pty_" + "2" * 26,
    capacity=Capacity.AGENT,
)


def test_a_note_says_who_did_what_to_which_thing(database: Database, at: datetime) -> None:
    database.write(
        lambda tx: note(
            tx,
            at,
            AGENT,
            "grant.revoked",
            entity="grt_x",
            case_id="cas_x",
            outcome="denied",
            detail={"b": 1, "a": "码"},
        )
    )
    with database.read() as tx:
        row = tx.one(select(audit))
    assert row is not None
    assert dict(row) == {
        "id": 1,
        "at": at,
        "principal": AGENT.subject,
        "role": "applicant",
        "org": None,
        "person": AGENT.person,
        "capacity": "agent",
        "action": "grant.revoked",
        "entity": "grt_x",
        "case_id": "cas_x",
        "outcome": "denied",
        "detail": '{"a":"码","b":1}',
    }


def test_a_note_stands_or_falls_with_what_it_tells_of(database: Database, at: datetime) -> None:
    class Refused(Exception):
        pass

    def work(tx: WriteTx) -> None:
        note(tx, at, AGENT, "grant.revoked")
        raise Refused

    with pytest.raises(Refused):
        database.write(work)
    with database.read() as tx:
        assert tx.all(select(audit)) == []


def test_notes_keep_their_order(database: Database, at: datetime) -> None:
    for action in ("one", "two", "three"):
        database.write(lambda tx, action=action: note(tx, at, AGENT, action))
    with database.read() as tx:
        rows = tx.all(select(audit.c.action, audit.c.outcome, audit.c.detail).order_by(audit.c.id))
    assert [tuple(row.values()) for row in rows] == [
        ("one", "done", None),
        ("two", "done", None),
        ("three", "done", None),
    ]


def test_a_detail_that_is_no_record_is_refused(database: Database, at: datetime) -> None:
    with pytest.raises(NotCanonical):
        database.write(lambda tx: note(tx, at, AGENT, "x", detail={"share": 0.5}))  # type: ignore[dict-item]
