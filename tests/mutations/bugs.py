"""Checks that a verifier might forget, each left out for the time of a run.

The product has no switch for any of them. `family`, `where`, `donor`: among which
changes the missing check must show.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import ledger.anchor_checks
import ledger.anchors
import ledger.cosignatures
import ledger.evm.evidence
import ledger.evm.headers
import ledger.evm.trie_proofs
import ledger.notes
import ledger.receipts
import ledger.stamps.verifying
from ledger.errors import SignatureInvalid
from ledger.evm.evidence import storage_key
from ledger.evm.rlp_items import decode_list, octets
from ledger.leaves import blinded_leaf
from ledger.notes import SignatureType
from ledger.proofs import LogProof


@dataclass(frozen=True)
class Bug:
    name: str
    family: str
    where: str
    plant: Callable[[], AbstractContextManager[Any]]
    donor: str = ""  # of swaps: from whom


def _at(owner: Any, name: str, wrong: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, wrong)


def _nothing(*_arguments: Any, **_named: Any) -> None:
    return None


# --- Receipt and checkpoint ---


def _lenient_json(data: bytes) -> Any:
    return json.loads(data)


def _lenient_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text)
    except ValueError:
        return None


@contextmanager
def _commitment_unchecked() -> Iterator[None]:
    """The entry is believed to be that of the record."""
    usual = ledger.receipts.parse_receipt

    def noted(data: bytes) -> Any:
        receipt = usual(data)
        with_entry = mock.Mock(return_value=receipt.entry)
        ledger.receipts.blinded_leaf = with_entry
        return receipt

    try:
        with mock.patch.object(ledger.receipts, "parse_receipt", noted):
            yield
    finally:
        ledger.receipts.blinded_leaf = blinded_leaf


def _believing(kind: SignatureType) -> Any:
    usual = ledger.cosignatures._verify

    def wrong(checkpoint: Any, key: Any, blob: bytes) -> int | None:
        if key.type is not kind:
            return usual(checkpoint, key, blob)
        return None if kind is SignatureType.ED25519 else int.from_bytes(blob[:8], "big")

    return wrong


def _known_twice(signed: Any, keys: Any) -> Any:
    """A known key may sign again: the last one counts, and the first goes unverified."""
    known = {(key.name, key.key_id): key for key in keys}
    lines = {(line.name, line.key_id): line for line in signed.note.signatures}
    return [
        ledger.cosignatures.VerifiedSignature(
            known[identity],
            ledger.cosignatures._verify(signed.checkpoint, known[identity], line.blob),
        )
        for identity, line in lines.items()
        if identity in known
    ]


def _time_unsigned(usual: Any) -> Any:
    """The time of a cosignature is that of the line; any near one is accepted."""

    def wrong(checkpoint: Any, key: Any, blob: bytes) -> int | None:
        time = int.from_bytes(blob[:8], "big")
        for moved in (0, 1, -1):
            tried = (time + moved).to_bytes(8, "big", signed=False) if time + moved >= 0 else b""
            try:
                usual(checkpoint, key, tried + blob[8:])
            except SignatureInvalid:
                continue
            return time
        return usual(checkpoint, key, blob)  # type: ignore[no-any-return]

    return wrong


# --- Anchors ---


@contextmanager
def _anchors_place_unchecked() -> Iterator[None]:
    """Only the receipt's own proof is checked: an anchor's may be about another entry."""
    main: list[LogProof] = []
    usual, parse = LogProof.verify_leaf, ledger.receipts.parse_proof

    def noted(data: bytes) -> LogProof:
        main[:] = [parse(data)]
        return main[0]

    def wrong(self: LogProof, leaf: bytes) -> None:
        if self is main[0]:
            usual(self, leaf)

    with (
        mock.patch.object(ledger.receipts, "parse_proof", noted),
        mock.patch.object(LogProof, "verify_leaf", wrong),
    ):
        yield


def _origin_unchecked(usual: Any) -> Any:
    def wrong(anchor: Any, leaf: bytes, _origin: str, *rest: Any) -> Any:
        return usual(anchor, leaf, anchor.proof.checkpoint.checkpoint.origin, *rest)

    return wrong


# --- Chain ---


def _code_unchecked(state_root: bytes, evidence: Any, _code_hash: bytes) -> bytes:
    proved = ledger.evm.trie_proofs.proved_value(state_root, evidence.contract, evidence.account)
    return octets(decode_list(proved)[2], 32)


def _value_unchecked(usual: Any) -> Any:
    """What the contract holds is compared with itself."""

    def wrong(evidence: Any, trust: Any, origin: bytes, size: int, root: bytes) -> Any:
        header = ledger.evm.headers.parse_header(evidence.header)
        storage = ledger.evm.evidence._storage_root(header.state_root, evidence, trust.code_hash)
        held = ledger.evm.trie_proofs.proved_value(
            storage, storage_key(origin, size), evidence.storage
        )
        return usual(evidence, trust, origin, size, held[1:])

    return wrong


def _node_unhashed(reference: Any, rest: list[bytes]) -> Any:
    if isinstance(reference, list):
        return reference
    if not rest:
        raise ledger.evm.errors.ChainEvidenceInvalid(reason="a node is missing")
    return decode_list(rest.pop(0))


def _any_signer(usual: Any) -> Any:
    def wrong(header: Any, following: Any, consensus: Any, _validators: Any) -> Any:
        strangers = ledger.evm.headers._clique_signers(header, following)
        return usual(header, following, consensus, strangers)

    return wrong


def _seals_counted(header: Any, consensus: Any, validators: Any) -> set[Any]:
    """Each seal counts, whoever's and however often."""
    *_kept, seals = ledger.evm.headers._extra(header)
    assert isinstance(seals, list)
    return set(range(len(seals)))


