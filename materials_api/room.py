"""What every use case of this room works with, wired once by `runtime`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kernel.clock import Clock
from ledger.service import Ledger
from license_service.licenses import Licenses
from license_service.sources import LicenseSource
from materials_api.catalogue import Catalogue
from materials_api.limits import Limits
from parties import Parties
from storage.database import Database
from storage.keyvault import KeyVault
from storage.objects import SealedObjects


def _unobserved(outcome: str, reasons: Iterable[str]) -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class MaterialsRoom:
    """The room's parts. Safe to share between threads, as each part is.

    `vault` keys hashes that must not be guessable from a copy of the database:
    remembered request bodies and rows of an import. `decided` is told the outcome
    and the reason codes of each verification that was recorded.
    """

    clock: Clock
    database: Database
    vault: KeyVault
    objects: SealedObjects
    ledger: Ledger
    parties: Parties
    licenses: Licenses
    license_source: LicenseSource
    catalogue: Catalogue
    limits: Limits
    decided: Callable[[str, Iterable[str]], None] = _unobserved
