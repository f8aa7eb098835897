"""The specification of chunked encryption written down plainly, and its golden vectors.

Independent of the product's code: HKDF by hand (RFC 5869), the cipher one chunk
at a time. `python tests/storage/c2sp_reference.py` writes the vectors anew.
"""

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = Path(__file__).parent.parent / "vectors" / "storage" / "chunked_encryption.json"
SIZES = (0, 1, 1024, 16383, 16384, 16385, 20480, 32768, 49157)


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    output = block = b""
    while len(output) < length:
        counter = bytes([len(output) // 64 + 1])
        block = hmac.new(prk, block + info + counter, hashlib.sha512).digest()
        output += block
    return output[:length]


def encrypt(input_key: bytes, salt: bytes, context: bytes, message: bytes) -> bytes:
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\x00" + salt + context
    derived = hkdf_expand(input_key, info, 32 + 12 + 32)
    key, base_nonce, commitment = derived[:32], derived[32:44], derived[44:]
    sealed = salt + commitment
    number = 0
    while True:
        chunk = message[number * 16384 : (number + 1) * 16384]
        nonce = bytes(a ^ b for a, b in zip(base_nonce, number.to_bytes(12, "big"), strict=True))
        sealed += AESGCM(key).encrypt(nonce, chunk, b"")
        if len(chunk) < 16384:
            return sealed
        number += 1


def message(size: int) -> bytes:
    """Bytes without a pattern that every chunk would share."""
    return hashlib.shake_256(b"message").digest(size)


def vectors() -> list[dict[str, str | int]]:
    result: list[dict[str, str | int]] = []
    for size in SIZES:
        for context in (b"", b"0123456789abcdef0123456789abcdef"):
            seed = hashlib.shake_256(f"{size}".encode() + context).digest(32 + 24)
            key, salt = seed[:32], seed[32:]
            sealed = encrypt(key, salt, context, message(size))
            result.append(
                {
                    "size": size,
                    "input_key": key.hex(),
                    "salt": salt.hex(),
                    "context": context.decode(),
                    "commitment": sealed[24:56].hex(),
                    "first_tag": sealed[56 : 56 + 16400][-16:].hex(),
                    "last_tag": sealed[-16:].hex(),
                    "sealed_size": len(sealed),
                    "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
                }
            )
    return result


def text() -> str:
    return json.dumps({"spec": "c2sp.org/chunked-encryption@v1", "vectors": vectors()}, indent=1)


if __name__ == "__main__":
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(text() + "\n")
