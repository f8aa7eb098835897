import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, insert, select, update

from kernel.principals import Principal, Role
from storage.audit import note
from storage.database import Database, WriteTx
from storage.errors import IdempotencyMismatch, ReplyAltered
from storage.idempotency import Reply, RequestKey, once
from storage.keyvault import FileKeyVault
from storage.tables import audit, idempotency

pytestmark = pytest.mark.both_engines

WINDOW = Principal("tok_" + "0" * 26, Role.WINDOW)


@pytest.fixture
def key(vault: FileKeyVault) -> RequestKey:
    return RequestKey.of(vault, WINDOW.subject, "POST /v1/cases", "key-1", b'{"a":1}')


def counting(at: datetime) -> "object":
    def work(tx: WriteTx) -> Reply:
        note(tx, at, WINDOW, "case.opened")
        done = tx.scalar(select(func.count()).select_from(audit))
        return Reply(201, b'{"number":%d}' % done)

    return work


def effects(database: Database) -> int:
    with database.read() as tx:
        return int(tx.scalar(select(func.count()).select_from(audit)))


def test_a_retry_gets_the_first_reply_and_nothing_happens_twice(
    database: Database, at: datetime, key: RequestKey
) -> None:
    first = once(database, at, key, counting(at))
    again = once(database, at, key, counting(at))
    assert first == Reply(201, b'{"number":1}')
    assert again == Reply(201, b'{"number":1}', replayed=True)
    assert effects(database) == 1


def test_a_known_key_with_another_body_is_refused(
    database: Database, at: datetime, key: RequestKey
) -> None:
    once(database, at, key, counting(at))
    other = RequestKey.of(key.vault, key.principal, key.route, key.key, b'{"a":2}')
    with pytest.raises(IdempotencyMismatch):
        once(database, at, other, counting(at))
    assert effects(database) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"principal": "tok_" + "1" * 26},
        {"route": "POST /v1/grants"},
        {"key": "key-2"},
    ],
)
def test_keys_are_apart_per_principal_route_and_key(
    database: Database, at: datetime, key: RequestKey, other: dict[str, str]
) -> None:
    once(database, at, key, counting(at))
    assert once(database, at, replace(key, **other), counting(at)).replayed is False
    assert effects(database) == 2


def test_without_a_key_the_work_just_runs(database: Database, at: datetime) -> None:
    once(database, at, None, counting(at))
    once(database, at, None, counting(at))
    assert effects(database) == 2
    with database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(idempotency)) == 0


def test_a_work_that_raises_remembers_nothing(
    database: Database, at: datetime, key: RequestKey
) -> None:
    class Refused(Exception):
        pass

    def refused(tx: WriteTx) -> Reply:
        note(tx, at, WINDOW, "case.opened")
        raise Refused

    with pytest.raises(Refused):
        once(database, at, key, refused)
    assert effects(database) == 0
    assert once(database, at, key, counting(at)).replayed is False


def test_reply_and_work_commit_together_or_not_at_all(
    database: Database, at: datetime, key: RequestKey
) -> None:
    def clashing(tx: WriteTx) -> Reply:
        note(tx, at, WINDOW, "case.opened")
        # Takes the place that the reply needs: the reply cannot be remembered.
        tx.execute(
            insert(idempotency),
            {
                "principal": key.principal,
                "route": key.route,
                "key": key.key,
                "body_mac": bytes(32),
                "status": 200,
                "reply": b"",
                "created_at": at,
                "mac": bytes(32),
            },
        )
        return Reply(201, b"{}")

    with pytest.raises(Exception, match=r"(?i)unique"):
        once(database, at, key, clashing)
    assert effects(database) == 0


def test_of_many_equal_requests_at_once_one_does_the_work(
    database: Database, at: datetime, key: RequestKey
) -> None:
    barrier = threading.Barrier(12)
    replies: list[Reply] = []

    def client() -> None:
        barrier.wait(10)
        replies.append(once(database, at, key, counting(at)))

    threads = [threading.Thread(target=client) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(replies) == 12
    assert [reply.replayed for reply in replies].count(False) == 1
    assert {reply.body for reply in replies} == {b'{"number":1}'}
    assert effects(database) == 1


@pytest.mark.parametrize(
    "edit",
    [
        {"reply": b'{"number":9}'},
        {"status": 200},
        {"body_mac": bytes(32)},
        {"created_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"mac": bytes(32)},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_altered_reply_is_refused(
    database: Database, at: datetime, key: RequestKey, edit: dict[str, object]
) -> None:
    once(database, at, key, counting(at))
    database.write(lambda tx: tx.execute(update(idempotency).values(**edit)))
    with pytest.raises(ReplyAltered):
        once(database, at, key, counting(at))
    assert effects(database) == 1


def test_a_reply_does_not_serve_under_another_key(
    database: Database, at: datetime, key: RequestKey
) -> None:
    once(database, at, key, counting(at))
    database.write(lambda tx: tx.execute(update(idempotency).values(key="key-2")))
    with pytest.raises(ReplyAltered):
        once(database, at, replace(key, key="key-2"), counting(at))
