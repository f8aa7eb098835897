"""What `fsck` would name, a verification does not believe meanwhile.

Every column of every row that it reads is edited: the answer is a denial or a coded
refusal, never "allowed", unless the column decides nothing. And whoever edits rows to
turn a denial into an allowance gets a denial still.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Boolean

from kernel.errors import CodedError
from kernel.principals import Capacity, Role
from license_service.lifecycle import Event
from materials_api.catalogue.terms import PartyRole, Provenance
from materials_api.grants.errors import NotAllowedToRelease
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.releases.tickets import ticket_for_verification
from parties import HolderRef
from storage.database.metadata import metadata

LEASE = "lease_contract"
ALLOWANCE, CIVIL_AFFAIRS = "000511008000", "11310199MB2Y050411"
LONG_AGO = "2020-01-01 00:00:00.000000"

# Columns that decide nothing: the rows are right as far as the answer goes.
NOTHING = {
    "materials": {"version", "retain_until"},
    "objects": {"cipher_sha256", "claimed_by", "created_at", "erased_at", "forgotten_at"}
    | {"retain_until", "locked_until"},
    # The bodies are for lists of grants only.
    "grants": {"version", "code_mac", "code_expires_at", "window_org", "department"},
    "grant_items": {"approved"},  # the record says what was approved
    "cases": {"number", "channel", "version", "opened_at", "accepted_at", "closed_at", "origin"},
    "case_events": {"sequence", "event", "role", "at", "entry_id", "case_id", "state"},
    "capacities": {"basis", "ended_reason", "entry_id"},
    "licenses": {"version", "created_at"},
    "license_events": {"sequence"},  # of a single one
    "ledger_entries": {"position", "erased_at", "at"},
}
# Of some of these several rows are read, and only some of them decide.
SOME = {"case_events", "ledger_entries", "cases", "material_parties", "grant_items"}


class Stage:
    """A lease and a licence that a case may use, and who edits rows behind the store's back."""

    def __init__(self, office: Any) -> None:
        self.office, self.hall, self.desk, self.ids = office, office.hall, office.desk, office.ids
        self.driver = sqlite3.connect(office.store.database.place, isolation_level=None)
        self.driver.row_factory = sqlite3.Row
        self.more: list[str] = []  # further things that an attack edits
        self.boss = self.hall.applicant(
            self.hall.COMPANY, self.hall.SHEN, Capacity.LEGAL_REPRESENTATIVE
        )
        self.begin()

    def begin(self) -> None:
        """A lease made after the company moved, in a case with a grant, as nobody used it."""
        self.lease = self.desk.lease(issued_at=date(2026, 12, 10))
        self.begin_case()
        self.grant = self.desk.granted(self.case, self.lease, self.boss).grant_id
        self.hall.sequence()

    def begin_case(self) -> None:
        self.case = self.desk.case().case_id

    def named(self) -> bool:
        """Whether `fsck` names one of the things that are edited here."""
        ours = (self.lease, self.case, self.grant, *self.more)
        return any(name in one.where for one in self.office.check() for name in ours)

    def outcome(self, item: str | None = None, requirement: str = LEASE) -> str:
        """`allowed`, `denied`, or the code of the refusal. Any other error fails the test."""
        try:
            answer = self.desk.verify(self.case, item or self.lease, requirement=requirement)
        except CodedError as error:
            return error.code
        return str(answer["outcome"])

    def rows(self, table: str, column: str, value: str) -> list[sqlite3.Row]:
        query = f"SELECT rowid AS number, * FROM {table} WHERE {column} = ?"  # noqa: S608
        return self.driver.execute(query, (value,)).fetchall()

    def edit(self, table: str, where: tuple[str, str], **values: Any) -> None:
        """For good, in every row that has this value in this column."""
        names = ", ".join(f"{name} = ?" for name in values)
        query = f"UPDATE {table} SET {names} WHERE {where[0]} = ?"  # noqa: S608
        assert self.driver.execute(query, (*values.values(), where[1])).rowcount

    @contextmanager
    def edited(self, table: str, row: sqlite3.Row, column: str) -> Iterator[bool]:
        """Another value in one column for a while; False when the schema refuses it."""
        query = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608
        value = other_value(metadata.tables[table].c[column], row[column])
        number = row["number"] if column != "position" or table != "ledger_entries" else value
        try:
            self.driver.execute(query, (value, row["number"]))
        except sqlite3.IntegrityError:
            yield False
            return
        try:
            yield True
        finally:
            self.driver.execute(query, (row[column], number))


