"""SHA-256, SHA-512 and SM3 of a stream in one pass, side by side.

SM3 is the slow one (about 0.25 GB/s): large blocks are hashed on three threads,
because the digests release the interpreter lock.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final

from cryptography.hazmat.primitives.hashes import SM3, Hash

from archive.rfc8493 import Member

BLOCK: Final = 1 << 20
_SIDE_BY_SIDE: Final = 1 << 17  # below this, handing over costs more than it saves


class Digester:
    """Hashes any number of files, one after the other. One thread at a time.

    Use as a context manager; `member()` ends one file and begins the next.
    """

    def __init__(self, *, sm3: bool = True) -> None:
        """Without `sm3`, that digest stays empty and the work takes half the time."""
        self._with_sm3 = sm3
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="digests")
        self._begin()

    def __enter__(self) -> "Digester":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def update(self, block: bytes) -> None:
        """Add bytes to the current file. Best in blocks of `BLOCK`."""
        self._size += len(block)
        if len(block) < _SIDE_BY_SIDE:
            self._sha512.update(block)
            if self._sm3 is not None:
                self._sm3.update(block)
            self._sha256.update(block)
            return
        others = [self._pool.submit(self._sha512.update, block)]
        if self._sm3 is not None:
            others.append(self._pool.submit(self._sm3.update, block))
        self._sha256.update(block)
        for other in others:
            other.result()

    def member(self) -> Member:
        """Size and digests of the file that ends here."""
        member = Member(
            self._size,
            self._sha256.hexdigest(),
            self._sha512.hexdigest(),
            "" if self._sm3 is None else self._sm3.finalize().hex(),
        )
        self._begin()
        return member

    def discard(self) -> None:
        """Forget the current file."""
        self._begin()

    def _begin(self) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()
        # Not hashlib's: an OpenSSL built without SM3 lacks it there.
        self._sm3 = Hash(SM3()) if self._with_sm3 else None


def digest_bytes(data: bytes) -> Member:
    """Size and all three digests of what is in memory."""
    with Digester() as digester:
        digester.update(data)
        return digester.member()
