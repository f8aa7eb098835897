"""The list of time-stamp authorities that are asked: a TOML file and certificates beside it.

[[authority]]
name = "…"
url = "https://…"
roots = "root.pem"            # pinned: what their certificate must lead to
certificates = "between.pem"  # optional: intermediates
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.stamps.errors import AuthoritiesInvalid, StampMalformed
from ledger.stamps.verifying import load_roots

_KEYS = {"name", "url", "roots"}
_MAX = 16
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Authority:
    """`roots`: PEM, trusted; `certificates`: DER of intermediates."""

    name: str
    url: str
    roots: bytes
    certificates: tuple[bytes, ...]


def load_authorities(path: Path) -> list[Authority]:
    """Read the file, and the certificates that it names; `AuthoritiesInvalid`."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AuthoritiesInvalid(path=str(path), reason="cannot be read as TOML") from error
    entries = told.get("authority")
    if set(told) != {"authority"} or not isinstance(entries, list) or not entries:
        raise AuthoritiesInvalid(path=str(path), reason="write [[authority]]")
    if len(entries) > _MAX:
        raise AuthoritiesInvalid(path=str(path), reason="too many")
    found = [_authority(path, one) for one in entries]
    if len({one.name for one in found}) != len(found):
        raise AuthoritiesInvalid(path=str(path), reason="a name stands twice")
    return found


def _authority(path: Path, one: Any) -> Authority:
    if not isinstance(one, dict) or not _KEYS <= set(one) <= _KEYS | {"certificates"}:
        raise AuthoritiesInvalid(path=str(path), reason="name, url, roots, perhaps certificates")
    if not all(isinstance(value, str) for value in one.values()):
        raise AuthoritiesInvalid(path=str(path), reason="every value is text")
    name, url = one["name"], one["url"]
    if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
        raise AuthoritiesInvalid(path=str(path), reason="a name is 1 to 100 characters")
    if not url.startswith(("http://", "https://")):
        raise AuthoritiesInvalid(path=str(path), reason=f"{name}: url is http:// or https://")
    between = _pem(path, one["certificates"]) if "certificates" in one else b""
    certificates = _certificates(path, between) if between else []
    roots = _pem(path, one["roots"])
    _certificates(path, roots)
    return Authority(
        name, url, roots, tuple(one.public_bytes(Encoding.DER) for one in certificates)
    )


def _pem(path: Path, name: str) -> bytes:
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise AuthoritiesInvalid(path=str(path), reason=f"{name} cannot be read") from error


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return load_roots(pem)
    except StampMalformed as error:
        raise AuthoritiesInvalid(path=str(path), reason="certificates in PEM") from error
