"""The log's side of tlog-witness: ask one witness to cosign a checkpoint."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import httpx2

from kernel.errors import CodedError
from ledger.bounded_http import Answer, AnswerTooLong, BoundedHttp
from ledger.checkpoints import SignedCheckpoint, is_decimal, parse_any_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.notes import Note, Signature, VerifierKey
from ledger.witness.errors import WitnessAhead, WitnessSawAnother, WitnessUnavailable
from ledger.witness.requests import SIZE_TYPE, encode_request

MAX_ANSWER = 256 * 1024
TRIES = 3  # a first guess, the size that the witness names, and one more when others ask too

# The consistency proof from an old size to the checkpoint that is offered.
Prove: TypeAlias = Callable[[int], Sequence[bytes]]


class WitnessClient:
    """One witness: its submission prefix and the keys that the policy knows it by.

    Remembers the size that it cosigned last. One thread at a time.
    """

    def __init__(self, url: str, keys: Sequence[VerifierKey], seconds: float) -> None:
        self.url = url.rstrip("/")
        self._keys = tuple(keys)
        self._known = 0
        self._http = BoundedHttp(seconds)

    def close(self) -> None:
        self._http.close()

    def cosign(self, signed: SignedCheckpoint, prove: Prove) -> tuple[Signature, ...]:
        """The witness's cosignatures of `signed`, each verified; at least one.

        `WitnessUnavailable` (time-out, refusal, nothing that verifies), `WitnessAhead`
        (it cosigned a larger tree), `WitnessSawAnother` (it cosigned another tree).
        """
        size = signed.checkpoint.size
        old = min(self._known, size)
        for _ in range(TRIES):
            answer = self._post(encode_request(old, prove(old), signed.encode()))
            if answer.status == 200:
                lines = self._verified(signed, answer.content)
                self._known = size
                return lines
            if answer.status == 422:
                raise WitnessSawAnother(url=self.url)
            if answer.status != 409 or answer.headers.get("content-type") != SIZE_TYPE:
                raise WitnessUnavailable(url=self.url, reason=f"HTTP {answer.status}")
            told = answer.content.decode(errors="replace").removesuffix("\n")
            if not is_decimal(told):
                raise WitnessUnavailable(url=self.url, reason="409 without a size")
            self._known = old = int(told)
            if old > size:
                raise WitnessAhead(url=self.url, size=old)
        raise WitnessUnavailable(url=self.url, reason="409 again and again")

    def _post(self, body: bytes) -> Answer:
        url = f"{self.url}/add-checkpoint"
        try:
            return self._http.ask("POST", url, limit=MAX_ANSWER, content=body)
        except AnswerTooLong:
            raise WitnessUnavailable(url=self.url, reason="an endless answer") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise WitnessUnavailable(url=self.url, reason=type(error).__name__) from error

    def _verified(self, signed: SignedCheckpoint, lines: bytes) -> tuple[Signature, ...]:
        """The lines by this witness's keys. Nothing else of the answer is kept."""
        bare = Note(signed.note.text, ()).encode()
        try:
            answer = parse_any_checkpoint(bare + lines)
            verified = verify_signatures(answer, self._keys)
        except CodedError as error:
            raise WitnessUnavailable(url=self.url, reason=error.code) from error
        if not verified or answer.checkpoint != signed.checkpoint:
            raise WitnessUnavailable(url=self.url, reason="no cosignature by a known key")
        known = {(one.key.name, one.key.key_id) for one in verified}
        return tuple(one for one in answer.note.signatures if (one.name, one.key_id) in known)
