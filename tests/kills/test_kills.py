"""25 SIGKILLs of each store under load; `make soak` does 1,000 embedded and 300 of PostgreSQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.kills.hosts import CommandHost, ForkingHost, PostgresHost, postgres_store
from tests.kills.loop import make_store, run

KILLS = 25


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path) -> None:
    tokens = make_store(tmp_path / "store")
    host = ForkingHost(tmp_path / "store", tmp_path / "log.txt")
    outcome = run(host, tokens, kills=KILLS, seed=1, life=0.15)
    assert outcome.lost == []
    assert outcome.problems == []
    assert outcome.kills == KILLS
    # The clients did work, and some of it was cut off and sent again.
    assert min(outcome.acknowledged[kind] for kind in ("material", "receipt", "verification")) > 3
    assert outcome.retried > 3
    assert (tmp_path / "log.txt").read_text() == ""


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_by_kills_of_postgresql_and_the_api(tmp_path: Path) -> None:
    with postgres_store(tmp_path / "store") as (server, tokens):
        host = PostgresHost(tmp_path / "store", tmp_path / "log.txt", server, seed=1)
        outcome = run(host, tokens, kills=KILLS, seed=1, life=0.15, check_every=12)
    assert outcome.lost == []
    assert outcome.problems == []
    assert outcome.kills == KILLS
    assert set(host.struck) == {"api", "server", "postmaster", "session", "both"}
    assert min(outcome.acknowledged[kind] for kind in ("material", "receipt", "verification")) > 3
    assert outcome.retried > 3


def test_the_command_itself_is_killed_too(tmp_path: Path) -> None:
    tokens = make_store(tmp_path / "store")
    host = CommandHost(tmp_path / "store", tmp_path / "log.txt")
    outcome = run(host, tokens, kills=2, seed=9, life=0.5, check_every=1)
    assert outcome.lost + outcome.problems == []
    assert outcome.kills == 2


class ForgetfulHost(ForkingHost):
    """A store that loses its newest cases with every kill, as many as there are clients:
    not all of them can be unanswered ones."""

    def kill(self) -> None:
        super().kill()
        with closing(sqlite3.connect(self.data / "mianjiao.sqlite3")) as rows, rows:
            rows.execute("DELETE FROM cases WHERE rowid > (SELECT max(rowid) - 4 FROM cases)")


def test_a_lost_acknowledgement_is_noticed(tmp_path: Path) -> None:
    tokens = make_store(tmp_path / "store")
    host = ForgetfulHost(tmp_path / "store", tmp_path / "log.txt")
    outcome = run(host, tokens, kills=6, seed=3, life=0.15, check_every=1)
    assert outcome.lost
    assert outcome.problems
