"""C2SP chunked-encryption (c2sp.org/chunked-encryption@v1), SHA-512 and AES-256-GCM.

Layout of a ciphertext: salt (24) ‖ commitment (32) ‖ chunks. A chunk holds
16 KiB of plaintext and a 16-byte tag; the last one is always shorter than
16 KiB and may be empty, so truncation at a chunk's border shows. Plaintext
index i stands in chunk i // 16384, which starts at 56 + chunk * 16400.

`cryptography` implements this instance under the name Cobblestone-256, from
one end to the other; what it lacks is random access, which is here. Pure:
bytes in, bytes out. An input key serves one message only.
"""

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from storage.errors import ObjectCorrupt

# Draws the salt itself. The ciphertext is what `update` and `finalize` return.
Encryptor = Cobblestone256Encryptor

KEY_BYTES = 32
SALT_BYTES = 24
COMMITMENT_BYTES = 32
HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES
CHUNK_BYTES = 16 * 1024
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
MAX_CHUNKS = 1 << 38
_NONCE_BYTES = 12
_INFO_PREFIX = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


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


def open_whole(input_key: bytes, context: bytes, sealed: bytes) -> bytes:
    """The plaintext of a message that is in memory. `ObjectCorrupt`: key, context,
    commitment, length or any chunk is not what was sealed."""
    decryptor = Cobblestone256Decryptor(input_key, context)
    try:
        plain = decryptor.update(sealed)
        return plain + decryptor.finalize()
    except InvalidTag:
        raise ObjectCorrupt(part="ciphertext") from None


class ChunkDecryptor:
    """Opens chunks of one message, in any order.

    Checks the key commitment first: `ObjectCorrupt` if key, context and header
    (the first 56 bytes) do not belong together.
    """

    def __init__(self, input_key: bytes, context: bytes, header: bytes) -> None:
        if len(header) != HEADER_BYTES:
            raise ObjectCorrupt(part="length")
        salt, commitment = header[:SALT_BYTES], header[SALT_BYTES:]
        length = KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES
        info = _INFO_PREFIX + salt + context
        derived = HKDFExpand(SHA512(), length, info).derive(input_key)
        if not bytes_eq(derived[KEY_BYTES + _NONCE_BYTES :], commitment):
            raise ObjectCorrupt(part="commitment")
        self._aead = AESGCM(derived[:KEY_BYTES])
        self._base_nonce = int.from_bytes(derived[KEY_BYTES : KEY_BYTES + _NONCE_BYTES], "big")

    def open_chunk(self, chunk: int, sealed: bytes | memoryview) -> bytes:
        """The plaintext of chunk number `chunk`, authenticated, or `ObjectCorrupt`.

        The caller knows from the message's length how long each chunk must be,
        and that only the last one is shorter than 16,400 bytes.
        """
        if not 0 <= chunk < MAX_CHUNKS:
            raise ValueError("a message has at most 2^38 chunks")
        nonce = (self._base_nonce ^ chunk).to_bytes(_NONCE_BYTES, "big")
        try:
            return self._aead.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise ObjectCorrupt(part="chunk") from None
