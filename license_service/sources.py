"""Where licences are asked for: the port, our own store behind it, and kept answers."""

from datetime import datetime
from hashlib import sha256
from typing import Protocol

from sqlalchemy import insert

from kernel.canonical import Record, canonical_bytes
from kernel.identifiers import parse_license_identifier
from kernel.ids import IdKind, new_id
from ledger.journal import Journal
from license_service.answers import (
    Found,
    Known,
    LookupAnswer,
    NameDiffers,
    NoneFound,
    SourcedLicense,
    SourceOutage,
    StatusAnswer,
    answer_record,
)
from license_service.errors import LicenseRecordMismatch
from license_service.licenses import Licenses
from license_service.lifecycle import Status
from license_service.model import LicenseFacts
from license_service.tables import license_snapshots
from parties import HolderRef, Parties
from storage.database import Database, WriteTx

ANSWERED = "license.answered"


class LicenseSource(Protocol):
    """A body of licences, ours or somebody else's.

    Both questions only read. An implementation answers within a time limit of
    its own and turns every failure to reach or understand the source into
    `SourceOutage`; it never guesses and never answers from an old copy. Safe
    from many threads. Not to be called inside a write transaction: a remote
    source may take seconds.
    """

    @property
    def name(self) -> str:
        """A stable word for the source, e.g. `local`."""
        ...

    def lookup(self, holder: HolderRef, kind: str, at: datetime) -> LookupAnswer:
        """Issued licences of that holder and kind, with their status at `at`."""
        ...

    def status(self, identifier: str, at: datetime) -> StatusAnswer:
        """The licence with that identifier, with its status at `at`.

        Raises the refusals of `parse_license_identifier`: nobody is asked
        about an identifier that cannot exist.
        """
        ...


class LocalSource:
    """The licences that were issued here, read from their records."""

    name = "local"

    def __init__(self, database: Database, parties: Parties, licenses: Licenses) -> None:
        self._database = database
        self._parties = parties
        self._licenses = licenses

    def lookup(self, holder: HolderRef, kind: str, at: datetime) -> LookupAnswer:
        with self._database.read() as tx:
            party_id = self._parties.find(tx, holder.type, holder.code)
            if party_id is None:
                return NoneFound(self.name, at)
            known = self._parties.describe(tx, party_id)
            if None not in (holder.name, known.name) and holder.name != known.name:
                return NameDiffers(self.name, at)
            found = [
                self._licenses.facts(tx, view.license_id)
                for view in self._licenses.of_holder(tx, party_id, kind)
                if view.status is not Status.DRAFTED
            ]
        if any(facts.disagreements for facts in found):
            return SourceOutage(self.name, at, LicenseRecordMismatch.code)
        if not found:
            return NoneFound(self.name, at)
        return Found(self.name, at, tuple(_sourced(facts, at) for facts in found))

    def status(self, identifier: str, at: datetime) -> StatusAnswer:
        parse_license_identifier(identifier)
        with self._database.read() as tx:
            view = self._licenses.by_identifier(tx, identifier)
            if view is None or view.status is Status.DRAFTED:
                return NoneFound(self.name, at)
            facts = self._licenses.facts(tx, view.license_id)
        if facts.disagreements:
            return SourceOutage(self.name, at, LicenseRecordMismatch.code)
        return Known(self.name, at, _sourced(facts, at))


class Snapshots:
    """Keeps what a source answered, as evidence of what was told when."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def keep(
        self,
        tx: WriteTx,
        at: datetime,
        question: Record,
        answer: LookupAnswer | StatusAnswer,
        *,
        license_id: str | None = None,
    ) -> str:
        """Record question and answer under an id of their own; returns the entry id.

        `question` refers to holders by party id, never by code.
        """
        told = answer_record(answer)
        entry = self._journal.record(
            tx, at, ANSWERED, new_id(IdKind.REQUEST), {"question": question, **told}
        )
        tx.execute(
            insert(license_snapshots),
            {
                "entry_id": entry.entry_id,
                "license_id": license_id,
                "source": answer.source,
                "asked_at": answer.asked_at,
                "answer_sha256": sha256(canonical_bytes(told)).digest(),
            },
        )
        return entry.entry_id


def _sourced(facts: LicenseFacts, at: datetime) -> SourcedLicense:
    return SourcedLicense(
        license_id=facts.license_id,
        identifier=facts.identifier or "",
        kind=facts.kind,
        number=facts.number,
        issuer=facts.issuer,
        issuer_name=facts.issuer_name,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        status=facts.status_at(at),
    )
