"""The commands on PostgreSQL: the whole story, and what is said when the server is wrong."""

import json
from pathlib import Path

import pytest

from runtime.store import DATABASE
from tests.conftest import mianjiao
from tests.engines import Engine
from tests.postgres_server import free_port

pytestmark = [pytest.mark.postgresql_only, pytest.mark.timeout(300)]


@pytest.fixture
def server_database(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """An empty database that the commands find by their environment."""
    engine.place(tmp_path / "store", empty=True)
    found = engine.environment(tmp_path / "store")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_the_story_is_played_on_postgresql(server_database: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = mianjiao("demo", "--data", data, "--json")
    assert json.loads(done.stdout)
    assert not (data / DATABASE).exists(), "all rows are in the server"
    checked = json.loads(mianjiao("fsck", "--data", data, "--json").stdout)
    assert checked["problems"] == []
    # The same database is not taken for a second store, and nothing is made.
    again = mianjiao("init", "--data", tmp_path / "other", "--name", "b.example", expect=1)
    assert "store_exists" in again.stderr
    assert not (tmp_path / "other").exists()


def test_a_store_without_its_database_is_not_opened(
    server_database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    data = tmp_path / "data"
    mianjiao("init", "--data", data, "--name", "a.example")
    engine.place(tmp_path / "fresh", empty=True)
    for name, value in engine.environment(tmp_path / "fresh").items():
        monkeypatch.setenv(name, value)
    refused = mianjiao("fsck", "--data", data, expect=None)
    assert refused.returncode != 0
    assert "migration_missing" in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://u:topsecret@127.0.0.1:{port}/d", "database_unreachable"),
        ("mysql://u:topsecret@127.0.0.1:{port}/d", "database_url_invalid"),
        ("postgresql://u:topsecret@127.0.0.1", "database_url_invalid"),
        ("absent", "database_absent"),
        ("unknown user", "database_refused"),
    ],
)
def test_a_wrong_url_is_one_line_and_nothing_is_touched(
    server_database: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    url: str,
    code: str,
) -> None:
    place = engine.place(tmp_path / "store")
    assert not isinstance(place, Path)
    if url == "absent":
        url = place.set(database="no_such").render_as_string(hide_password=False)
    elif url == "unknown user":
        url = place.set(username="no_such").render_as_string(hide_password=False)
    monkeypatch.setenv("MIANJIAO_DATABASE_URL", url.format(port=free_port()))
    refused = mianjiao("init", "--data", tmp_path / "data", "--name", "a.example", expect=1)
    assert code in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "topsecret" not in refused.stderr + refused.stdout
    assert not (tmp_path / "data").exists()
