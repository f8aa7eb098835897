"""Block headers: their hash, and who sealed them, by the chain's kind of consensus.

Plain and Clique: the hash of the header is the block's. Clique: the last 65 bytes of
`extraData` are one signer's seal. QBFT and IBFT 2: `extraData` is the RLP of vanity,
validators, vote, round and seals; the seals cover one form of the header, the block hash is
that of another. Forks add fields at the end; whichever are present are encoded again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.evm.errors import ChainEvidenceInvalid, ChainEvidenceMalformed, ChainNotTrusted
from ledger.evm.keccak import keccak
from ledger.evm.model import Consensus
from ledger.evm.rlp_items import Item, decode_list, encode, number, octets

SEAL = 65
_PARENT, _STATE, _NUMBER, _TIME, _EXTRA = 0, 3, 8, 11, 12
_MIN_FIELDS, _MAX_FIELDS = 15, 32
_MAX_SEALS = 600


@dataclass(frozen=True, slots=True)
class Header:
    """Parsed, not trusted. `time` is the proposer's claim, seconds since 1970."""

    raw: bytes
    fields: tuple[Item, ...]
    parent: bytes
    state_root: bytes
    number: int
    time: int
    extra: bytes


def parse_header(data: bytes) -> Header:
    """Read a header's RLP; `ChainEvidenceMalformed`."""
    fields = decode_list(data)
    if not _MIN_FIELDS <= len(fields) <= _MAX_FIELDS:
        raise ChainEvidenceMalformed(reason="not a block header")
    return Header(
        raw=data,
        fields=tuple(fields),
        parent=octets(fields[_PARENT], 32),
        state_root=octets(fields[_STATE], 32),
        number=number(fields[_NUMBER]),
        time=number(fields[_TIME]),
        extra=octets(fields[_EXTRA]),
    )


def block_hash(header: Header, consensus: Consensus) -> bytes:
    """The hash by which the chain knows the block."""
    if consensus in (Consensus.PLAIN, Consensus.CLIQUE):
        return keccak(header.raw)
    vanity, validators, vote, _round, _seals = _extra(header)
    if consensus is Consensus.QBFT:
        return _hash_with(header, [vanity, validators, vote, b"", []])
    return _hash_with(header, [vanity, validators, vote])


def require_sealed(
    header: Header,
    following: Sequence[bytes],
    consensus: Consensus,
    validators: Collection[bytes],
) -> None:
    """The block is sealed by enough distinct `validators` (20-byte addresses): two thirds
    with QBFT and IBFT 2; with Clique more than half, who sealed it or blocks that follow it.

    `ChainNotTrusted`, or `ChainEvidenceInvalid` for a seal that is none.
    """
    if consensus is Consensus.CLIQUE:
        needed = len(validators) // 2 + 1
        signers = _clique_signers(header, following)
        strangers = signers - set(validators)
        if strangers:  # a chain of one trusted block among others proves nothing
            raise ChainNotTrusted(reason="a block is sealed by somebody else")
    elif consensus is Consensus.PLAIN:
        raise ChainNotTrusted(reason="nothing is sealed on such a chain")
    else:
        if following:
            raise ChainEvidenceInvalid(reason="following blocks have no meaning here")
        needed = -(-2 * len(validators) // 3)
        signers = _committed(header, consensus, validators)
    if len(signers) < needed:
        raise ChainNotTrusted(reason=f"{len(signers)} of {needed} validators sealed it")


def _clique_signers(header: Header, following: Sequence[bytes]) -> set[bytes]:
    signers = {_clique_signer(header)}
    previous = header
    for raw in following:
        next_header = parse_header(raw)
        if next_header.parent != keccak(previous.raw):
            raise ChainEvidenceInvalid(reason="a block does not follow the one before it")
        if next_header.number != previous.number + 1:
            raise ChainEvidenceInvalid(reason="blocks are not numbered in a row")
        signers.add(_clique_signer(next_header))
        previous = next_header
    return signers


def _clique_signer(header: Header) -> bytes:
    if len(header.extra) < 32 + SEAL:
        raise ChainEvidenceInvalid(reason="no seal")
    digest = keccak(encode(_with_extra(header, header.extra[:-SEAL])))
    return recover(digest, header.extra[-SEAL:])


def _committed(header: Header, consensus: Consensus, validators: Collection[bytes]) -> set[bytes]:
    """Who sealed it. A seal too many, twice or by a stranger is refused: nothing covers the
    list of seals itself, and a changed one must not pass unseen."""
    vanity, listed, vote, round_, seals = _extra(header)
    if not isinstance(seals, list) or len(seals) > _MAX_SEALS:
        raise ChainEvidenceMalformed(reason="seals are a list of at most 600")
    kept = [vanity, listed, vote, round_]
    digest = _hash_with(header, [*kept, []] if consensus is Consensus.QBFT else kept)
    signers = {recover(digest, octets(seal, SEAL)) for seal in seals}
    if len(signers) != len(seals) or not signers <= set(validators):
        raise ChainNotTrusted(reason="a seal is not by a pinned validator, or stands twice")
    return signers


def recover(digest: bytes, seal: bytes) -> bytes:
    """The address whose key made this seal (r ‖ s ‖ 0 or 1)."""
    # Only here: pinned blocks need no seals, and this is slow to load.
    from coincurve import PublicKey

    if seal[-1] > 1:
        raise ChainEvidenceInvalid(reason="a seal is no signature")
    try:
        public = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    except ValueError as error:
        raise ChainEvidenceInvalid(reason="a seal is no signature") from error
    return keccak(public.format(compressed=False)[1:])[12:]


def _extra(header: Header) -> list[Item]:
    items = decode_list(header.extra)
    if len(items) != 5:
        raise ChainEvidenceMalformed(reason="extraData has five items")
    return items


def _hash_with(header: Header, extra: list[Item]) -> bytes:
    return keccak(encode(_with_extra(header, encode(extra))))


def _with_extra(header: Header, extra: bytes) -> list[Item]:
    return [*header.fields[:_EXTRA], extra, *header.fields[_EXTRA + 1 :]]
