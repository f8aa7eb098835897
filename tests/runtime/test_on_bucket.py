"""Commands with content and log in a bucket of a real MinIO, and what is said when it is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.s3 import Bucket, S3Settings
from tests.conftest import mianjiao
from tests.postgres_server import free_port
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.minio import MinioServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def named(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> S3Settings:
    """The settings name a bucket that is not there yet."""
    settings = minio.settings()
    for name, value in minio.environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def bucket(named: S3Settings) -> Iterator[Bucket]:
    with closing(Bucket(named)) as opened:
        yield opened


def names(bucket: Bucket) -> list[tuple[str, str | None]]:
    return [(entry.name, entry.version) for entry in bucket.versions("")]


def test_a_store_is_made_and_found_in_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    data = tmp_path / "store"
    mianjiao("init", "--data", data, "--name", "a.example")
    assert not (data / "objects").exists()
    assert not (data / "log").exists()
    bucket.check()
    shard = str(datetime.now(UTC).year)
    assert f"log/{shard}/checkpoint" in {name for name, _ in bucket.names("log/")}
    checkpoint = mianjiao("log", "checkpoint", "--data", data).stdout
    assert bucket.get(f"log/{shard}/checkpoint").data.decode() == checkpoint
    assert mianjiao("fsck", "--data", data).stdout.startswith("未发现问题")
    # The bucket is not taken for a second store, and nothing is made.
    before = names(bucket)
    other = mianjiao("init", "--data", tmp_path / "other", "--name", "b.example", expect=1)
    assert other.stderr.rstrip().endswith("[bucket_taken]")
    assert not (tmp_path / "other").exists()
    assert names(bucket) == before


def test_without_a_bucket_its_package_is_not_loaded() -> None:
    code = "import sys, runtime.store, runtime.serving; print('minio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_story_is_played_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    data = tmp_path / "store"
    told = json.loads(mianjiao("demo", "--data", data, "--json").stdout)
    assert told["verifications"]
    assert not (data / "objects").exists()
    assert not (data / "log").exists()
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["problems"] == []


WRONG = {
    "credentials": "s3_credentials_refused",
    "secret": "s3_credentials_refused",
    "endpoint": "s3_unreachable",
    "no versions": "bucket_without_versioning",
    "no lock": "bucket_without_lock",
    "no bucket": "bucket_missing",
    "form of endpoint": "setting_invalid",
    "form of bucket": "setting_invalid",
    "half": "setting_invalid",
    "CA": "setting_invalid",
}


def spoil(what: str, monkeypatch: pytest.MonkeyPatch, minio: MinioServer, named: S3Settings) -> str:
    """Make the settings wrong; the setting that must be named, if it is one."""
    change = {
        "credentials": ("MIANJIAO_S3_ACCESS_KEY", "nobody-here"),
        "secret": ("MIANJIAO_S3_SECRET_KEY", "not-the-secret"),
        "endpoint": ("MIANJIAO_S3_ENDPOINT", f"127.0.0.1:{free_port()}"),
        "form of endpoint": ("MIANJIAO_S3_ENDPOINT", "http://127.0.0.1:9000"),
        "form of bucket": ("MIANJIAO_S3_BUCKET", "No_Bucket"),
        "half": ("MIANJIAO_S3_SECRET_KEY", ""),
        "CA": ("MIANJIAO_S3_CA_FILE", "/no/such/file.pem"),
    }.get(what)
    if change is not None:
        monkeypatch.setenv(*change)
        return change[0] if WRONG[what] == "setting_invalid" else ""
    if what.startswith("no "):
        other = minio.settings()
        if what != "no bucket":
            minio.plain_bucket(other, versions=what == "no lock")
        monkeypatch.setenv("MIANJIAO_S3_BUCKET", other.bucket)
    return ""


@pytest.mark.parametrize("what", [one for one in WRONG if one != "no bucket"])
def test_init_with_wrong_settings_is_one_line_and_nothing_is_touched(
    what: str,
    named: S3Settings,
    minio: MinioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting = spoil(what, monkeypatch, minio, named)
    refused = mianjiao("init", "--data", tmp_path / "store", "--name", "a.example", expect=1)
    (line,) = refused.stderr.splitlines()
    assert line.endswith(f"[{WRONG[what]}]")
    assert setting in line
    assert named.secret_key not in line
    assert not (tmp_path / "store").exists()
    if what.startswith("no "):
        with closing(Bucket(minio.settings(os.environ["MIANJIAO_S3_BUCKET"]))) as plain:
            assert names(plain) == []


@pytest.mark.parametrize("what", WRONG)
def test_serve_with_wrong_settings_is_one_line_and_nothing_is_touched(
    what: str,
    named: S3Settings,
    bucket: Bucket,
    minio: MinioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "store"
    mianjiao("init", "--data", data, "--name", "a.example")
    before = names(bucket), files(data)
    setting = spoil(what, monkeypatch, minio, named)
    refused = mianjiao("serve", "--data", data, "--port", "0", expect=1)
    (line,) = refused.stderr.splitlines()
    assert line.endswith(f"[{WRONG[what]}]")
    assert setting in line
    assert (names(bucket), files(data)) == before


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_bucket_that_keeps_no_lock_is_not_served(
    named: S3Settings,
    bucket: Bucket,
    fault_proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a server that says yes to a retention and forgets it."""
    data = tmp_path / "store"
    mianjiao("init", "--data", data, "--name", "a.example")
    before = files(data), [one for one in names(bucket) if one[0].startswith("log/")]
    monkeypatch.setenv("MIANJIAO_S3_ENDPOINT", fault_proxy.endpoint)
    fault_proxy.plan = lambda method, path: (
        Fault.CLAIMED if method == "PUT" and "retention" in path else None
    )
    refused = mianjiao("serve", "--data", data, "--port", "0", expect=1)
    (line,) = refused.stderr.splitlines()
    assert line.endswith("[s3_self_test_failed]")
    assert "ignore a retention" in line
    assert fault_proxy.seen[Fault.CLAIMED] > 0
    after = files(data), [one for one in names(bucket) if one[0].startswith("log/")]
    assert after == before
