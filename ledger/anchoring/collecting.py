"""Turns a node's JSON into evidence, and verifies it before it is kept."""

from ledger.anchoring.errors import NodeAnswerInvalid
from ledger.anchoring.node import Block, ChainNode, data_of
from ledger.evm import contract
from ledger.evm.evidence import storage_key, verify_chain_evidence
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainEvidence, ChainTrust, Consensus
from ledger.evm.rlp_items import Item, encode

_METHOD = "eth_getBlockByNumber"
_HASHED = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
)
# What forks added, in their order; a header has the first few of them.
_ADDED = (
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)
_NUMBERS = frozenset(
    {
        "difficulty",
        "number",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "baseFeePerGas",
        "blobGasUsed",
        "excessBlobGas",
    }
)


def header_of(block: Block, consensus: Consensus) -> bytes:
    """The header's RLP. It must have the hash that the node says the block has."""
    names = [*_HASHED, *(name for name in _ADDED if block.fields.get(name) is not None)]
    items: list[Item] = [_item(block, name) for name in names]
    raw = encode(items)
    if block_hash(parse_header(raw), consensus) != block.hash:
        raise NodeAnswerInvalid(method=_METHOD, reason="the header has another hash")
    return raw


def collect(
    node: ChainNode,
    block: Block,
    *,
    address: bytes,
    origin: str,
    size: int,
    root: bytes,
    consensus: Consensus,
    following: int = 0,
) -> ChainEvidence | None:
    """Evidence that the contract held `root` at the end of `block`; None where the node
    offers no proofs. `following`: how many headers after it are kept (Clique)."""
    key = storage_key(contract.origin_id(origin), size)
    proof = node.proof(address, key, block.number)
    if proof is None:
        return None
    header = header_of(block, consensus)
    evidence = ChainEvidence(address, header, proof.account, proof.storage)
    trust = ChainTrust(
        name="",
        contract=address,
        code_hash=contract.code_hash(),
        consensus=consensus,
        blocks=frozenset({block.hash}),
    )
    verify_chain_evidence(evidence, trust, contract.origin_id(origin), size, root)
    rows = []
    for number in range(block.number + 1, block.number + 1 + following):
        after = node.block(number)
        if after is None:
            break
        rows.append(header_of(after, consensus))
    return ChainEvidence(address, header, proof.account, proof.storage, tuple(rows))


def _item(block: Block, name: str) -> bytes:
    value = block.fields.get(name)
    if name not in _NUMBERS:
        return data_of(value, _METHOD)
    if not isinstance(value, str) or not value.startswith("0x"):
        raise NodeAnswerInvalid(method=_METHOD, reason=f"no {name}")
    try:
        number = int(value, 16)
    except ValueError:
        raise NodeAnswerInvalid(method=_METHOD, reason=f"{name} is no number") from None
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
