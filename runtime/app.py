"""The HTTP application: the routers of all rooms, one table of problems, one edge."""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Request

from archive.http import routes as archive_routes
from ledger.http import routes as log_routes
from license_service.http import routes as license_routes
from materials_api.http import routes as materials_routes
from parties.http import Access, PartiesRoom
from parties.http import routes as party_routes
from portal.http import routes as portal_routes
from runtime import problems
from runtime.admission import Admission
from runtime.errors import FieldTwice
from runtime.guard import admit
from runtime.middleware import ReceiveLimits, ReceiveTimeout, RequestContext
from runtime.openapi import operation_id
from runtime.rooms import ALL, Room
from runtime.service_routes import routes as service_routes
from runtime.settings import Settings
from runtime.store import Store
from runtime.telemetry import NO_TELEMETRY

JSON_BODY_LIMIT = 1 << 20  # bytes; upload routes set their own

DESCRIPTION = """
交过的材料，不再要第二次。每一份电子材料和电子证照都存证在防篡改日志中；
再次办事时，经本人授权和窗口核验即可复用。

What was handed in once is not asked for again. Every material and licence is
recorded in a tamper-evident log; a later case reuses it after the holder's
authorisation and a verification at the window.
"""


def build_app(store: Store, settings: Settings, rooms: Collection[Room] = ALL) -> FastAPI:
    """The application over an open store, with the routes of these rooms and its own
    health. Building it starts nothing."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = settings.worker_threads
        yield

    async def admitted(request: Request) -> None:
        admit(store.watch, request.scope)
        await no_field_twice(request)

    app = FastAPI(
        title="免交 Mianjiao",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(admitted)],
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
        generate_unique_id_function=operation_id,
    )
    access = Access(store.database, store.clock, store.credentials)
    public = Depends(access.public)
    app.include_router(service_routes(app, store, settings))
    # Routes are matched in order: what windows ask all day stands first.
    if Room.MATERIALS in rooms:
        app.include_router(materials_routes(store.materials, access))
    if Room.LOG in rooms:
        app.include_router(log_routes(store.ledger, [public]))
    if Room.MATERIALS in rooms:
        parties = PartiesRoom(store.clock, store.database, store.vault, store.parties)
        app.include_router(party_routes(parties, access))
    if Room.LICENSES in rooms:
        app.include_router(license_routes(store.license_room, access))
    if Room.ARCHIVE in rooms:
        app.include_router(archive_routes(store.archive, access))
    if Room.MATERIALS in rooms:
        app.include_router(portal_routes(store))
    problems.install(app)
    app.add_middleware(
        ReceiveTimeout,
        limits=ReceiveLimits(
            idle=settings.receive_idle_seconds,
            grace=settings.receive_grace_seconds,
            rate=settings.receive_rate_bytes,
            body=JSON_BODY_LIMIT,
        ),
    )
    app.add_middleware(
        Admission, limit=settings.verification_limit, metrics=store.observing.metrics
    )
    app.add_middleware(RequestContext, observing=store.observing)
    return app


async def no_field_twice(request: Request) -> None:
    """Refuse a JSON body in which a field stands twice in one object: which of the
    two counts is anybody's guess, and a gateway before us may have guessed otherwise."""
    if getattr(request.scope["route"], "body_field", None) is not None:
        body = await request.body()  # read and parsed already
        try:
            json.loads(body, object_pairs_hook=_each_once)
        except ValueError:
            return  # empty, or not JSON: refused by its type


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise FieldTwice()
