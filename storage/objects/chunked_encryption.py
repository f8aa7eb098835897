"""C2SP chunked-encryption (c2sp.org/chunked-encryption@v1), SHA-512 and AES-256-GCM.

Layout of a ciphertext: salt (24) ‖ commitment (32) ‖ chunks. A chunk holds
16 KiB of plaintext and a 16-byte tag; the last one is always shorter than
16 KiB and may be empty, so truncation at a chunk's border shows. Plaintext
index i stands in chunk i // 16384, which starts at 56 + chunk * 16400.

Pure: bytes in, bytes out. An input key serves one message only.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from storage.errors import ObjectCorrupt

AEAD_NAME = b"AEAD_AES_256_GCM"
KEY_BYTES = 32
SALT_BYTES = 24
COMMITMENT_BYTES = 32
HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES
CHUNK_BYTES = 16 * 1024
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
MAX_CHUNKS = 1 << 38
_NONCE_BYTES = 12
_PREFIX = b"c2sp.org/chunked-encryption@v1+" + AEAD_NAME + b"\0"

Buffer = bytes | bytearray | memoryview


def sealed_size(size: int) -> int:
    """The length of the ciphertext of `size` plaintext bytes."""
    return HEADER_BYTES + size + (size // CHUNK_BYTES + 1) * TAG_BYTES


def opened_size(sealed: int) -> int:
    """The length of the plaintext of a ciphertext of `sealed` bytes.

    Lengths that no message has are `ObjectCorrupt`: a full last chunk
    (truncated), a last chunk shorter than its tag, no whole header.
    """
    chunks, last = divmod(sealed - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if chunks < 0 or last < TAG_BYTES or chunks >= MAX_CHUNKS:
        raise ObjectCorrupt(part="length")
    return chunks * CHUNK_BYTES + last - TAG_BYTES


class _Schedule:
    """What HKDF-Expand yields for one message, and the nonce of each chunk."""

    __slots__ = ("_base_nonce", "aead", "commitment")

    def __init__(self, input_key: bytes, salt: bytes, context: bytes) -> None:
        if len(input_key) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise ValueError("the input key has 32 bytes and the salt 24")
        length = KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES
        info = _PREFIX + salt + context
        derived = HKDFExpand(SHA512(), length, info).derive(input_key)
        self.aead = AESGCM(derived[:KEY_BYTES])
        self._base_nonce = int.from_bytes(derived[KEY_BYTES : KEY_BYTES + _NONCE_BYTES], "big")
        self.commitment = derived[KEY_BYTES + _NONCE_BYTES :]

    def nonce(self, chunk: int) -> bytes:
        if not 0 <= chunk < MAX_CHUNKS:
            raise ValueError("a message has at most 2^38 chunks")
        return (self._base_nonce ^ chunk).to_bytes(_NONCE_BYTES, "big")


class Encryptor:
    """Encrypts one message as it streams by, holding back less than one chunk.

    The ciphertext is `header`, then what each `update` returns, then `finish`.
    `input_key` is fresh and random, and never serves a second message.
    """

    def __init__(self, input_key: bytes, salt: bytes, context: bytes) -> None:
        self._schedule = _Schedule(input_key, salt, context)
        self.header = salt + self._schedule.commitment
        self._held = b""
        self._chunk = 0

    def update(self, block: Buffer) -> bytearray:
        """Take any number of bytes; return the chunks that they complete."""
        view = memoryview(block)
        whole = (len(self._held) + len(view)) // CHUNK_BYTES
        sealed = bytearray(whole * SEALED_CHUNK_BYTES)
        if not whole:
            self._held += view
            return sealed
        out = memoryview(sealed)
        start = CHUNK_BYTES - len(self._held)
        self._seal(self._held + bytes(view[:start]), out[:SEALED_CHUNK_BYTES])
        for index in range(1, whole):
            chunk = view[start : start + CHUNK_BYTES]
            at = index * SEALED_CHUNK_BYTES
            self._seal(chunk, out[at : at + SEALED_CHUNK_BYTES])
            start += CHUNK_BYTES
        self._held = bytes(view[start:])
        return sealed

    def finish(self) -> bytes:
        """The last chunk, possibly an empty one. Nothing can follow it."""
        sealed = bytearray(len(self._held) + TAG_BYTES)
        self._seal(self._held, memoryview(sealed))
        self._chunk = MAX_CHUNKS  # a further update raises
        return bytes(sealed)

    def _seal(self, chunk: Buffer, out: memoryview) -> None:
        self._schedule.aead.encrypt_into(self._schedule.nonce(self._chunk), chunk, None, out)
        self._chunk += 1


class Decryptor:
    """Opens chunks of one message, in any order.

    Checks the key commitment first: `ObjectCorrupt` if key, context or header
    do not belong together.
    """

    def __init__(self, input_key: bytes, context: bytes, header: Buffer) -> None:
        if len(header) != HEADER_BYTES:
            raise ObjectCorrupt(part="length")
        salt = bytes(header[:SALT_BYTES])
        self._schedule = _Schedule(input_key, salt, context)
        if not bytes_eq(self._schedule.commitment, bytes(header[SALT_BYTES:])):
            raise ObjectCorrupt(part="commitment")

    def open_chunk(self, chunk: int, sealed: Buffer) -> bytes:
        """The plaintext of chunk number `chunk`, authenticated, or `ObjectCorrupt`.

        The caller knows from the message's length how long each chunk must be,
        and that the last one is shorter than the others.
        """
        if not TAG_BYTES <= len(sealed) <= SEALED_CHUNK_BYTES:
            raise ObjectCorrupt(part="length")
        try:
            return self._schedule.aead.decrypt(self._schedule.nonce(chunk), sealed, None)
        except InvalidTag:
            raise ObjectCorrupt(part="chunk") from None

    def open_whole(self, sealed: Buffer) -> bytes:
        """The plaintext of all chunks of a message held in memory (without header)."""
        size = opened_size(HEADER_BYTES + len(sealed))
        view = memoryview(sealed)
        plain = bytearray(size)
        out = memoryview(plain)
        aead, nonce = self._schedule.aead, self._schedule.nonce
        try:
            for chunk in range(size // CHUNK_BYTES + 1):
                at, to = chunk * SEALED_CHUNK_BYTES, chunk * CHUNK_BYTES
                aead.decrypt_into(
                    nonce(chunk),
                    view[at : at + SEALED_CHUNK_BYTES],
                    None,
                    out[to : to + CHUNK_BYTES],
                )
        except InvalidTag:
            raise ObjectCorrupt(part="chunk") from None
        return bytes(plain)
