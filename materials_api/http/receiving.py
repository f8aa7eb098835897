"""From the event loop to a worker thread: bytes arrive, blocks are handed on.

Receiving and writing overlap: while a thread hashes, encrypts and writes one
block, the next one fills. At most one block waits and one is being written,
so memory stays small however fast the sender is. Slow senders are given up by
the application's receive time-out, which raises where the body is read.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from anyio import CancelScope, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from materials_api.errors import UploadCut


class Sink(Protocol):
    """Takes blocks, from one thread at a time."""

    def write(self, block: bytearray) -> None: ...

    def abort(self) -> None: ...


async def receive_into(request: Request, sink: Sink, block_bytes: int) -> bytearray:
    """Feed the body to `sink`, all but its last block, which is returned: the caller writes
    it in the same turn of a thread that ends the sink, and a body of one block needs only
    that. `UploadCut` when the sender goes away.

    Raises what the sink raises; the caller ends the sink (see `ending`). On
    return and on any error no thread uses the sink any more.
    """
    writing: asyncio.Task[None] | None = None
    block = bytearray()
    try:
        async for chunk in request.stream():
            block += chunk
            if len(block) >= block_bytes:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(to_thread.run_sync(sink.write, block))
                block = bytearray()
        if writing is not None:
            await writing
        return block
    except ClientDisconnect:
        raise UploadCut() from None
    finally:
        if writing is not None:
            with CancelScope(shield=True):
                await asyncio.wait([writing])
            if not writing.cancelled():
                # Looked at, so that it is not reported as lost; an earlier error counts.
                writing.exception()


@asynccontextmanager
async def ending(sink: Sink) -> AsyncIterator[None]:
    """Abort the sink in its own thread if the block is left by an error or cancelled."""
    try:
        yield
    except BaseException:
        with CancelScope(shield=True):
            await to_thread.run_sync(sink.abort)
        raise
