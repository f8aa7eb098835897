"""What was gathered of a case for its package: opened records, and how to read the bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from archive.completeness import CaseFacts
from ledger.records import OpenedRecord
from materials_api.cases.access import CaseEventView, CaseView
from materials_api.cases.lifecycle import CaseOutcome
from materials_api.cases.requirements import Met
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.documents.stored import DocumentRow
from materials_api.materials.access import MaterialFacts
from storage.objects import ObjectRef

Records = tuple[OpenedRecord, ...]


@dataclass(frozen=True, slots=True)
class GatheredMaterial:
    """A material with all its records, oldest first, and how to read its files."""

    facts: MaterialFacts
    own: bool
    records: Records
    objects: tuple[ObjectRef, ...]


@dataclass(frozen=True, slots=True)
class GatheredLicense:
    """`result`: the case issued it; otherwise the case used it."""

    license_id: str
    result: bool
    records: Records


@dataclass(frozen=True, slots=True)
class GatheredVerification:
    verification_id: str
    item: str
    item_kind: str
    outcome: str
    record: OpenedRecord


@dataclass(frozen=True, slots=True)
class GatheredRequirement:
    key: str
    name: str
    mandatory: bool
    met: Met | None


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that a package tells of a case, and what `check_complete` looks at."""

    case: CaseView
    catalogue: Catalogue
    matter: Matter
    outcome: CaseOutcome | None
    steps: tuple[tuple[CaseEventView, OpenedRecord], ...]
    requirements: tuple[GatheredRequirement, ...]
    materials: tuple[GatheredMaterial, ...]
    licenses: tuple[GatheredLicense, ...]
    verifications: tuple[GatheredVerification, ...]
    answers: Records
    documents: tuple[tuple[DocumentRow, Records], ...]
    grants: tuple[tuple[str, Records], ...]
    parties: tuple[tuple[str, Records], ...]
    completeness: CaseFacts

    def records(self) -> dict[str, OpenedRecord]:
        """Every record by entry id, each once."""
        found: dict[str, OpenedRecord] = {}
        groups: list[Sequence[OpenedRecord]] = [
            [record for _, record in self.steps],
            *(item.records for item in self.materials),
            *(item.records for item in self.licenses),
            [item.record for item in self.verifications],
            self.answers,
            *(records for _, records in self.documents),
            *(records for _, records in self.grants),
            *(records for _, records in self.parties),
        ]
        for group in groups:
            found |= {record.entry_id: record for record in group}
        return found
