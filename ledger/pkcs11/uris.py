"""RFC 7512: the `pkcs11:` URI that names a token, or a private key in one."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from ledger.pkcs11.errors import TokenUriInvalid

_SCHEME = "pkcs11:"
# pk11-pchar of section 2.3
_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})+")
_TEXTS = ("token", "serial", "manufacturer", "model", "object")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """What a token, and a private key in it, must match; what is None is not compared."""

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> "TokenUri":
        """Read the URI of a private key: it names the token and the key.

        A query (PIN, module) is refused: those are settings. So is an attribute that
        is not compared here, since the URI would mean less than it says. `TokenUriInvalid`.
        """
        if not text.startswith(_SCHEME):
            raise TokenUriInvalid(reason="not of the form pkcs11:token=…;object=…")
        if "?" in text:
            raise TokenUriInvalid(reason="PIN and module are settings and never stand in a URI")
        told: dict[str, bytes] = {}
        for part in text.removeprefix(_SCHEME).split(";"):
            name, equals, value = part.partition("=")
            if not equals or not _VALUE.fullmatch(value):
                raise TokenUriInvalid(reason="not of the form name=value;name=value")
            if name in told:
                raise TokenUriInvalid(reason=f"{name} stands there twice")
            told[name] = unquote_to_bytes(value)
        if told.pop("type", b"private") != b"private":
            raise TokenUriInvalid(reason="type must be private")
        key_id = told.pop("id", None)
        for name in told:
            if name not in _TEXTS:
                raise TokenUriInvalid(reason="an attribute that is not compared here")
        try:
            texts = {name: value.decode() for name, value in told.items()}
        except UnicodeDecodeError:
            raise TokenUriInvalid(reason="not UTF-8") from None
        uri = cls(**texts, id=key_id)
        if uri.token is None and uri.serial is None:
            raise TokenUriInvalid(reason="token or serial is needed")
        if uri.object is None and uri.id is None:
            raise TokenUriInvalid(reason="object or id is needed")
        return uri

    @property
    def text(self) -> str:
        told = [(name, getattr(self, name)) for name in _TEXTS]
        parts = [f"{name}={quote(value, safe='')}" for name, value in told if value is not None]
        if self.id is not None:
            parts.append("id=" + "".join(f"%{byte:02X}" for byte in self.id))
        if self.object is not None or self.id is not None:
            parts.append("type=private")
        return _SCHEME + ";".join(parts)
