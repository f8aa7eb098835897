"""The plain loops that the product is measured against: what must be done, and nothing else."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 16 * 1024
BLOCK = 1 << 20


def pattern(size: int, seed: bytes = b"mianjiao") -> Iterator[bytes]:
    """`size` bytes in blocks of 1 MiB that do not compress; cheap to make."""
    base = hashlib.shake_256(seed).digest(BLOCK)
    sent = 0
    number = 0
    while sent < size:
        block = number.to_bytes(8, "big") + base[8:]
        block = block[: min(BLOCK, size - sent)]
        yield block
        sent += len(block)
        number += 1


def keep(blocks: Iterable[bytes], path: Path) -> None:
    """SHA-256 and SM3 over the plaintext, AES-256-GCM in chunks of 16 KiB, write, fsync."""
    sha256, sm3 = hashlib.sha256(), hashlib.new("sm3")
    cipher, base = AESGCM(os.urandom(32)), int.from_bytes(os.urandom(12), "big")
    number = 0
    with path.open("wb") as target:
        for block in blocks:
            sha256.update(block)
            sm3.update(block)
            for start in range(0, len(block), CHUNK):
                nonce = (base ^ number).to_bytes(12, "big")
                target.write(cipher.encrypt(nonce, block[start : start + CHUNK], None))
                number += 1
        target.flush()
        os.fsync(target.fileno())


def keep_files(files: Sequence[Path], folder: Path) -> None:
    """`keep` for many small files: read, hash, encrypt, write, fsync, one after another."""
    for number, file in enumerate(files):
        keep([file.read_bytes()], folder / str(number))
