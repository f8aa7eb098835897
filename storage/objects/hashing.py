"""Digests of content: SHA-256 for everyone, SM3 (GB/T 32905) for Chinese law.

SM3 has no instructions in common processors and is eight times slower, so for
large content it runs in a thread of its own, beside reading, encrypting and
writing. The library releases the interpreter lock meanwhile; it brings its own
OpenSSL, while hashlib depends on the system's, which may lack SM3.
"""

import weakref
from dataclasses import dataclass
from queue import Queue
from threading import Thread

from cryptography.hazmat.primitives.hashes import SM3, Hash

_QUEUE_BLOCKS = 4  # how far the rest may run ahead of SM3: with 1 MiB blocks, 4 MiB


@dataclass(frozen=True, slots=True)
class Digests:
    """Of the plaintext. `size` in bytes, digests of 32 bytes; `sm3` only if asked for."""

    size: int
    sha256: bytes
    sm3: bytes | None


def sm3_digest(data: bytes) -> bytes:
    """The SM3 digest of content that is in memory."""
    state = Hash(SM3())
    state.update(data)
    return state.finalize()


class Sm3Thread:
    """SM3 of a stream, computed in a thread of its own. `update` waits when it is behind."""

    def __init__(self) -> None:
        self._hash = Hash(SM3())
        self._queue: Queue[bytes | None] = Queue(_QUEUE_BLOCKS)
        self._thread = Thread(target=_work, args=(self._queue, self._hash), name="sm3", daemon=True)
        self._thread.start()
        # A stream that is dropped half-way must not leave its thread waiting.
        self._end = weakref.finalize(self, self._queue.put, None)

    def update(self, block: bytes) -> None:
        self._queue.put(block)

    def end(self) -> None:
        """Nothing follows: lets the thread run out while the caller does other things."""
        self._end()

    def digest(self) -> bytes:
        """Wait for the rest and return 32 bytes. Once."""
        self.end()
        self._thread.join()
        return self._hash.finalize()


def _work(queue: "Queue[bytes | None]", state: Hash) -> None:
    while (block := queue.get()) is not None:
        state.update(block)
