"""Reads ahead what a verification will ask: three waits for the database, not one each.

What is read here is judged elsewhere, in the same snapshot and in the same order as if
nothing had been read ahead. So nothing is refused here: a row that is missing or cannot be
read is told by whoever asks for it.
"""

from collections.abc import Iterable, Iterator

from kernel.ids import IdKind, is_id
from ledger.records import asked_entry, asked_history, asked_latest
from materials_api.cases.lifecycle import CaseState, outcome_of
from materials_api.registers.party_events import asked_events
from materials_api.verification.rows import (
    Row,
    asked_acting,
    asked_call,
    asked_grants,
    asked_material,
    asked_source,
    capacity_ids,
    case_row,
    grant_rows,
    material_row,
    party_rows,
    state_rows,
)
from parties.service import asked_capacity
from storage.database import ReadTx
from storage.database.prepared import Wanted, read_ahead
from storage.errors import RowUnreadable


def read_call_ahead(tx: ReadTx, case_id: str, items: Iterable[str]) -> None:
    """The rows of a call about these items of a case; licences are read when their turn comes."""
    materials = list(dict.fromkeys(item for item in items if is_id(item, IdKind.MATERIAL)))
    try:
        read_ahead(tx, _of_call(case_id, materials))
        case = case_row(tx, case_id)
        if case is None:
            return
        read_ahead(tx, _of_case(tx, case, materials))
        read_ahead(tx, _of_what_they_name(tx, case, materials))
    except (RowUnreadable, TypeError, ValueError):
        return


def _of_call(case_id: str, materials: list[str]) -> Iterator[Wanted]:
    yield from asked_call(case_id)
    yield asked_latest(case_id)
    for material in materials:
        yield from asked_material(material)
        yield asked_history(material)


def _of_case(tx: ReadTx, case: Row, materials: list[str]) -> Iterator[Wanted]:
    statement, given = asked_latest(case["case_id"])
    if all(newest["entry_id"] != case["entry_id"] for newest in statement.all(tx, given)):
        yield asked_entry(case["entry_id"])
    if case["person"] != case["applicant"]:
        yield from asked_acting(case["applicant"], case["person"])
    parties = [case["applicant"]]
    for material in materials:
        row = material_row(tx, material)
        if row is not None:
            yield from asked_source(row["case_id"])
            yield from asked_grants(
                material, case["case_id"], case["window_org"], case["department"]
            )
            parties += [share["party_id"] for share in party_rows(tx, material)]
    for party in dict.fromkeys(parties):
        yield from asked_events(party)


def _of_what_they_name(tx: ReadTx, case: Row, materials: list[str]) -> Iterator[Wanted]:
    if case["person"] != case["applicant"]:
        for capacity in capacity_ids(tx, case["applicant"], case["person"]):
            yield from asked_capacity(capacity)
    for material in materials:
        row = material_row(tx, material)
        if row is None:
            continue
        source = case_row(tx, row["case_id"])
        if source is not None:
            yield asked_entry(source["entry_id"])
        for event in state_rows(tx, row["case_id"]):
            if outcome_of([CaseState(event["state"])]) is not None:
                yield asked_entry(event["entry_id"])
                break
        for grant in grant_rows(
            tx, material, case["case_id"], case["window_org"], case["department"]
        ):
            yield asked_latest(grant["grant_id"])
            yield from asked_events(grant["holder"])
