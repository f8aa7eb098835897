import threading
from datetime import datetime

import pytest
from sqlalchemy import func, insert, select

from kernel.principals import Principal, Role
from storage.audit import note
from storage.database import Database, WriteTx
from storage.errors import IdempotencyMismatch
from storage.idempotency import Reply, RequestKey, once
from storage.tables import audit, idempotency

pytestmark = pytest.mark.both_engines

WINDOW = Principal("tok_" + "0" * 26, Role.WINDOW)
KEY = RequestKey.of(WINDOW.subject, "POST /v1/cases", "key-1", b'{"a":1}')


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
    database: Database, at: datetime
) -> None:
    first = once(database, at, KEY, counting(at))
    again = once(database, at, KEY, counting(at))
    assert first == Reply(201, b'{"number":1}')
    assert again == Reply(201, b'{"number":1}', replayed=True)
    assert effects(database) == 1


def test_a_known_key_with_another_body_is_refused(database: Database, at: datetime) -> None:
    once(database, at, KEY, counting(at))
    other = RequestKey.of(KEY.principal, KEY.route, KEY.key, b'{"a":2}')
    with pytest.raises(IdempotencyMismatch):
        once(database, at, other, counting(at))
    assert effects(database) == 1


@pytest.mark.parametrize(
    "other",
    [
        RequestKey.of("tok_" + "1" * 26, KEY.route, KEY.key, b'{"a":1}'),
        RequestKey.of(KEY.principal, "POST /v1/grants", KEY.key, b'{"a":1}'),
        RequestKey.of(KEY.principal, KEY.route, "key-2", b'{"a":1}'),
    ],
)
def test_keys_are_apart_per_principal_route_and_key(
    database: Database, at: datetime, other: RequestKey
) -> None:
    once(database, at, KEY, counting(at))
    assert once(database, at, other, counting(at)).replayed is False
    assert effects(database) == 2


def test_without_a_key_the_work_just_runs(database: Database, at: datetime) -> None:
    once(database, at, None, counting(at))
    once(database, at, None, counting(at))
    assert effects(database) == 2
    with database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(idempotency)) == 0


def test_a_work_that_raises_remembers_nothing(database: Database, at: datetime) -> None:
    class Refused(Exception):
        pass

    def refused(tx: WriteTx) -> Reply:
        note(tx, at, WINDOW, "case.opened")
        raise Refused

    with pytest.raises(Refused):
        once(database, at, KEY, refused)
    assert effects(database) == 0
    assert once(database, at, KEY, counting(at)).replayed is False


def test_reply_and_work_commit_together_or_not_at_all(database: Database, at: datetime) -> None:
    def clashing(tx: WriteTx) -> Reply:
        note(tx, at, WINDOW, "case.opened")
        # Takes the place that the reply needs: the reply cannot be remembered.
        tx.execute(
            insert(idempotency),
            {
                "principal": KEY.principal,
                "route": KEY.route,
                "key": KEY.key,
                "body_sha256": bytes(32),
                "status": 200,
                "reply": b"",
                "created_at": at,
            },
        )
        return Reply(201, b"{}")

    with pytest.raises(Exception, match=r"(?i)unique"):
        once(database, at, KEY, clashing)
    assert effects(database) == 0


def test_of_many_equal_requests_at_once_one_does_the_work(database: Database, at: datetime) -> None:
    barrier = threading.Barrier(12)
    replies: list[Reply] = []

    def client() -> None:
        barrier.wait(10)
        replies.append(once(database, at, KEY, counting(at)))

    threads = [threading.Thread(target=client) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(replies) == 12
    assert [reply.replayed for reply in replies].count(False) == 1
    assert {reply.body for reply in replies} == {b'{"number":1}'}
    assert effects(database) == 1
