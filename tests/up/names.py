"""A name server on loopback that says whatever a test tells it to: A records, at once."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

_QUESTION = 12  # where it begins, after the header (RFC 1035, 4.1)


class Names:
    """Addresses by name. A name without any is said not to exist."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses

    def answer(self, asked: bytes) -> bytes:
        """Answers one question of class IN (RFC 1035)."""
        labels, at = [], _QUESTION
        while asked[at]:
            labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        question = asked[_QUESTION : at + 5]
        found = self.addresses.get(".".join(labels), [])
        # Response, recursion available; name error where there is nothing.
        flags = b"\x81\x80" if found else b"\x81\x83"
        counts = b"\0\1" + len(found).to_bytes(2, "big") + bytes(4)
        # The name of the question, A, IN, kept for ten minutes: `valid` must stand above that.
        head = b"\xc0\x0c" + b"\0\1" + b"\0\1" + (600).to_bytes(4, "big") + b"\0\4"
        records = b"".join(head + IPv4Address(one).packed for one in found)
        return asked[:2] + flags + counts + question + records

    @contextmanager
    def served(self) -> Iterator[int]:
        """The UDP port on 127.0.0.1."""

        class Handler(socketserver.DatagramRequestHandler):
            def handle(handler) -> None:
                handler.wfile.write(self.answer(handler.rfile.read()))

        with socketserver.UDPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            try:
                yield server.server_address[1]
            finally:
                server.shutdown()
