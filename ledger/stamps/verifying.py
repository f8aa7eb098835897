"""Verifies an RFC 3161 time stamp offline, under certificates that the verifier trusts.

The chain is checked as of the stamp's own time: a stamp outlives its certificate.
Revocation is not asked for; it would need the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import cast

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError

from ledger.stamps.errors import StampInvalid, StampMalformed

MAX_CERTIFICATES = 16


@dataclass(frozen=True, slots=True)
class Stamped:
    """What holds: the message existed at `time`, the authority's accuracy added.
    `until`: when the first of the certificates ends under which the newest stamp stands."""

    time: datetime
    serial: int
    until: datetime


def verify_stamps(
    tokens: Sequence[bytes], certificates: Sequence[bytes], roots: bytes, message: bytes
) -> Stamped:
    """A stamp over `message`, then renewals: each covers the bytes of the token before it,
    and was made before that one's certificates ended."""
    if not tokens:
        raise StampMalformed(reason="no token")
    first = newest = verify_stamp(tokens[0], certificates, roots, message)
    for before, token in pairwise(tokens):
        renewal = verify_stamp(token, certificates, roots, before)
        if not newest.time <= renewal.time < newest.until:
            raise StampInvalid(reason="renewed too late, or out of order")
        newest = renewal
    return Stamped(first.time, first.serial, newest.until)


def verify_stamp(
    token: bytes,
    certificates: Sequence[bytes],
    roots: bytes,
    message: bytes,
    nonce: int | None = None,
) -> Stamped:
    """`token`: a DER TimeStampResp; `certificates`: DER of intermediates, not trusted;
    `roots`: PEM, trusted. With `nonce` the answer must repeat it.

    `StampMalformed` or `StampInvalid`.
    """
    parsed = parse_stamp(token)
    trusted = load_roots(roots)
    between = [_intermediate(one) for one in certificates[:MAX_CERTIFICATES]]
    if len(certificates) > MAX_CERTIFICATES:
        raise StampMalformed(reason="too many certificates")
    verifier = VerifierBuilder(roots=trusted, intermediates=between, nonce=nonce).build()
    try:
        response = cast(TimeStampResponse, _ReadOnce(parsed))
        verifier.verify_message(response, message)
        own = [_certificate(one) for one in response.signed_data.certificates]
        until = min(one.not_valid_after_utc for one in [*own, *between, *trusted])
    except (VerificationError, ValueError, x509.InvalidVersion) as error:
        raise StampInvalid(reason="signature, certificate, nonce or content") from error
    info = response.tst_info
    return Stamped(
        time=info.gen_time + _accuracy(response),
        serial=info.serial_number,
        until=until,
    )


class _ReadOnce:
    """A response whose signed data is parsed once. The library parses the whole token again
    at each look at it, and takes four looks: an eighth of what a stamp costs."""

    def __init__(self, response: TimeStampResponse) -> None:
        self._response = response
        self.signed_data = response.signed_data

    def __getattr__(self, name: str) -> object:
        return getattr(self._response, name)


def parse_stamp(token: bytes) -> TimeStampResponse:
    """Read a DER TimeStampResp, which must be spelled as the library spells it."""
    try:
        response = decode_timestamp_response(token)
        same = response.as_bytes() == token
    except ValueError as error:
        raise StampMalformed(reason="not a time-stamp response") from error
    if not same:
        raise StampMalformed(reason="another spelling of a time-stamp response")
    return response


def load_roots(pem: bytes) -> list[x509.Certificate]:
    """Certificates of a PEM text: at least one, or `StampMalformed`."""
    return list(_roots(pem))


@lru_cache(64)
def _roots(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise StampMalformed(reason="roots are certificates in PEM") from error


@lru_cache(256)
def _intermediate(der: bytes) -> x509.Certificate:
    """The library puts intermediates and roots into one store of trust: a certificate that
    vouches for itself would be believed, whoever sent it."""
    try:
        certificate = _certificate(der)
        vouches_for_itself = certificate.issuer == certificate.subject  # reads the names
    except (ValueError, x509.InvalidVersion) as error:
        raise StampMalformed(reason="not a certificate") from error
    if vouches_for_itself:
        raise StampInvalid(reason="a root among the certificates that came with it")
    return certificate


@lru_cache(256)
def _certificate(der: bytes) -> x509.Certificate:
    """An authority's certificates are the same in all of its stamps."""
    return x509.load_der_x509_certificate(der)


def _accuracy(response: TimeStampResponse) -> timedelta:
    accuracy = response.tst_info.accuracy
    if accuracy is None:
        return timedelta(0)
    return timedelta(
        seconds=accuracy.seconds or 0,
        milliseconds=accuracy.millis or 0,
        microseconds=accuracy.micros or 0,
    )
