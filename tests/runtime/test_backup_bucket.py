"""Backup and restore of a store whose content and log lie in a bucket of a real MinIO."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import mianjiao
from tests.servers.minio import MinioServer

pytestmark = pytest.mark.timeout(300)


def use(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a bucket that is not there yet."""
    for name, value in minio.environment(minio.settings()).items():
        monkeypatch.setenv(name, value)


def clean(data: Path) -> bool:
    found = json.loads(mianjiao("fsck", "--data", data, "--json").stdout)
    return bool(found["problems"] == [])


@pytest.fixture
def lost(minio: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `backup` and `keys` of a store that went on after the backup and then
    lost its rows; the settings still name its bucket."""
    use(minio, monkeypatch)
    data = tmp_path / "store"
    mianjiao("demo", "--data", data)
    mianjiao("backup", "--data", data, "-o", tmp_path / "backup")
    mianjiao("token", "--data", data, "--role", "operator")
    assert mianjiao("backup", "--check", tmp_path / "backup").returncode == 0
    shutil.move(data / "keys", tmp_path / "keys")
    shutil.rmtree(data)
    return tmp_path


def test_a_bucket_that_outlived_the_rows_is_the_newest_log(lost: Path) -> None:
    data = lost / "again"
    done = mianjiao(
        "restore", "--data", data, "--from", lost / "backup", "--keys", lost / "keys", "--json"
    )
    told = json.loads(done.stdout)
    assert told["lost"] == 0
    assert told["damaged_objects"] == []
    assert not (data / "log").exists()
    assert not (data / "objects").exists()
    assert clean(data)
    mianjiao("log", "proof", "0", "--data", data)


def test_a_bucket_that_is_lost_too_is_made_anew(
    lost: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(minio, monkeypatch)
    data = lost / "again"
    options = ("--data", data, "--from", lost / "backup", "--keys", lost / "keys")
    refused = mianjiao("restore", *options, expect=None)
    assert refused.returncode != 0
    assert "newest_log_unknown" in refused.stderr
    assert not data.exists()
    mianjiao("restore", *options, "--backup-is-newest")
    assert clean(data)


def test_a_bucket_of_another_store_is_refused(
    lost: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(minio, monkeypatch)
    mianjiao("init", "--data", lost / "other", "--name", "other.example")
    data = lost / "again"
    refused = mianjiao(
        "restore", "--data", data, "--from", lost / "backup", "--keys", lost / "keys", expect=None
    )
    assert refused.returncode != 0
    assert "not_trusted" in refused.stderr, refused.stderr
    assert not data.exists()
    assert clean(lost / "other")
