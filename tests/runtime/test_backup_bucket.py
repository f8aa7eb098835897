"""Backup and restore of a store whose content and log lie in a bucket of a real MinIO."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import mianjiao
from tests.servers.minio import MinioServer

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("backup_bucket")]


def use(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a bucket that is not there yet."""
    for name, value in minio.environment(minio.settings()).items():
        monkeypatch.setenv(name, value)


def clean(data: Path) -> bool:
    found = json.loads(mianjiao("fsck", "--data", data, "--json").stdout)
    return bool(found["problems"] == [])


@pytest.fixture(scope="module")
def lost(minio: MinioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `backup` and `keys` of a store that went on after the backup and then
    lost its rows; the settings still name its bucket, where a test does not name another."""
    folder = tmp_path_factory.mktemp("lost")
    data = folder / "store"
    with pytest.MonkeyPatch.context() as settings:
        use(minio, settings)
        mianjiao("demo", "--data", data)
        mianjiao("backup", "--data", data, "-o", folder / "backup")
        mianjiao("token", "--data", data, "--role", "operator")
        assert mianjiao("backup", "--check", folder / "backup").returncode == 0
        shutil.move(data / "keys", folder / "keys")
        shutil.rmtree(data)
        yield folder


def test_a_bucket_that_outlived_the_rows_is_the_newest_log(lost: Path, tmp_path: Path) -> None:
    data = tmp_path / "again"
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
    lost: Path, tmp_path: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(minio, monkeypatch)
    data = tmp_path / "again"
    options = ("--data", data, "--from", lost / "backup", "--keys", lost / "keys")
    refused = mianjiao("restore", *options, expect=None)
    assert refused.returncode != 0
    assert "newest_log_unknown" in refused.stderr
    assert not data.exists()
    mianjiao("restore", *options, "--backup-is-newest")
    assert clean(data)


def test_a_bucket_of_another_store_is_refused(
    lost: Path, tmp_path: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(minio, monkeypatch)
    mianjiao("init", "--data", tmp_path / "other", "--name", "other.example")
    data = tmp_path / "again"
    refused = mianjiao(
        "restore", "--data", data, "--from", lost / "backup", "--keys", lost / "keys", expect=None
    )
    assert refused.returncode != 0
    assert "not_trusted" in refused.stderr, refused.stderr
    assert not data.exists()
    assert clean(tmp_path / "other")
