"""The contract as compiled: `MianjiaoAnchors.json`, from `MianjiaoAnchors.sol` beside it.

`scripts/evm/compile.js` writes it; a test compiles again and compares.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from eth_abi.abi import decode, encode

from ledger.evm.keccak import keccak
from ledger.evm.origins import origin_id

__all__ = [
    "Head",
    "anchor_call",
    "appoint_call",
    "artifact",
    "change_registrar_call",
    "code_hash",
    "deployment",
    "head_of_call",
    "origin_id",
    "read_head",
    "root_of_call",
]

NAME = "MianjiaoAnchors"


@dataclass(frozen=True, slots=True)
class Head:
    """What the contract says of a log: who may anchor it (20 bytes), the newest size, its link."""

    anchorer: bytes
    size: int
    link: bytes


@lru_cache(1)
def artifact() -> dict[str, object]:
    """`contract`, `compiler`, `settings`, `abi`, `bytecode`, `deployed_bytecode` (hex)."""
    text = resources.files(__package__).joinpath(f"{NAME}.json").read_text(encoding="utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def code_hash() -> bytes:
    """Keccak-256 of the code on the chain: what an account proof must show."""
    return keccak(bytes.fromhex(str(artifact()["deployed_bytecode"])))


def deployment(registrar: bytes, origin: str, anchorer: bytes) -> bytes:
    """The data of the transaction that makes the contract. Addresses are 20 bytes."""
    arguments = encode(["address", "bytes32", "address"], [registrar, origin_id(origin), anchorer])
    return bytes.fromhex(str(artifact()["bytecode"])) + arguments


def anchor_call(origin: str, previous: int, size: int, root: bytes) -> bytes:
    """Store `root` for `size`; the contract compares `previous` with its newest size."""
    return _call(
        "anchor(bytes32,uint64,uint64,bytes32)",
        ["bytes32", "uint64", "uint64", "bytes32"],
        [origin_id(origin), previous, size, root],
    )


def appoint_call(origin: str, anchorer: bytes) -> bytes:
    """For the registrar's key alone."""
    return _call("appoint(bytes32,address)", ["bytes32", "address"], [origin_id(origin), anchorer])


def change_registrar_call(registrar: bytes) -> bytes:
    """For the registrar's key alone."""
    return _call("changeRegistrar(address)", ["address"], [registrar])


def root_of_call(origin: str, size: int) -> bytes:
    return _call("rootOf(bytes32,uint256)", ["bytes32", "uint256"], [origin_id(origin), size])


def head_of_call(origin: str) -> bytes:
    return _call("headOf(bytes32)", ["bytes32"], [origin_id(origin)])


def read_head(result: bytes) -> Head:
    """The answer to `head_of_call`; `eth_abi`'s DecodingError for anything else."""
    anchorer, size, link = decode(["address", "uint64", "bytes32"], result)
    return Head(bytes.fromhex(anchorer[2:]), size, link)


def _call(signature: str, types: list[str], values: list[object]) -> bytes:
    return keccak(signature.encode())[:4] + encode(types, values)
