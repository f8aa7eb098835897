"""What is particular to the store in a folder: names, leftovers, order of fsyncs, full disks."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage.errors import ObjectCorrupt, ObjectMissing, StorageFailed, StorageFull, StoreMissing
from storage.objects import FilesystemStore
from storage.objects.durable_file import device_errors
from storage.objects.port import new_object_key

KEY = "0123456789abcdef" * 2
ROOT = Path(__file__).parents[2]


def put(store: FilesystemStore, key: str, data: bytes) -> None:
    writer = store.create(key)
    writer.write(data)
    writer.commit()


def incoming(store: FilesystemStore) -> list[Path]:
    return list((store.root / "incoming").iterdir())


def test_a_missing_store_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        FilesystemStore(tmp_path / "objects")
    assert not (tmp_path / "objects").exists()
    (tmp_path / "objects").mkdir()  # as when a disk is not mounted
    with pytest.raises(StoreMissing):
        FilesystemStore(tmp_path / "objects")


def test_objects_are_plain_files_that_only_their_owner_reads(store: FilesystemStore) -> None:
    put(store, KEY, b"data")
    path = store.root / "01" / KEY
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    assert path.stat().st_nlink == 1
    assert incoming(store) == []


def test_a_link_or_a_folder_in_place_of_an_object_is_not_believed(store: FilesystemStore) -> None:
    secret = store.root / "secret"
    secret.write_bytes(b"elsewhere")
    (store.root / "01" / KEY).symlink_to(secret)
    with pytest.raises(ObjectCorrupt):
        store.read(KEY)
    (store.root / "02" / ("02" * 16)).mkdir()
    with pytest.raises(ObjectCorrupt):
        store.read("02" * 16)


def test_opening_removes_what_killed_writers_left_and_nothing_else(store: FilesystemStore) -> None:
    put(store, KEY, b"data")
    (store.root / "incoming" / "leftover").write_bytes(b"half an obj")
    alive = store.create(new_object_key())
    alive.write(b"still coming")
    again = FilesystemStore(store.root)
    assert [path.name for path in incoming(again)] != ["leftover"]
    assert len(incoming(again)) == 1
    alive.commit()
    assert incoming(again) == []
    assert {key for key, _ in again.keys()} >= {KEY}  # noqa: SIM118


def test_a_forgotten_writer_leaves_no_file(store: FilesystemStore) -> None:
    writer = store.create(KEY)
    writer.write(b"data")
    assert len(incoming(store)) == 1
    del writer
    assert incoming(store) == []


def test_a_failed_write_leaves_no_file(store: FilesystemStore) -> None:
    writer = store.create(KEY)
    os.close(writer._descriptor)  # the device is gone
    with pytest.raises(StorageFailed) as caught:
        writer.write(b"data")
    assert caught.value.details["problem"] == "EBADF"
    assert incoming(store) == []
    with pytest.raises(ObjectMissing):
        store.read(KEY)


def test_stray_files_are_not_shown_as_objects(store: FilesystemStore) -> None:
    (store.root / "01" / "notes.txt").write_text("left by a person")
    (store.root / "02" / KEY).write_text("in the folder of other keys")
    put(store, KEY, b"data")
    assert [key for key, _ in store.keys()] == [KEY]  # noqa: SIM118


def test_a_put_fsyncs_the_content_before_the_name_and_the_folder_after(
    store: FilesystemStore,
) -> None:
    calls: list[str] = []

    def watch(_frame: object, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name in {"write", "fsync", "link", "unlink"}:
            calls.append(name)

    def watched() -> list[str]:
        calls.clear()
        writer = store.create(KEY)
        writer.write(b"data")
        sys.setprofile(watch)
        try:
            writer.commit()
        finally:
            sys.setprofile(None)
        return list(calls)

    assert watched() == ["fsync", "link", "unlink", "fsync"]
    # The name was there already: content and folder are made durable again.
    assert watched() == ["fsync", "link", "fsync", "unlink", "fsync"]


def test_a_batch_fsyncs_every_file_and_then_every_folder_once(store: FilesystemStore) -> None:
    calls: list[str] = []

    def watch(_frame: object, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name in {"fsync", "link"}:
            calls.append(name)

    folders = ("aa", "bb", "cc")
    keys = [folder + f"{number:030x}" for folder in folders for number in range(5)]
    threading.setprofile(watch)
    try:
        store.put_many((key, b"data") for key in keys)
    finally:
        threading.setprofile(None)
    assert calls.count("link") == len(keys)
    assert calls.count("fsync") == len(keys) + len(folders)
    assert calls[-len(folders) :] == ["fsync"] * len(folders)


@pytest.mark.parametrize(
    ("number", "code"),
    [("ENOSPC", "storage_full"), ("EDQUOT", "storage_full"), ("EIO", "storage_failed")],
)
def test_errors_of_the_device_are_coded(number: str, code: str) -> None:
    import errno

    with pytest.raises((StorageFull, StorageFailed)) as caught, device_errors():
        raise OSError(getattr(errno, number), "from the device")
    assert caught.value.code == code


FULL = """
import resource, sys
from pathlib import Path
from storage.errors import StorageFull
from storage.objects import FilesystemStore

store = FilesystemStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for put in ("stream", "batch"):
    try:
        if put == "stream":
            writer = store.create("1" * 32)
            for _ in range(20):
                writer.write(bytes(10_000))
            writer.commit()
        else:
            store.put_many([("2" * 32, bytes(200_000))])
    except StorageFull:
        print(put, "full")
writer = store.create("3" * 32)
writer.write(b"small")
writer.commit()
"""


def test_no_space_is_named_and_leaves_nothing_behind(store: FilesystemStore) -> None:
    # A limit of the operating system on file sizes stands in for a full disk:
    # the write fails in the middle of an object.
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(store.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n") == ["stream full", "batch full", ""]
    assert incoming(store) == []
    assert [key for key, _ in store.keys()] == ["3" * 32]  # noqa: SIM118
