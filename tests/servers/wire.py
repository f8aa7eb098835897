"""A way to PostgreSQL that loses a commit, or the answer to one."""

import socket
import threading
from contextlib import suppress


class Wire:
    """A relay that cuts the connection at a COMMIT: before it arrives, or before its answer."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: str | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                silent = threading.Event()
                for source, target, watched in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._relay, args=(source, target, watched, silent), daemon=True
                    ).start()

    def _relay(
        self, source: socket.socket, target: socket.socket, watched: bool, silent: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if watched and self.cut is not None and b"COMMIT\0" in data:
                    cut, self.cut = self.cut, None
                    if cut == "before":
                        break
                    silent.set()
                if silent.is_set() and not watched:
                    break  # the answer to the commit
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
