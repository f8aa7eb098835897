"""A TCP proxy on loopback that can lose an answer: the request arrives, its reply does not."""

import socket
import threading
from contextlib import suppress


class LosingProxy:
    """Forwards connections to `port`; while `losing`, whatever the server says is dropped
    and the connection is closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.losing = False
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        # Wakes the thread that accepts, which a plain close would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pump, args=(source, target, source is server), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, answering: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answering and self.losing:
                    self.lost.set()
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
