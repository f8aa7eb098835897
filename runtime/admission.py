"""How many verifications are under way at once in this process; more are refused at once.

A verification waits for database and object store and works in between; asked for faster
than it can be answered, each waits behind all the others, until every client has given up
before its turn. So beyond the limit a request is told when to come again, before
anybody asks who it is. Those that are let in take about limit ÷ rate seconds.
"""

from runtime.metrics import Metrics
from runtime.middleware import App, Receive, Scope, Send

PATH = "/v1/verifications"
CROWDED = "crowded"  # in the state of a request that `guard.admit` is to refuse


class Admission:
    """Counts the verifications under way, and marks those beyond `limit`. On the event
    loop alone."""

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
            scope.setdefault("state", {})[CROWDED] = True
            await self.app(scope, receive, send)
            return
        self._inside += 1
        self.metrics.verifying.set(self._inside)
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1
            self.metrics.verifying.set(self._inside)
