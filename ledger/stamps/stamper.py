"""Asks one time-stamp authority (RFC 3161) for stamps over checkpoints, and renews them.

What is stamped are the bytes of a published checkpoint with the log's own signatures.
Each answer is verified, nonce and pinned chain included, before it is kept.
"""

from datetime import datetime, timedelta

import httpx2
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from kernel.canonical import canonical_bytes, parse_record
from ledger.anchoring import rows
from ledger.anchoring.rows import FINAL, STAMP_KIND, KeptAnchor
from ledger.anchors import MAX_RENEWALS, stamp_fields, stamp_parts
from ledger.bounded_http import AnswerTooLong, BoundedHttp
from ledger.checkpoints import SignedCheckpoint
from ledger.notes import Note
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.stamps.authorities import Authority
from ledger.stamps.errors import AuthorityUnavailable
from ledger.stamps.verifying import Stamped, verify_stamp

MAX_ANSWER = 64 * 1024
_QUERY = {"Content-Type": "application/timestamp-query"}


class Stamper:
    """Keeps the stamps of one authority for one log. One step at a time."""

    def __init__(
        self,
        ledger: Ledger,
        authority: Authority,
        *,
        interval: float,
        renew_before: timedelta,
        seconds: float,
    ) -> None:
        """`interval`: least seconds between two stamps; `renew_before`: how long before a
        certificate ends its stamps are renewed; `seconds`: how long an answer may take."""
        self._ledger = ledger
        self._authority = authority
        self._interval = interval
        self._renew_before = renew_before
        self._looked: datetime | None = None
        self._http = BoundedHttp(seconds)

    def step(self, at: datetime, *, now: bool = False) -> None:
        """Renew what ends soon; stamp the newest checkpoint if it has none and the time has
        come. Raises why it got no further; the next step tries again."""
        for reader in self._ledger.evidence.unproved(STAMP_KIND, self._authority.name):
            self._stamp(at, reader, now=now)
        if self._looked is not None and at < self._looked + timedelta(seconds=self._interval):
            return
        self._looked = at
        with self._ledger.database.read() as tx:
            ending = rows.ending(tx, STAMP_KIND, self._authority.name, at + self._renew_before)
        for kept in ending:
            if kept.expires_at is not None and at < kept.expires_at:
                self._renew(kept)

    def close(self) -> None:
        self._http.close()

    def _stamp(self, at: datetime, reader: LogReader, *, now: bool) -> None:
        signed = reader.published()
        size, shard = signed.checkpoint.size, reader.shard
        with self._ledger.database.read() as tx:
            newest = rows.newest_kept(tx, STAMP_KIND, self._authority.name, shard)
            covered = 0 if newest is None else newest.size
            if rows.pending_since(tx, shard, covered, size) is None:
                return  # nothing, or only digests of evidence: they wait for company
        if newest is not None:
            due = newest.at + timedelta(seconds=self._interval)
            if at < due and not now and reader.final is None:
                return
        stamped = own_part(signed)
        token, found = self._ask(stamped)
        evidence = canonical_bytes(stamp_fields([token], self._authority.certificates))
        self._ledger.database.write(
            lambda tx: rows.keep(
                tx,
                at,
                kind=STAMP_KIND,
                source=self._authority.name,
                shard=shard,
                size=size,
                checkpoint=stamped,
                evidence=evidence,
                state=FINAL,
                expires_at=found.until,
            )
        )

    def _renew(self, kept: KeptAnchor) -> None:
        """A stamp over the newest token: its content is shown to be older than the end of
        the certificates, also when these can no longer be trusted."""
        tokens, certificates = stamp_parts(parse_record(kept.evidence))
        if len(tokens) == MAX_RENEWALS:
            return
        token, found = self._ask(tokens[-1])
        if kept.expires_at is not None and found.until <= kept.expires_at:
            return  # the authority has no newer certificate yet
        between = dict.fromkeys([*certificates, *self._authority.certificates])
        evidence = canonical_bytes(stamp_fields([*tokens, token], list(between)))
        self._ledger.database.write(
            lambda tx: rows.replace_evidence(
                tx, kept.position, evidence, FINAL, expires_at=found.until
            )
        )

    def _ask(self, data: bytes) -> tuple[bytes, Stamped]:
        """A verified stamp over `data`."""
        query = (
            TimestampRequestBuilder()
            .data(data)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        token = self._post(query.as_bytes())
        authority = self._authority
        found = verify_stamp(
            token, authority.certificates, authority.roots, data, nonce=query.nonce
        )
        return token, found

    def _post(self, query: bytes) -> bytes:
        url = self._authority.url
        try:
            answer = self._http.ask("POST", url, limit=MAX_ANSWER, content=query, headers=_QUERY)
        except AnswerTooLong:
            raise AuthorityUnavailable(reason="too long an answer") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise AuthorityUnavailable(reason=type(error).__name__) from None
        if answer.status != httpx2.codes.OK:
            raise AuthorityUnavailable(reason=f"HTTP {answer.status}")
        return answer.content


def own_part(signed: SignedCheckpoint) -> bytes:
    """The checkpoint with the log's own signatures alone: cosignatures may still come."""
    own = [one for one in signed.note.signatures if one.name == signed.checkpoint.origin]
    return Note(signed.note.text, tuple(own)).encode()
