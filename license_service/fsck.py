"""`fsck` of the licence room: licences, their events and kept answers against the records.

Changes nothing and may run beside a server.
"""

from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy import bindparam, select

from kernel.canonical import JsonValue, canonical_bytes
from kernel.clock import parse_time
from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.errors import EntryUnknown
from ledger.fsck_reading import WHOLE, Findings, Share
from ledger.journal import RESERVED
from ledger.problems import Problem, Progress, quiet
from ledger.records import Records, Row
from license_service.facts import read_facts
from license_service.sources import ANSWERED
from license_service.tables import license_events, license_snapshots, licenses
from storage.database import Database, ReadTx
from storage.database.prepared import Prepared

_SENTENCES = {
    "license_row": (
        "证照的数据行与存证记录不一致：{detail}",
        "the row of a licence does not agree with its records: {detail}",
    ),
    "license_event": (
        "证照事件的数据行与存证记录不一致：{detail}",
        "the events of a licence do not agree with its records: {detail}",
    ),
    "license_record": (
        "证照的存证记录无法打开，或不成合法历程：{detail}",
        "the records of a licence cannot be opened, or tell no legal course: {detail}",
    ),
    "license_answer": (
        "证照来源答复的数据行与存证记录不一致：{detail}",
        "the row of a kept answer does not agree with its record: {detail}",
    ),
}
_SEQUENCES = Prepared(
    select(license_events.c.sequence)
    .where(license_events.c.license_id == bindparam("license"))
    .order_by(license_events.c.sequence)
)


def fsck(
    database: Database, records: Records, progress: Progress = quiet, share: Share = WHOLE
) -> list[Problem]:
    """Every problem of this room; an empty list means clean.

    `progress("licenses", done, total)` is called as it goes.
    """
    check = _Check(database, records, share)
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress("licenses", done, done)

    check.found.strays(database, IdKind.LICENSE, licenses.c.license_id)
    check.found.each(database, licenses.c.license_id, check.license, tell)
    if share.first:
        check.lost_events()
        check.lost_answers()
    check.found.each(database, license_snapshots.c.entry_id, check.answer, tell)
    return check.found.problems


class _Check:
    def __init__(self, database: Database, records: Records, share: Share) -> None:
        self.found = Findings(_SENTENCES, share)
        self._database = database
        self._records = records

    def license(self, tx: ReadTx, row: Row) -> None:
        license_id = row["license_id"]
        try:
            facts = read_facts(tx, self._records, license_id)
            history = self._records.history(tx, license_id)
        except EntryUnknown:
            return  # named already, as a row without a record
        except CodedError as error:
            fields = error.details.get("fields")
            code = "license_row" if fields else "license_record"
            self.found.add(code, license_id, str(fields) if fields else error.code)
            return
        wrong = [name for name in facts.disagreements if name != "events"]
        # Every record raises the version by one.
        wrong += ["version"] if row["version"] != len(history) else []
        wrong += ["created_at"] if row["created_at"] != history[0].at else []
        self.found.columns("license_row", license_id, wrong)
        sequences = [one["sequence"] for one in _SEQUENCES.all(tx, {"license": license_id})]
        unsteady = sequences != list(range(1, len(facts.history) + 1))
        wrong = ["sequence"] if unsteady else []
        wrong += ["events"] if "events" in facts.disagreements else []
        self.found.columns("license_event", license_id, wrong)

    def answer(self, tx: ReadTx, row: Row) -> None:
        entry_id = row["entry_id"]
        try:
            record = self._records.open(tx, entry_id)
        except EntryUnknown:
            self.found.add("row_without_record", entry_id)
            return
        except CodedError as error:
            self.found.add("license_record", entry_id, error.code)
            return
        body = record.body
        told = {
            name: value
            for name, value in body.items()
            if name not in RESERVED and name != "question"
        }
        expected = {
            "source": body.get("source"),
            "asked_at": parse_time(str(body["asked_at"])),
            "answer_sha256": sha256(canonical_bytes(told)).digest(),
        }
        wrong = [name for name, value in expected.items() if row[name] != value]
        wrong += [] if record.kind == ANSWERED else ["entry_id"]
        wrong += [] if row["license_id"] in _asked_about(body) else ["license_id"]
        self.found.columns("license_answer", entry_id, wrong)

    def lost_events(self) -> None:
        """Events of a licence that has no row: no licence's check sees them."""
        columns = license_events.c
        query = (
            select(columns.license_id)
            .where(columns.license_id.not_in(select(licenses.c.license_id)))
            .distinct()
        )
        with self.found.guarded("license_events"), self._database.read() as tx:
            for license_id in tx.execute(query).scalars():
                self.found.add("license_event", str(license_id), "license_id")

    def lost_answers(self) -> None:
        """Records of answers whose row is gone."""
        self.found.lost_entries(self._database, ANSWERED, license_snapshots.c.entry_id, "")


def _asked_about(body: Mapping[str, JsonValue]) -> set[JsonValue]:
    """The licence that was asked about; or, where only a holder was, any that was told."""
    question, told = body.get("question"), body.get("licenses")
    asked = question.get("license") if isinstance(question, dict) else None
    if isinstance(asked, str):
        return {asked}
    listed: set[JsonValue] = {None}
    for one in told if isinstance(told, list) else []:
        if isinstance(one, dict) and isinstance(one.get("license"), str):
            listed.add(str(one["license"]))
    return listed
