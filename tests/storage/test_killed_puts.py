"""A process killed at any step of a put loses nothing acknowledged and shows nothing partial."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from storage.database import Database
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects, registry
from storage.tables import objects

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "kill_puts.py"


def killed(folder: Path, scenario: str, stride: int) -> tuple[set[str], int]:
    """Kill a process at every step; what all of them acknowledged, and their number."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), scenario, str(stride)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["finished"] for line in lines].count(True) == 1
    assert len({len(line["acknowledged"]) for line in lines}) > 1, "some died before, some after"
    return {key for line in lines for key in line["acknowledged"]}, len(lines)


def payload(number: int) -> bytes:
    return bytes([number]) * (1000 if number % 2 else 300_000)


@pytest.mark.parametrize("scenario", ["puts", "batch"])
def test_a_killed_put_is_whole_or_absent(tmp_path: Path, scenario: str) -> None:
    acknowledged, processes = killed(tmp_path, scenario, 1)
    assert processes > 40
    store = FilesystemStore(tmp_path / "objects")
    visible = {key for key, _ in store.keys()}  # noqa: SIM118 - no mapping
    assert acknowledged <= visible
    for key in visible:
        assert b"".join(store.read(key)) == payload(int(key[16:], 16))
    assert list((tmp_path / "objects" / "incoming").iterdir()) == []
    # A retry finds its way, whatever was there.
    for key in visible:
        writer = store.create(key)
        writer.write(payload(int(key[16:], 16)))
        writer.commit()


def test_a_killed_upload_is_acknowledged_whole_or_leaves_at_most_a_stray(tmp_path: Path) -> None:
    acknowledged, processes = killed(tmp_path, "uploads", 2)
    assert processes > 20
    store = FilesystemStore(tmp_path / "objects")
    sealed = SealedObjects(store, FileKeyVault.open(tmp_path / "vault.json"))
    database = Database(tmp_path / "rows.sqlite3")
    with database.read() as tx:
        rows = {row["object_key"] for row in tx.all(select(objects.c.object_key))}
        assert acknowledged <= rows <= {key for key, _ in store.keys()}  # noqa: SIM118
        for key in rows:
            ref = registry.ref(tx, key)
            assert sealed.rehash(ref, cipher=True).size in (1000, 300_000)
    database.close()
