"""How many verifications are under way at once in this process; more are refused at once.

A verification waits for database and object store and works in between; asked for faster
than it can be answered, each waits behind all the others, until every client has given up
before its turn. So beyond the limit a request is told when to come again, before
anybody asks who it is. Those that are let in take about limit ÷ rate seconds.
"""

import asyncio

from runtime.errors import VerificationsTooMany
from runtime.metrics import Metrics
from runtime.middleware import App, Message, Receive, Scope, Send
from runtime.problems import coded_problem

PATH = "/v1/verifications"
RETRY_SECONDS = 1  # until a process that is full may be asked again
REST_SECONDS = 1.0  # how long the rest of a refused request may take to arrive


class Admission:
    """Lets at most `limit` requests for a verification in. On the event loop alone.

    A refusal must cost nearly nothing, or refusing is what keeps the process busy: so it
    is answered here, before the framework.
    """

    def __init__(self, app: App, limit: int, metrics: Metrics) -> None:
        self.app = app
        self.limit = limit
        self.metrics = metrics
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        if self._inside >= self.limit:
            await _refuse(scope, receive, send)
            return
        self._inside += 1
        self.metrics.verifying.set(self._inside)
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1
            self.metrics.verifying.set(self._inside)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    state = scope.setdefault("state", {})
    state["refusal"] = VerificationsTooMany.code
    answer = coded_problem(VerificationsTooMany(seconds=RETRY_SECONDS), state.get("request_id"))
    try:
        async with asyncio.timeout(REST_SECONDS):
            message: Message = {"more_body": True}
            while message.get("more_body", False):
                message = await receive()
    except TimeoutError:
        # Were the connection kept, the rest would be read without end.
        answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
