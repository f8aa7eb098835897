"""The log's own keys of one shard: where they lie, how they are made, opened and destroyed.

Each shard has a set of its own, an Ed25519 and an ML-DSA-44 key, both named after its
origin; the first may be in a PKCS#11 token. Once the shard has ended they are destroyed:
nobody can then sign another head for it, whoever gets hold of the machine.
"""

from pathlib import Path
from typing import Protocol

from ledger.errors import KeyMismatch
from ledger.keys import (
    create_key_file,
    create_mldsa44_key_file,
    destroy_key_file,
    open_key_file,
    open_mldsa44_key_file,
)
from ledger.layout import SHARD
from ledger.notes import NoteSigner
from ledger.pkcs11.signers import Tokens

KEYS = "keys"


def signer_paths(keys: Path, shard: str) -> tuple[Path, Path]:
    """The files of a shard's keys in a folder `keys`, Ed25519 first."""
    return keys / f"log-{shard}.key", keys / f"log-{shard}.mldsa44.key"


def key_path(directory: Path, shard: str) -> Path:
    return signer_paths(directory / KEYS, shard)[0]


def mldsa44_key_path(directory: Path, shard: str) -> Path:
    return signer_paths(directory / KEYS, shard)[1]


def key_shards(directory: Path) -> set[str]:
    """The shards of which there is an Ed25519 key, or a reference to one."""
    return shards_in(directory / KEYS)


def shards_in(keys: Path) -> set[str]:
    """`key_shards` from a folder of keys."""
    names = (path.name for path in keys.glob("log-*.key"))
    found = (name.removeprefix("log-").removesuffix(".key") for name in names)
    return {shard for shard in found if SHARD.fullmatch(shard)}


def open_signers(directory: Path, shard: str, tokens: Tokens | None = None) -> list[NoteSigner]:
    """The shard's keys, Ed25519 first. `FileNotFoundError`, `KeyFileUnsafe`."""
    return signers_in(directory / KEYS, shard, tokens)


def signers_in(keys: Path, shard: str, tokens: Tokens | None = None) -> list[NoteSigner]:
    """`open_signers` from a folder of keys."""
    classical, post_quantum = signer_paths(keys, shard)
    return [open_key_file(classical, tokens), open_mldsa44_key_file(post_quantum)]


def create_signers(
    directory: Path, shard: str, origin: str, tokens: Tokens | None = None
) -> list[NoteSigner]:
    """Make the keys of a new shard, durably. `LogExists` if one is there;
    what a token raises."""
    return [
        create_key_file(key_path(directory, shard), origin, tokens),
        create_mldsa44_key_file(mldsa44_key_path(directory, shard), origin),
    ]


def prepare_signers(
    directory: Path, shard: str, origin: str, tokens: Tokens | None = None
) -> list[NoteSigner]:
    """The keys of a shard that is to be: those that are there, and fresh ones for what is
    not. `KeyMismatch` if one is another origin's; `KeyFileUnsafe`; what a token raises."""
    if not key_path(directory, shard).exists():
        create_key_file(key_path(directory, shard), origin, tokens)
    if not mldsa44_key_path(directory, shard).exists():
        create_mldsa44_key_file(mldsa44_key_path(directory, shard), origin)
    signers = open_signers(directory, shard, tokens)
    if any(signer.key.name != origin for signer in signers):
        raise KeyMismatch()
    return signers


class ShardKeys(Protocol):
    """Where the keys of all shards lie."""

    def open(self, shard: str) -> list[NoteSigner]:
        """Ed25519 first. `FileNotFoundError` if they are not there, or no longer."""
        ...

    def destroy(self, shard: str) -> bool:
        """Durably; whether there were any."""
        ...


class KeyFolder:
    """`ShardKeys` in `keys/` of the store, or where its files refer to."""

    def __init__(self, directory: Path, tokens: Tokens | None) -> None:
        self._directory = directory
        self._tokens = tokens

    def open(self, shard: str) -> list[NoteSigner]:
        return open_signers(self._directory, shard, self._tokens)

    def destroy(self, shard: str) -> bool:
        return destroy_signers(self._directory, shard, self._tokens)


def destroy_signers(directory: Path, shard: str, tokens: Tokens | None = None) -> bool:
    """Destroy the keys of a shard that has ended, durably, also in a token; whether there
    were any. What a token raises: its key and the reference to it are there still."""
    there = [path for path in signer_paths(directory / KEYS, shard) if path.exists()]
    for path in there:
        destroy_key_file(path, tokens)
    return bool(there)
