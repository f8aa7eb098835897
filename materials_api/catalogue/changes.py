"""What changed between two catalogues: codes only, for the ledger record. Pure."""

from collections.abc import Mapping

from kernel.canonical import JsonValue, Record
from materials_api.catalogue.fields import Strict
from materials_api.catalogue.model import Catalogue


def changes(old: Catalogue | None, new: Catalogue) -> Record:
    """The body of a `catalogue.changed` record.

    `previous` is null for the first catalogue. Matters are named by their basic
    code, types and registers by their key, archive offices by their credit code;
    lists are sorted.
    """
    return {
        "version": new.version,
        "sha256": new.sha256.hex(),
        "previous": None if old is None else old.sha256.hex(),
        "matters": _part(
            {} if old is None else {matter.code: matter for matter in old.matters},
            {matter.code: matter for matter in new.matters},
        ),
        "material_types": _part(
            {} if old is None else {type_.key: type_ for type_ in old.types},
            {type_.key: type_ for type_ in new.types},
        ),
        "registers": _part(
            {} if old is None else {register.key: register for register in old.registers},
            {register.key: register for register in new.registers},
        ),
        "archives": _part(
            {} if old is None else {archive.body: archive for archive in old.archives},
            {archive.body: archive for archive in new.archives},
        ),
    }


def _part(old: Mapping[str, Strict], new: Mapping[str, Strict]) -> JsonValue:
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(code for code in new.keys() & old.keys() if new[code] != old[code]),
    }