def _unlinked(header: Any, following: Any) -> set[bytes]:
    parse = ledger.evm.headers.parse_header
    return {ledger.evm.headers._clique_signer(one) for one in [header, *map(parse, following)]}


def _surplus_nodes_pass(value: Any, _rest: list[bytes]) -> bytes:
    return octets(value)


# --- Stamps ---


def _renewals_unchecked(usual: Any) -> Any:
    def wrong(tokens: Any, certificates: Any, roots: bytes, message: bytes) -> Any:
        return usual(tokens[:1], certificates, roots, message)

    return wrong


def _message_unchecked(usual: Any) -> Any:
    """The digest in the stamp is taken for that of the checkpoint."""

    def wrong(tokens: Any, certificates: Any, roots: bytes, message: bytes) -> Any:
        for known in (message, b"else"):
            try:
                return usual(tokens[:1], certificates, roots, known)
            except ledger.stamps.verifying.StampInvalid:
                continue
        return usual(tokens, certificates, roots, message)

    return wrong


def _roots_from_anywhere(der: bytes) -> Any:
    return ledger.stamps.verifying.x509.load_der_x509_certificate(der)


_chain = ledger.evm.evidence
_stamps = ledger.stamps.verifying

BUGS = [
    Bug(
        "duplicate keys are read",
        "json",
        "/.* twice",
        _at(ledger.receipts, "parse_record", _lenient_json),
    ),
    Bug(
        "base64 in any spelling",
        "json",
        "/anchors/./header.*",
        _at(ledger.anchors, "decode_base64", _lenient_base64),
    ),
    Bug("the record is not compared with the entry", "json", "/record/.*", _commitment_unchecked),
    Bug(
        "the path to the root is not followed",
        "proofs",
        "/proof .*",
        _at(LogProof, "verify_leaf", _nothing),
    ),
    Bug(
        "the log's Ed25519 signature is not verified",
        "proofs",
        "/proof .*",
        _at(ledger.cosignatures, "_verify", _believing(SignatureType.ED25519)),
    ),
    Bug(
        "a post-quantum signature is not verified",
        "proofs",
        "/proof .*",
        _at(ledger.cosignatures, "_verify", _believing(SignatureType.COSIGNATURE_MLDSA44)),
    ),
    Bug(
        "a cosignature is not verified",
        "proofs",
        "/proof .*",
        _at(ledger.cosignatures, "_verify", _believing(SignatureType.COSIGNATURE_ED25519)),
    ),
    Bug(
        "a cosignature's time may be near",
        "proofs",
        "/proof line 1[34] time .*",
        _at(ledger.cosignatures, "_verify", _time_unsigned(ledger.cosignatures._verify)),
    ),
    Bug(
        "a known key may sign twice",
        "proofs",
        "/proof .* twice",
        _at(ledger.policy, "verify_signatures", _known_twice),
    ),
    Bug(
        "an anchor's checkpoint need not be signed",
        "swaps",
        "/anchors.*",
        _at(ledger.anchor_checks, "evaluate", _nothing),
        "signed by a stranger",
    ),
    Bug(
        "an anchor may be about another entry",
        "swaps",
        "/anchors.*",
        _anchors_place_unchecked,
        "another place",
    ),
    Bug(
        "an anchor may be of another log",
        "swaps",
        "/anchors.*",
        _at(ledger.anchor_checks, "_check", _origin_unchecked(ledger.anchor_checks._check)),
        "another log",
    ),
    Bug(
        "the contract's code is not compared",
        "swaps",
        "/anchors.*",
        _at(_chain, "_storage_root", _code_unchecked),
        "other code",
    ),
    Bug(
        "what the contract holds is not compared",
        "swaps",
        "/anchors.*",
        _at(_chain, "verify_chain_evidence", _value_unchecked(_chain.verify_chain_evidence)),
        "other root",
    ),
    Bug(
        "nodes are not hashed",
        "binary",
        "/anchors/0/(account|storage)/.*",
        _at(ledger.evm.trie_proofs, "_node", _node_unhashed),
    ),
    Bug(
        "surplus nodes are passed over",
        "json",
        "/anchors/./(account|storage)/.*",
        _at(ledger.evm.trie_proofs, "_found", _surplus_nodes_pass),
    ),
    Bug(
        "anybody may seal a Clique block",
        "swaps",
        "/anchors/1.*",
        _at(_chain, "require_sealed", _any_signer(_chain.require_sealed)),
        "stranger seals",
    ),
    Bug(
        "every seal counts",
        "swaps",
        "/anchors/[23].*",
        _at(ledger.evm.headers, "_committed", _seals_counted),
        "stranger seals",
    ),
    Bug(
        "blocks need not follow each other",
        "swaps",
        "/anchors/1.*",
        _at(ledger.evm.headers, "_clique_signers", _unlinked),
        "one seal",
    ),
    Bug(
        "renewals are not verified",
        "json",
        "/anchors/4/tokens/1.*",
        _at(_stamps, "verify_stamps", _renewals_unchecked(_stamps.verify_stamps)),
    ),
    Bug(
        "a stamp of something else counts",
        "swaps",
        "/anchors/4.*",
        _at(_stamps, "verify_stamps", _message_unchecked(_stamps.verify_stamps)),
        "stamp of something else",
    ),
    Bug(
        "roots that come along are believed",
        "swaps",
        "/anchors/4.*",
        _at(_stamps, "_intermediate", _roots_from_anywhere),
        "attacker's stamp",
    ),
]
