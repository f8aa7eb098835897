"""What is asked of a chain's node, with answers checked for form. Believed for nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from ledger.anchoring.errors import (
    NodeAnswerInvalid,
    NodeRefused,
    WrongChain,
    WrongContract,
)
from ledger.anchoring.rpc import JsonRpc
from ledger.evm import contract
from ledger.evm.keccak import keccak

_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.ASCII)
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)
_METHOD_NOT_FOUND = -32601


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction's receipt: the block that holds it, and whether it succeeded."""

    block: int
    block_hash: bytes
    succeeded: bool
    gas: int
    contract: bytes | None


@dataclass(frozen=True, slots=True)
class Block:
    """A block as JSON, with what is asked for most."""

    number: int
    hash: bytes
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StateProof:
    """An answer to eth_getProof, unverified."""

    account: tuple[bytes, ...]
    storage: tuple[bytes, ...]


class ChainNode:
    """One node. Safe from many threads. Every method raises what `JsonRpc.call` raises."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc

    def close(self) -> None:
        self._rpc.close()

    def chain_id(self) -> int:
        return self._quantity("eth_chainId")

    def require_contract(self, chain_id: int, address: bytes) -> None:
        """`WrongChain`, `WrongContract` unless our contract stands there on this chain."""
        found = self.chain_id()
        if found != chain_id:
            raise WrongChain(found=found, expected=chain_id)
        if self.code_hash(address) != contract.code_hash():
            raise WrongContract()

    def nonce(self, account: bytes) -> int:
        """How many transactions of the account are in blocks."""
        return self._quantity("eth_getTransactionCount", hex_of(account), "latest")

    def gas_price(self) -> int:
        """In wei."""
        return self._quantity("eth_gasPrice")

    def code_hash(self, address: bytes) -> bytes:
        return keccak(self._data("eth_getCode", hex_of(address), "latest"))

    def head_of(self, address: bytes, origin: str) -> contract.Head:
        answer = self._eth_call(address, contract.head_of_call(origin))
        try:
            return contract.read_head(answer)
        except DecodingError:
            raise NodeAnswerInvalid(method="eth_call", reason="not a head") from None

    def root_of(self, address: bytes, origin: str, size: int) -> bytes:
        """32 bytes; zeros: the size was not anchored."""
        return self._eth_call(address, contract.root_of_call(origin, size))

    def send(self, raw: bytes) -> None:
        """Hand over a signed transaction. No error: the node has it already, or its nonce is
        used; then it is mined, or another was, and the next look shows which."""
        try:
            self._rpc.call("eth_sendRawTransaction", hex_of(raw))
        except NodeRefused as refused:
            if not _known(str(refused.details["message"])):
                raise

    def mined(self, transaction: bytes) -> Mined | None:
        """Where a transaction stands; None while it is in no block."""
        method = "eth_getTransactionReceipt"
        answer = self._rpc.call(method, hex_of(transaction))
        if answer is None:
            return None
        fields = _fields(answer, method)
        if fields.get("blockHash") is None or fields.get("blockNumber") is None:
            return None
        made = fields.get("contractAddress")
        return Mined(
            block=_number(fields["blockNumber"], method),
            block_hash=data_of(fields["blockHash"], method, 32),
            succeeded=_number(fields.get("status"), method) == 1,
            gas=_number(fields.get("gasUsed"), method),
            contract=None if made is None else data_of(made, method, 20),
        )

    def block(self, which: int | str) -> Block | None:
        """A block by number or tag (`latest`, `finalized`)."""
        method = "eth_getBlockByNumber"
        tag = which if isinstance(which, str) else hex(which)
        answer = self._rpc.call(method, tag, False)
        if answer is None:
            return None
        fields = _fields(answer, method)
        number = _number(fields.get("number"), method)
        return Block(number, data_of(fields.get("hash"), method, 32), fields)

    def finalized(self) -> int:
        """The number of the newest final block; -1 where the node knows of none."""
        try:
            block = self.block("finalized")
        except NodeRefused:
            return -1
        return -1 if block is None else block.number

    def proof(self, address: bytes, key: bytes, block: int) -> StateProof | None:
        """Proofs at the end of a block; None where the node does not offer them."""
        method = "eth_getProof"
        try:
            answer = self._rpc.call(method, hex_of(address), [hex_of(key)], hex(block))
        except NodeRefused as refused:
            if refused.details["number"] == _METHOD_NOT_FOUND:
                return None
            raise
        fields = _fields(answer, method)
        slots = fields.get("storageProof")
        if not isinstance(slots, list) or len(slots) != 1:
            raise NodeAnswerInvalid(method=method, reason="not one slot")
        return StateProof(
            _nodes(fields.get("accountProof"), method),
            _nodes(_fields(slots[0], method).get("proof"), method),
        )

    def _eth_call(self, address: bytes, data: bytes) -> bytes:
        return self._data("eth_call", {"to": hex_of(address), "data": hex_of(data)}, "latest")

    def _quantity(self, method: str, *params: Any) -> int:
        return _number(self._rpc.call(method, *params), method)

    def _data(self, method: str, *params: Any) -> bytes:
        return data_of(self._rpc.call(method, *params), method)


def hex_of(data: bytes) -> str:
    return "0x" + data.hex()


def data_of(value: object, method: str, size: int | None = None) -> bytes:
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise NodeAnswerInvalid(method=method, reason="not data in hex")
    raw = bytes.fromhex(value[2:])
    if size is not None and len(raw) != size:
        raise NodeAnswerInvalid(method=method, reason=f"not {size} bytes")
    return raw


def _number(value: object, method: str) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise NodeAnswerInvalid(method=method, reason="not a number in hex")
    return int(value, 16)


def _fields(value: object, method: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NodeAnswerInvalid(method=method, reason="not an object")
    return value


def _nodes(value: object, method: str) -> tuple[bytes, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise NodeAnswerInvalid(method=method, reason="not a list of nodes")
    return tuple(data_of(one, method) for one in value)


def _known(message: str) -> bool:
    """What nodes say of a transaction that waits with them already, or no more; their error
    codes do not tell."""
    told = message.lower()
    return any(words in told for words in ("already", "known transaction", "nonce too low"))
