"""An HTTP proxy on loopback that does to requests and answers what networks and servers do."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle


class Fault(Enum):
    BUSY = "503, and nothing was done"
    DROPPED = "the connection closes, and nothing was done"
    LOST = "it was done, but the connection closes without an answer"
    DENIED = "it was done, but the answer is 500"
    TWICE = "it is done twice; the second answer is given"
    SLOW = "the answer takes its time"
    CUT = "half of the answer's body, then the connection closes"
    FLIPPED = "one bit of the request's body is another"
    CLAIMED = "nothing was done, but the answer says so"


# What networks and honest servers do: sent again, every request gets its true answer.
PASSING = tuple(fault for fault in Fault if fault is not Fault.CLAIMED)


class FaultProxy:
    """Forwards to `port`, with the fault that `plan` names for each request, or none.

    `plan` takes method and path; `seen` counts the faults that were dealt out.
    """

    def __init__(self, port: int) -> None:
        self.plan: Callable[[str, str], Fault | None] = lambda _method, _path: None
        self.delay = 0.02
        self.seen: Counter[Fault] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                with suppress(ConnectionError, TimeoutError):
                    self.raw_requestline = self.rfile.readline(65537)
                    wanted = bool(self.raw_requestline) and self.parse_request()
                    self.close_connection = True  # unless all goes well
                    if wanted:
                        proxy._pass_on(self, port)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def once(self, fault: Fault, method: str, part: str = "") -> None:
        """Deal `fault` out to the next request of `method` whose path has `part` in it."""
        waiting = [fault]

        def plan(asked: str, path: str) -> Fault | None:
            return waiting.pop() if waiting and asked == method and part in path else None

        self.plan = plan

    def often(self) -> None:
        """Every passing fault in turn, but never two in a row for one request."""
        faults = cycle(PASSING)
        asked: Counter[tuple[str, str]] = Counter()
        lock = threading.Lock()

        def plan(method: str, path: str) -> Fault | None:
            with lock:
                asked[method, path] += 1
                return next(faults) if asked[method, path] % 3 == 1 else None

        self.plan = plan

    def _pass_on(self, handler: BaseHTTPRequestHandler, port: int) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        fault = self.plan(handler.command, handler.path)
        if fault is Fault.FLIPPED and not body:
            fault = None
        if fault is not None:
            self.seen[fault] += 1
        if fault is Fault.DROPPED:
            return
        if fault in (Fault.BUSY, Fault.CLAIMED):
            handler.send_response_only(503 if fault is Fault.BUSY else 200)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            handler.close_connection = False
            return
        if fault is Fault.FLIPPED:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if fault is Fault.SLOW:
            time.sleep(self.delay)
        for _ in range(2 if fault is Fault.TWICE else 1):
            status, headers, content = _ask(handler, port, body)
        if fault is Fault.LOST:
            return
        if fault is Fault.DENIED:
            status, headers, content = 500, [], b""
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        length = dict(headers).get("Content-Length") if handler.command == "HEAD" else None
        handler.send_header("Content-Length", length or str(len(content)))
        handler.end_headers()
        if fault is Fault.CUT:
            handler.wfile.write(content[: len(content) // 2])
            return
        handler.wfile.write(content)
        handler.close_connection = False


def _ask(
    handler: BaseHTTPRequestHandler, port: int, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.putrequest(
            handler.command, handler.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in handler.headers.items():
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()
