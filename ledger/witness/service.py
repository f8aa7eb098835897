"""The witness: checks that a log only ever grows, and says so with its signature."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.cosignatures import verify_signatures
from ledger.errors import ConsistencyInvalid, LogNotTrusted
from ledger.keys import Cosigner
from ledger.merkle import EMPTY_ROOT, verify_consistency
from ledger.notes import Note, Signature, VerifierKey
from ledger.splitview import split_view
from ledger.witness.errors import (
    WitnessOriginUnknown,
    WitnessRequestMalformed,
    WitnessSizeConflict,
)
from ledger.witness.records import WitnessRecords
from ledger.witness.requests import AddCheckpoint, parse_request


class Witness:
    """Cosigns checkpoints of the logs it is told of. Safe from many threads.

    `logs`: the keys of each log by its origin. What concerns one origin happens one after
    the other; comparing with the record, cosigning and recording are one step.
    """

    def __init__(
        self,
        *,
        logs: Mapping[str, Sequence[VerifierKey]],
        cosigners: Sequence[Cosigner],
        records: WitnessRecords,
    ) -> None:
        self.logs = logs
        self._cosigners = cosigners
        self._records = records
        self._locks = {origin: threading.Lock() for origin in logs}
        self.noticed: Callable[[str, Path], None] = _unnoticed
        """Told of a log that signed two trees: its origin, and the file with the proof."""

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        return tuple(one.key for one in self._cosigners)

    def add_checkpoint(self, body: bytes, at: datetime) -> str:
        """Handle `add-checkpoint`; the cosignature lines. Recorded before it returns.

        `WitnessRequestMalformed` (400), `WitnessOriginUnknown` (404), `LogNotTrusted` and
        `SignatureInvalid` (403), `WitnessSizeConflict` (409), `ConsistencyInvalid` (422).
        """
        request = parse_request(body)
        origin = request.signed.checkpoint.origin
        keys = self.logs.get(origin)
        if keys is None:
            raise WitnessOriginUnknown()
        verified = {one.key for one in verify_signatures(request.signed, keys)}
        if not verified:
            raise LogNotTrusted()
        if request.old > request.signed.checkpoint.size:
            raise WitnessRequestMalformed(reason="the old size is larger than the checkpoint's")
        with self._locks[origin]:
            known = self._records.get(origin)
            self._compare(request, known)
            cosigned = self._cosign(request.signed, verified, int(at.timestamp()))
            self._records.put(cosigned)
        own = cosigned.note.signatures[-len(self._cosigners) :]
        return "".join(one.line for one in own)

    def latest(self, origin: str) -> SignedCheckpoint | None:
        """The newest checkpoint cosigned for one of `logs`, with the log's and our signatures."""
        with self._locks[origin]:
            return self._records.get(origin)

    def _compare(self, request: AddCheckpoint, known: SignedCheckpoint | None) -> None:
        """The offered tree extends the recorded one, or a refusal. Nothing changes."""
        new = request.signed.checkpoint
        old = known.checkpoint if known else Checkpoint(new.origin, 0, EMPTY_ROOT)
        # Also for a request that is refused for its size: two roots for one size are
        # proof enough, whatever the sender believes.
        if known and new.size == old.size and new.root != old.root:
            proof = split_view(known, request.signed).encode()
            self.noticed(new.origin, self._records.keep_proof(proof))
        if request.old != old.size:
            raise WitnessSizeConflict(size=old.size)
        if new.size == 0 and new.root != EMPTY_ROOT:
            raise ConsistencyInvalid(reason="wrong root of the empty tree")
        verify_consistency(old.size, new.size, old.root, new.root, request.proof)

    def _cosign(
        self, signed: SignedCheckpoint, log_keys: set[VerifierKey], time: int
    ) -> SignedCheckpoint:
        """The checkpoint with the log's verified signatures and ours; others are left out."""
        known = {(key.name, key.key_id) for key in log_keys}
        lines = [one for one in signed.note.signatures if (one.name, one.key_id) in known]
        for cosigner in self._cosigners:
            blob = cosigner.cosign(signed.checkpoint, time)
            lines.append(Signature(cosigner.key.name, cosigner.key.key_id, blob))
        return SignedCheckpoint(signed.checkpoint, Note(signed.note.text, tuple(lines)))


def _unnoticed(origin: str, proof: Path) -> None:
    """Nobody asked."""
