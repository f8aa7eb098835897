"""That a contract held a checkpoint's root at the end of a block: verified without a node.

Header, proof of the contract's account (and with it of its code), proof of one storage
slot. Whether the block is the chain's is the verifier's rule: pinned block hashes, or
pinned validators of a proof-of-authority chain.
"""

from ledger.evm.errors import ChainEvidenceInvalid, ChainEvidenceMalformed, ChainNotTrusted
from ledger.evm.headers import block_hash, parse_header, require_sealed
from ledger.evm.keccak import keccak
from ledger.evm.model import Anchored, ChainEvidence, ChainTrust
from ledger.evm.rlp_items import decode_list, octets
from ledger.evm.trie_proofs import proved_value

ROOTS_SLOT = 0
MAX_FOLLOWING = 600


def verify_chain_evidence(
    evidence: ChainEvidence, trust: ChainTrust, origin: bytes, size: int, root: bytes
) -> Anchored:
    """The contract of `trust` held `root` for `size` of the log `origin` (its SHA-256).

    `ChainEvidenceMalformed`, `ChainEvidenceInvalid` or `ChainNotTrusted`.
    """
    if len(evidence.following) > MAX_FOLLOWING:
        raise ChainEvidenceMalformed(reason="too many headers")
    if evidence.contract != trust.contract:
        raise ChainNotTrusted(reason="another contract")
    header = parse_header(evidence.header)
    found = block_hash(header, trust.consensus)
    if trust.blocks:
        if found not in trust.blocks:
            raise ChainNotTrusted(reason="its hash is not pinned")
        if evidence.following:
            raise ChainEvidenceInvalid(reason="following blocks have no meaning here")
    else:
        require_sealed(header, evidence.following, trust.consensus, trust.validators)
    storage_root = _storage_root(header.state_root, evidence, trust.code_hash)
    value = proved_value(storage_root, storage_key(origin, size), evidence.storage)
    if value != _stored(root):
        raise ChainEvidenceInvalid(reason="the contract holds another root")
    return Anchored(trust.name, header.number, found, header.time)


def storage_key(origin: bytes, size: int, slot: int = ROOTS_SLOT) -> bytes:
    """Where `roots[origin][size]` stands in the contract's storage."""
    inner = keccak(origin + slot.to_bytes(32, "big"))
    return keccak(size.to_bytes(32, "big") + inner)


def _storage_root(state_root: bytes, evidence: ChainEvidence, code_hash: bytes) -> bytes:
    account = decode_list(proved_value(state_root, evidence.contract, evidence.account))
    if len(account) != 4:
        raise ChainEvidenceMalformed(reason="an account has four items")
    if octets(account[3], 32) != code_hash:
        raise ChainEvidenceInvalid(reason="the contract has other code")
    return octets(account[2], 32)


def _stored(root: bytes) -> bytes:
    """The RLP of a 32-byte word as storage keeps it: without leading zeros."""
    word = root.lstrip(b"\0")
    if not word:
        raise ChainEvidenceInvalid(reason="a zero root is never stored")
    return word if len(word) == 1 and word < b"\x80" else bytes([0x80 + len(word)]) + word
