"""The whole schema: importing this module puts every room's tables into `metadata`."""

import archive.tables
import ledger.tables
import license_service.tables
import materials_api.tables
import parties.tables
import storage.tables
from storage.database.metadata import metadata

ROOMS_WITH_TABLES = (
    storage.tables,
    ledger.tables,
    parties.tables,
    license_service.tables,
    materials_api.tables,
    archive.tables,
)

__all__ = ["ROOMS_WITH_TABLES", "metadata"]
