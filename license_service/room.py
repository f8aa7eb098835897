"""What the routes of the licence room work with, wired once by `runtime`."""

from dataclasses import dataclass

from kernel.clock import Clock
from ledger.service import Ledger
from license_service.licenses import Licenses
from license_service.sources import LicenseSource
from parties import Parties
from storage.database import Database
from storage.keyvault import KeyVault


@dataclass(frozen=True, slots=True)
class LicenseRoom:
    """The room's parts. Safe to share between threads, as each part is."""

    clock: Clock
    database: Database
    vault: KeyVault
    ledger: Ledger
    parties: Parties
    licenses: Licenses
    source: LicenseSource
