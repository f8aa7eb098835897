"""Stores of ten thousand to a million materials, made in bulk from nothing.

`python -m benchmarks.scale_store FOLDER 10000 100000 1000000` leaves `FOLDER/10000`
and so on: one store that grew, and a copy of it at each size. `--engine postgresql`
puts the rows into a server of its own.

The rows are those of a bulk collection (`write_batch`), the log is the real one.
Only the small object files are written without waiting for the disk: how a store
came to its size is not what is measured.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from benchmarks.scale_engines import ENGINES, Postgresql, Sqlite, engine
from kernel.identifiers import credit_check_character
from kernel.principals import Principal, Role
from materials_api.back_files.collection import row_key
from materials_api.back_files.manifest import ManifestRow
from materials_api.back_files.rows import Prepared, PreparedFile, write_batch
from parties import HolderRef
from runtime.interpreter import settle
from runtime.places import LOG, OBJECTS
from runtime.store import Store, create_store, open_store
from storage.objects import FilesystemStore, SealedObjects

GROWING = "growing"
MATTER = "000131014000"  # food business permit
TYPE = "lease_contract"
PER_CASE = 2
PER_HOLDER = 4
BATCH = 4_000
LOCAL = Principal(subject="local", role=Role.OPERATOR)
_CERTIFIED = datetime(2026, 3, 1, tzinfo=UTC)


class QuickObjects(FilesystemStore):
    """A folder whose objects are written without a wait for the disk."""

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        for key, data in items:
            Path(self._path(key)).write_bytes(data)


def holder(number: int) -> HolderRef:
    """The company of this number."""
    first = f"91310199MA{number:07d}"
    return HolderRef("001", first + credit_check_character(first), f"合成企业{number}有限公司")


def rows(start: int) -> Iterator[ManifestRow]:
    """Materials from number `start` on, for ever: four a holder, in two cases."""
    number = start
    while True:
        whose = holder(number // PER_HOLDER)
        yield ManifestRow(
            line=number + 2,
            holder_type=whose.type,
            holder_code=whose.code,
            holder_name=whose.name or "",
            material_type=TYPE,
            title=f"房屋租赁合同 {number}",
            source_case=f"BACK-{number // PER_CASE}",
            matter=MATTER,
            provenance="certified_copy",
            certified_by="合成数据",
            certified_at=_CERTIFIED,
            issued_at=_CERTIFIED,
            valid_until=_CERTIFIED + timedelta(days=3_000),
            files=(f"{number}.pdf",),
        )
        number += 1


def grow(store: Store, start: int, stop: int) -> None:
    """Add materials [start, stop) and publish their records."""
    room = store.materials
    objects = SealedObjects(QuickObjects(store.data / OBJECTS), store.vault)
    running = None
    coming = islice(rows(start), stop - start)
    while batch := list(islice(coming, BATCH)):
        stored = objects.put_many((os.urandom(200) for _ in batch), limit=1_000)
        prepared = [
            Prepared(
                row,
                row_key(room, row),
                (PreparedFile(row.files[0], "application/pdf", one),),
            )
            for row, one in zip(batch, stored, strict=True)
        ]
        if running is not None:
            running.result()
            store.ledger.sequence(store.clock.now())
        at = store.clock.now()
        running = store.database.submit(
            lambda tx, at=at, prepared=prepared: write_batch(room, tx, at, LOCAL, prepared)
        )
    if running is not None:
        running.result()
    store.ledger.sequence(store.clock.now())


def copy(data: Path, target: Path) -> None:
    """A copy of a closed store; objects, which never change, share their bytes."""
    shutil.copytree(data, target, ignore=lambda folder, _: [OBJECTS] if folder == str(data) else [])
    shutil.copytree(data / OBJECTS, target / OBJECTS, copy_function=os.link)


def build(folder: Path, sizes: list[int], rows: Sqlite | Postgresql) -> None:
    """Leave a store of each size in `folder`."""
    settle()
    data = folder / GROWING
    if isinstance(rows, Postgresql):
        rows.create(GROWING)
    settings = rows.settings(GROWING)
    create_store(data, "scale.example", settings=settings)
    before = 0
    for size in sizes:
        began = time.perf_counter()
        with open_store(data, settings) as store:
            grow(store, before, size)
        took = time.perf_counter() - began
        print(f"{size:,} materials after {took:.0f} s more", file=sys.stderr, flush=True)
        if isinstance(rows, Postgresql):
            rows.analyze(GROWING)
        if size == sizes[-1]:
            data.rename(folder / str(size))
            rows.rename(GROWING, str(size))
        else:
            copy(data, folder / str(size))
            rows.copy(GROWING, str(size))
        before = size


def log_size(data: Path) -> int:
    """Bytes of the published log."""
    return sum(one.stat().st_size for one in (data / LOG).rglob("*") if one.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    wanted = parser.parse_args()
    with engine(wanted.engine, wanted.folder) as rows:
        build(wanted.folder, sorted(wanted.sizes), rows)


if __name__ == "__main__":
    main()