def other_value(column: Any, value: Any) -> Any:
    if value is None:
        return LONG_AGO if "DATE" in str(column.type) else "x"
    if isinstance(column.type, Boolean):
        return 1 - value
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, int):
        return value + 1
    if "DATE" in str(column.type):
        return (datetime.fromisoformat(value) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value[:-1] + ("0" if value[-1] != "0" else "1")


@pytest.fixture
def stage(office: Any) -> Iterator[Stage]:
    """A stage of one's own, for edits that concern everybody."""
    made = Stage(office)
    yield made
    made.driver.close()


@pytest.fixture(scope="module")
def common(peopled_office: Any) -> Iterator[Stage]:
    made = Stage(peopled_office)
    yield made
    made.driver.close()


@pytest.fixture
def shared(common: Stage) -> Stage:
    """The stage that tests share, with a lease, a case and a grant of one's own."""
    common.more = []
    common.begin()
    assert common.outcome() == "allowed"
    common.begin_case()
    common.grant = common.desk.granted(common.case, common.lease, common.boss).grant_id
    common.hall.sequence()
    return common


def believed(stage: Stage, table: str, key: tuple[str, str], verify: Callable[[], str]) -> set[str]:
    """The columns whose edit, in all the rows of this key, left the answer `allowed`."""
    rows = stage.rows(table, *key)
    assert rows
    found: set[str] = set()
    for column in metadata.tables[table].c:
        outcomes = set()
        for row in rows:
            with stage.edited(table, row, column.name) as done:
                outcomes.add(verify() if done else "refused")
        if outcomes <= {"allowed"} or (table not in SOME and "allowed" in outcomes):
            found.add(column.name)
    return found


def test_no_row_of_a_material_is_believed(stage: Stage) -> None:
    assert stage.outcome() == "allowed"
    source = stage.rows("materials", "material_id", stage.lease)[0]["case_id"]
    keys = {
        "materials": ("material_id", stage.lease),
        "material_files": ("material_id", stage.lease),
        "material_parties": ("material_id", stage.lease),
        "objects": ("claimed_by", stage.lease),
        "grants": ("grant_id", stage.grant),
        "grant_items": ("grant_id", stage.grant),
        "case_events": ("case_id", source),
        "capacities": ("person", stage.boss.person),
        "ledger_entries": ("entity", stage.lease),
    }
    for table, key in keys.items():
        assert believed(stage, table, key, stage.outcome) <= NOTHING.get(table, set()), table
    assert believed(stage, "cases", ("case_id", stage.case), stage.outcome) <= NOTHING["cases"]
    # Of the source case the records tell who applied and how it was decided.
    only_there = {"state", "catalogue_sha256"}
    source_row = believed(stage, "cases", ("case_id", source), stage.outcome)
    assert source_row <= NOTHING["cases"] | only_there
    # Its decision is one of its events: of that one every word counts.
    decided = stage.rows("case_events", "case_id", source)[-1]
    for name in ("state", "entry_id"):
        with stage.edited("case_events", decided, name):
            assert stage.outcome() != "allowed", name
    assert stage.outcome() == "allowed"


def test_no_row_of_a_licence_is_believed(stage: Stage) -> None:
    license_id = stage.ids["license"]
    stage.desk.granted(stage.case, license_id, stage.boss)

    def verify() -> str:
        return stage.outcome(license_id, "business_license")

    assert verify() == "allowed"
    for table, key in {
        "licenses": ("license_id", license_id),
        "license_events": ("license_id", license_id),
        "ledger_entries": ("entity", license_id),
    }.items():
        assert believed(stage, table, key, verify) <= NOTHING[table], table
    assert verify() == "allowed"


def _revoked(stage: Stage) -> None:
    stage.desk.revoke(stage.desk.grant(stage.grant), stage.boss)
    stage.edit("grants", ("grant_id", stage.grant), status="granted", version=2)


def _requested(stage: Stage) -> None:
    """Never approved by anybody: the row says that it was."""
    stage.begin_case()
    (asked,) = (one for one in stage.desk.ask(stage.case, items=(stage.lease,))
                if one.holder == stage.boss.holder)  # fmt: skip
    stage.edit("grants", ("grant_id", asked.grant_id), status="granted",
               person=stage.boss.person, decided_at=asked.requested_at.isoformat(" "))  # fmt: skip
    stage.edit("grant_items", ("grant_id", asked.grant_id), approved=1)
    stage.more.append(asked.grant_id)


def _other_case(stage: Stage) -> None:
    """A once-grant of another case, whose row now names this one."""
    assert stage.outcome() == "allowed"
    stage.begin_case()
    stage.edit("grants", ("grant_id", stage.grant), case_id=stage.case, status="granted")


def _expired(stage: Stage) -> None:
    stage.hall.advance(days=200)
    stage.boss = stage.hall.applicant(
        stage.hall.COMPANY, stage.hall.SHEN, Capacity.LEGAL_REPRESENTATIVE
    )
    stage.edit("grants", ("grant_id", stage.grant), expires_at="2030-01-01 00:00:00.000000")


def _invalidated(stage: Stage) -> None:
    hall = stage.hall
    hall.write(
        lambda tx: invalidate(
            hall.room, tx, hall.now, hall.department, stage.lease, InvalidReason.FORGED
        )
    )
    stage.edit("materials", ("material_id", stage.lease), status="reusable", version=2)


def _undecided(stage: Stage) -> None:
    """A material of a case that nobody decided."""
    case_id = stage.hall.open_case().case_id
    stage.lease = _brought(stage, case_id)
    stage.edit("materials", ("material_id", stage.lease), status="reusable")
    stage.edit("cases", ("case_id", case_id), state="approved")


def _refused(stage: Stage) -> None:
    """A material of a case that was refused."""
    case_id = stage.hall.open_case().case_id
    stage.lease = _brought(stage, case_id)
    for event in ("submit", "accept", "refuse"):
        stage.hall.event(case_id, event)
    stage.edit("materials", ("material_id", stage.lease), status="reusable")
    stage.edit("cases", ("case_id", case_id), state="approved")
    stage.edit("case_events", ("case_id", case_id), state="approved")


def _unchecked(stage: Stage) -> None:
    """A copy that nobody compared with its original."""
    stage.lease = stage.desk.lease(
        issued_at=date(2026, 12, 10), provenance=Provenance.UNCHECKED_COPY
    )
    stage.edit("materials", ("material_id", stage.lease), provenance="authority_issued")


def _stale(stage: Stage) -> None:
    """A lease from before the company moved."""
    stage.lease = stage.desk.lease(issued_at=date(2026, 1, 5))
    stage.edit("materials", ("material_id", stage.lease), issued_at="2026-12-10 00:00:00.000000")


def _event_moved(stage: Stage) -> None:
    """A lease from before the move, and the move itself put back in time."""
    _stale_with_grant(stage)
    stage.edit("party_events", ("event", "address_changed"), at=LONG_AGO)


def _event_lost(stage: Stage) -> None:
    """A lease from before the move, and the row of the move is gone."""
    _stale_with_grant(stage)
    stage.driver.execute("DELETE FROM party_events WHERE event = 'address_changed'")


def _event_of_another(stage: Stage) -> None:
    """A lease from before the move, and the move is another party's."""
    _stale_with_grant(stage)
    stage.edit("party_events", ("event", "address_changed"), party_id=stage.boss.person)


def _event_unrecorded(stage: Stage) -> None:
    """A lease from before the move, and the entry of the move is gone."""
    _stale_with_grant(stage)
    stage.driver.execute("DELETE FROM ledger_entries WHERE kind = 'party.event'")


def _stale_with_grant(stage: Stage) -> None:
    stage.lease = stage.desk.lease(issued_at=date(2026, 1, 5))
    stage.begin_case()
    stage.desk.granted(stage.case, stage.lease, stage.boss)


def _somebody_elses(stage: Stage) -> None:
    """The elder's lease, whose rows now name the company."""
    hall, elder = stage.hall, HolderRef(stage.hall.ELDER.type, stage.hall.ELDER.code)
    civil = hall.login(Role.DEPARTMENT, org=CIVIL_AFFAIRS, officer="何嘉宁")
    case_id = hall.open_case(ALLOWANCE, elder, None).case_id
    stage.lease = hall.register(
        case_id,
        hall.pdf("elder"),
        type=LEASE,
        parties=((elder, PartyRole.TENANT),),
        issued_at=date(2026, 12, 10),
    ).material_id
    for event in ("submit", "accept", "approve"):
        hall.event(case_id, event, None if event == "submit" else civil)
    stage.edit("material_parties", ("material_id", stage.lease), party_id=stage.boss.holder)
    stage.edit("cases", ("case_id", case_id), applicant=stage.boss.holder)


def _swapped(stage: Stage) -> None:
    """Another file in place of the one that was registered."""
    other_lease = stage.desk.lease(data=stage.hall.pdf("another"))
    other = stage.rows("material_files", "material_id", other_lease)[0]["object_key"]
    stage.edit("material_files", ("material_id", stage.lease), object_key=other)
    stage.edit("objects", ("object_key", other), claimed_by=stage.lease)


def _ended_capacity(stage: Stage) -> None:
    """Who acts in the case acts for the company no longer; the row says otherwise."""
    hall = stage.hall
    for row in stage.rows("capacities", "holder", stage.boss.holder):
        hall.write(
            lambda tx, one=row["capacity_id"]: hall.store.parties.end_capacity(
                tx, hall.now, one, "withdrawn"
            )
        )
    stage.edit("capacities", ("holder", stage.boss.holder), ended_at=None, ended_reason=None)


def _brought(stage: Stage, case_id: str) -> str:
    made = stage.hall.register(
        case_id,
        stage.hall.pdf("x"),
        requirement=LEASE,
        reason="other",
        issued_at=date(2026, 12, 10),
    )
    return str(made.material_id)


OWN_ROWS = (_revoked, _requested, _other_case, _invalidated, _swapped)
NEW_ITEMS = (_undecided, _refused, _unchecked, _stale, _somebody_elses)
COMMON_ROWS = (
    _expired,
    _ended_capacity,
    _event_moved,
    _event_lost,
    _event_of_another,
    _event_unrecorded,
)


@pytest.mark.parametrize("attack", OWN_ROWS, ids=lambda one: one.__name__.strip("_"))
def test_an_edited_row_makes_nothing_allowed(
    shared: Stage, attack: Callable[[Stage], None]
) -> None:
    attack(shared)
    shared.hall.sequence()
    assert shared.outcome() != "allowed"
    assert shared.named()


@pytest.mark.parametrize("attack", NEW_ITEMS, ids=lambda one: one.__name__.strip("_"))
def test_an_edited_row_makes_no_other_item_allowed(
    shared: Stage, attack: Callable[[Stage], None]
) -> None:
    attack(shared)
    shared.begin_case()
    shared.grant = shared.desk.make(shared.boss, (shared.lease,), case=shared.case).grant_id
    shared.hall.sequence()
    assert shared.outcome() != "allowed"
    assert shared.named()


@pytest.mark.parametrize("attack", COMMON_ROWS, ids=lambda one: one.__name__.strip("_"))
def test_an_edited_row_that_concerns_all_makes_nothing_allowed(
    stage: Stage, attack: Callable[[Stage], None]
) -> None:
    assert stage.outcome() == "allowed"
    stage.begin()
    attack(stage)
    stage.hall.sequence()
    assert stage.outcome() != "allowed"
    assert stage.office.check() != []


def test_a_suspended_licence_is_not_valid_because_its_rows_say_so(shared: Stage) -> None:
    license_id = shared.ids["license"]
    shared.desk.granted(shared.case, license_id, shared.boss)
    hall, licenses = shared.hall, shared.office.store.licenses
    hall.write(lambda tx: licenses.apply(tx, hall.now, hall.department, license_id, Event.SUSPEND))
    hall.sequence()
    shared.edit("licenses", ("license_id", license_id), status="valid")
    shared.driver.execute("DELETE FROM license_events WHERE event = 'suspend' AND license_id = ?",
                         (license_id,))  # fmt: skip
    assert shared.outcome(license_id, "business_license") != "allowed"


def test_a_denied_verification_gives_no_ticket_because_its_row_says_allowed(shared: Stage) -> None:
    shared.lease = shared.desk.lease(issued_at=date(2026, 1, 5))
    shared.case = shared.desk.case().case_id
    shared.desk.granted(shared.case, shared.lease, shared.boss)
    answer = shared.desk.verify(shared.case, shared.lease)
    assert answer["outcome"] == "denied"
    verification = answer["items"][0]["verification"]
    shared.edit("verifications", ("verification_id", verification), outcome="allowed", reason=None)
    hall = shared.hall

    def take(tx: Any) -> Any:
        return ticket_for_verification(hall.room, tx, hall.now, hall.window, verification, 1)

    with pytest.raises((CodedError, NotAllowedToRelease)):
        hall.write(take)
