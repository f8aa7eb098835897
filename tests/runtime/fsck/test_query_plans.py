"""No question that a person or a periodic job asks costs more as the city grows, and none that
a check asks again and again: each is asked of a small city and of a larger one, on each engine."""

import itertools
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import URL, select

from archive.records import forget_stale
from kernel.clock import FixedClock
from kernel.principals import Capacity, Role
from ledger.anchoring import rows as anchoring
from ledger.anchoring.publishing import EvidencePublisher
from ledger.tables import anchors, ledger_entries
from materials_api.grants.granting import lapse_overdue
from materials_api.materials.erasure import continue_erasures
from runtime.app import build_app
from runtime.commands.fsck import run_checks
from runtime.settings import Settings
from runtime.store import DATABASE, Store, create_store, open_store
from storage.database.metadata import metadata
from tests.engines import Engine as Where
from tests.runtime.fsck.asked import Asked, OnPostgresql, OnSqlite, listening
from tests.runtime.fsck.conftest import (
    COMPANY,
    HALL,
    MARKET,
    NOON,
    SHEN,
    Hall,
    anchor,
    make,
    open_hall,
)
from tests.runtime.test_access_matrix import ACCESS, MONITORING, PUBLIC

pytestmark = [pytest.mark.both_engines, pytest.mark.timeout(300)]

# What reads all there is, by intent: how such a statement begins or ends, and why.
ALLOWED = {
    "SELECT count(*) AS count_1 FROM cases": "front page; kept for fifty times as long as it took",
    "SELECT count(*) AS count_1 FROM licenses": "likewise",
    "SELECT count(*) AS count_1 FROM materials": "likewise",
    "GROUP BY verifications.outcome": "likewise",
    "AND cases.case_id = materials.case_id AND cases.origin = ?)))": "of a page of the log: on"
    " PostgreSQL against all, while all is little, and by the index of some 30,000",
}
# What is asked of a page of rows is asked once for each page of the city.
PAGED = re.compile(r"_(?:id|key)\b IN \(\?|\b(?:position|entity|id) IN \(\?")
OFTEN = 9  # a check reads a whole table once for each kind of thing that it looks for
LISTS = {
    "/v1/cases": ("state=accepted", "state=closed", "number=HS-1"),
    "/v1/grants": ("state=granted", "case={case_id}"),
    "/v1/tasks": ("state=open",),
}
_IDS = 2  # of each kind


def test_nothing_costs_more_in_a_larger_city(engine: Where, tmp_path: Path) -> None:
    clock, data = FixedClock(NOON), tmp_path / "store"
    settings = engine.settings(data / DATABASE)
    create_store(data, "test.example", clock, settings)
    with listening() as asked, open_store(data, settings, clock) as store:
        make(store, clock, tmp_path)
        anchor(store, clock)
        _read(store, open_hall(store, clock, tmp_path), asked)
        _periodic(store, clock, asked)
    assert len(asked.examples) > 200
    with listening() as checks, open_store(data, settings, clock) as store:
        assert run_checks(store, lambda *_: None) == []
    again = {
        form: examples
        for form, examples in checks.examples.items()
        if checks.times[form] > OFTEN or PAGED.search(form)
    }
    assert len(again) > 25
    with closing(_measured(engine.place(data / DATABASE))) as measured:
        growing = measured.growing({**again, **asked.examples})
    assert {form: more for form, more in growing.items() if not _allowed(form)} == {}
    known = {*again, *asked.examples}
    assert all(any(_is(form, one) for form in known) for one in ALLOWED)


def test_a_question_that_grows_is_seen(engine: Where, tmp_path: Path) -> None:
    data = tmp_path / "store"
    clock, settings = FixedClock(NOON), engine.settings(tmp_path / "store" / DATABASE)
    create_store(data, "test.example", clock, settings)
    with open_store(data, settings, clock) as store:
        open_hall(store, clock, tmp_path)
    asked = Asked()
    asked.note("SELECT role FROM credentials WHERE unit = 'nowhere'")
    asked.note("SELECT role FROM credentials WHERE org > '1' ORDER BY created_at LIMIT 5")
    bad = set(asked.examples)
    asked.note("SELECT role FROM credentials WHERE credential_id = 'tok_1'")
    asked.note("SELECT role FROM credentials LIMIT 5")
    with closing(_measured(engine.place(data / DATABASE))) as measured:
        assert set(measured.growing(asked.examples)) == bad


def _allowed(form: str) -> bool:
    return any(_is(form, one) for one in ALLOWED)


def _is(form: str, allowed: str) -> bool:
    return form.startswith(allowed) or form.endswith(allowed)


def _measured(place: Path | URL) -> OnSqlite | OnPostgresql:
    return OnSqlite(place) if isinstance(place, Path) else OnPostgresql(place)


