"""Answers of writing routes: JSON bytes, remembered under the Idempotency-Key."""

from collections.abc import Callable, Collection
from datetime import datetime

from fastapi import Response
from pydantic import BaseModel

from kernel.principals import Principal
from storage.database import Database, WriteTx
from storage.database.prepared import Wanted
from storage.idempotency import Reply, RequestKey, once
from storage.keyvault import KeyVault


def write_once(
    database: Database,
    vault: KeyVault,
    at: datetime,
    principal: Principal,
    route: str,
    key: str | None,
    body: BaseModel,
    work: Callable[[WriteTx], tuple[int, BaseModel]],
    ahead: Collection[Wanted] = (),
) -> Response:
    """Run `work` in one transaction and answer with its model after the commit.

    With a key, the same request again gets the remembered answer. The answer is
    kept as it is: it must hold no personal data. `route` names the route with its
    ids, at most 128 characters. `ahead`: what `work` will ask first, see `read_ahead`.
    """

    def attempt(tx: WriteTx) -> Reply:
        status, answer = work(tx)
        return Reply(status, answer.model_dump_json().encode())

    asked = request_key(vault, principal, route, key, body)
    return json_response(once(database, at, asked, attempt, ahead))


def request_key(
    vault: KeyVault, principal: Principal, route: str, key: str | None, body: BaseModel
) -> RequestKey | None:
    """Under what the answer to this request is remembered; None without a key."""
    if key is None:
        return None
    return RequestKey.of(vault, principal.subject, route, key, body.model_dump_json().encode())


def json_response(reply: Reply) -> Response:
    """A reply as it goes out, fresh or remembered."""
    headers = {"Idempotency-Replayed": "true"} if reply.replayed else None
    return Response(reply.body, reply.status, headers, media_type="application/json")
