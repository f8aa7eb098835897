"""`fsck` of the archive room: every planted fault is named, and a good store is clean."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from archive.fsck import fsck
from archive.package import export_to_folder, export_to_store
from archive.tables import exports
from storage.tables import objects


@pytest.fixture
def kept(office: Any, tmp_path: Path) -> str:
    """One export in a folder, one kept sealed; the id of the latter."""
    room, who, case_id = office.store.archive, office.archivist, office.closed_case()
    export_to_folder(room, who, case_id, tmp_path / "package")
    made = export_to_store(room, who, case_id, office.store.database.write)
    return str(made.export_id)


def codes(office: Any) -> list[str]:
    return [item.code for item in fsck(office.store.archive)]


def test_a_good_store_is_clean_and_progress_is_told(office: Any, kept: str) -> None:
    seen: list[tuple[str, int, int]] = []
    assert fsck(office.store.archive, lambda *told: seen.append(told)) == []
    assert seen[-1] == ("exports", 2, 2)


@pytest.mark.parametrize(
    "values",
    [
        {"tree_size": 1},
        {"root": b"\0" * 32},
        {"tagmanifest_sha256": b"\0" * 32},
        {"payload_files": 0},
        {"payload_bytes": 0},
        {"shard": "2025"},
    ],
)
def test_a_changed_row_is_named(office: Any, kept: str, values: dict[str, Any]) -> None:
    office.store.database.write(
        lambda tx: tx.execute(update(exports).where(exports.c.export_id == kept).values(**values))
    )
    assert codes(office) == ["export_row"]


def test_a_row_that_names_another_record_is_named(office: Any, kept: str) -> None:
    with office.store.database.read() as tx:
        other = tx.scalar(select(exports.c.entry_id).where(exports.c.export_id != kept))
    office.store.database.write(
        lambda tx: tx.execute(
            update(exports).where(exports.c.export_id == kept).values(entry_id=other)
        )
    )
    assert codes(office) == ["export_row"]
    office.store.database.write(
        lambda tx: tx.execute(
            update(exports).where(exports.c.export_id == kept).values(entry_id="ent_" + "0" * 26)
        )
    )
    assert codes(office) == ["export_record"]


def test_a_lost_row_leaves_a_record_and_a_package(office: Any, kept: str) -> None:
    office.store.database.write(
        lambda tx: tx.execute(delete(exports).where(exports.c.export_id == kept))
    )
    assert codes(office) == ["record_without_row", "package_unused"]


def test_a_flipped_byte_of_a_kept_package_is_named(office: Any, kept: str, tmp_path: Path) -> None:
    with office.store.database.read() as tx:
        key = tx.scalar(select(exports.c.object_key).where(exports.c.export_id == kept))
    stored = (tmp_path / "data" / "objects").rglob("*")
    path = next(item for item in stored if item.is_file() and item.name in key)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert codes(office) == ["package_corrupt"]
    path.unlink()
    assert codes(office) == ["package_missing"]


def test_a_package_claimed_by_something_else_is_named(office: Any, kept: str) -> None:
    office.store.database.write(
        lambda tx: tx.execute(
            update(objects).where(objects.c.claimed_by == kept).values(claimed_by="mat_" + "0" * 26)
        )
    )
    assert codes(office) == ["package_owner"]