def _read(store: Store, hall: Hall, asked: Asked) -> None:
    """Every route that reads, of real things, by everybody who may."""
    with asked.deaf():
        secrets = dict(_logins(store, hall))
        ids = _ids(store)
    address = ("127.0.0.1", 1)  # metrics are for this machine
    with TestClient(build_app(store, Settings()), client=address) as client:
        for (method, template), who in ACCESS.items():
            if method != "GET" or template in ("/openapi.json", "/v1/downloads/{ticket}"):
                continue  # asks nothing; is used up
            for path in _paths(template, ids):
                for role in [None] if who in (PUBLIC, MONITORING) else who.split():
                    named = {} if role is None else {"Authorization": f"Bearer {secrets[role]}"}
                    answer = client.get(path, headers=named)
                    assert answer.status_code < 500 or template == "/health/ready", answer.text
                    cursor = "limit=1" in path and answer.status_code == 200 and answer.json()
                    if cursor and cursor.get("next"):
                        client.get(f"{path}&cursor={cursor['next']}", headers=named)
        window = {"Authorization": f"Bearer {secrets['window']}"}
        for case in ids["case_id"]:
            client.post(f"/v1/cases/{case}/exemptions", headers=window)


def _logins(store: Store, hall: Hall) -> Iterator[tuple[str, str]]:
    """A credential of each role."""
    who = {
        Role.WINDOW: {"org": HALL, "unit": "综窗3号", "officer": "陈晓岚"},
        Role.DEPARTMENT: {"org": MARKET, "officer": "林知远"},
        Role.ARCHIVIST: {"org": "12310199MB2Y04049F", "officer": "方致远"},
        Role.AUDITOR: {},
        Role.OPERATOR: {},
        Role.APPLICANT: {
            "person": hall.party(SHEN),
            "holder": hall.party(COMPANY),
            "capacity": Capacity.LEGAL_REPRESENTATIVE,
        },
    }
    for role, more in who.items():
        at = hall.now
        end = at + timedelta(days=9)
        _, secret = store.database.write(
            lambda tx, role=role, more=more, at=at, end=end: store.credentials.issue(
                tx, at, role=role, expires_at=end, **more
            )
        )
        yield role.value, secret


def _ids(store: Store) -> dict[str, list[str]]:
    """Some ids of each kind that stands in a path."""
    found: dict[str, list[str]] = {}
    with store.database.read() as tx:
        for table in metadata.sorted_tables:
            for column in table.primary_key.columns:
                if column.name.endswith("_id") and column.name not in found:
                    rows = tx.execute(select(column).order_by(column).limit(_IDS))
                    found[column.name] = list(rows.scalars())
        placed = select(ledger_entries.c.entry_id).where(ledger_entries.c.kind.like("%.%"))
        found["entry_id"] = list(tx.execute(placed.limit(_IDS)).scalars())
        found["shard"] = [store.ledger.shard]
    return found


def _paths(template: str, ids: dict[str, list[str]]) -> Iterator[str]:
    names = re.findall(r"\{([^}:]+)(?::path)?\}", template)
    for chosen in itertools.product(*(ids.get(name, [_OTHER.get(name, "x")]) for name in names)):
        path = template.replace(":path}", "}").format(**dict(zip(names, chosen, strict=True)))
        yield path
        if not names and template.startswith("/v1/"):
            yield f"{path}?limit=1"
            for more in LISTS.get(template, ()):
                yield f"{path}?{more.format(case_id=ids['case_id'][0])}"


_OTHER = {"digest": "0" * 64, "path": "0/000", "name": "app.css"}


def _periodic(store: Store, clock: FixedClock, asked: Asked) -> None:
    """What nobody asks for: sweeps, the end of requests, and looks at outside evidence."""
    at = clock.now()
    store.sweep()
    continue_erasures(store.materials, at)
    forget_stale(store.archive, at)
    store.database.write(lambda tx: lapse_overdue(store.materials, tx, at))
    EvidencePublisher(store.ledger, 1).step(at + timedelta(days=1))
    shard = store.ledger.shard
    with store.database.read() as tx:
        with asked.deaf():
            known = tx.execute(select(anchors.c.kind, anchors.c.source)).first()
        assert known is not None
        kind, source = known
        assert anchoring.reached(tx, kind, source, shard).final
        assert anchoring.newest_kept(tx, kind, source, shard)
        assert anchoring.covering(tx, shard, 0)
        assert anchoring.last_signed(tx, source)
        anchoring.open_transactions(tx, source, anchoring.PENDING)
        anchoring.kept_of(tx, kind, source, anchoring.MINED)
        anchoring.ending(tx, kind, source, at)
    store.sweep()
