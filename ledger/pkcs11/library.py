"""A PKCS#11 library in this process: one at a time, opened when first used, and closed whole.

What the standard leaves to the application is settled here. The library is entered by one
thread at a time, since it was not told how to lock. It is opened in the process that uses
it: a session must not be carried over a fork. Whatever goes wrong closes it with all of its
sessions, and the next use begins anew, for that is what finds a token that was put back.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.pkcs11.errors import (
    Pkcs11Missing,
    TokenFailed,
    TokenKeyNotFound,
    TokenModuleUnusable,
    TokenNotFound,
    TokenPinRefused,
    TokenUnfit,
)
from ledger.pkcs11.uris import TokenUri

if TYPE_CHECKING:
    from pkcs11 import Attribute, PrivateKey, Session, SignMixin, Token
    from pkcs11._pkcs11 import lib

T = TypeVar("T")

_PAUSES = (0.02, 0.1, 0.3)  # seconds before a token is opened anew
_PIN_REFUSED = frozenset(
    {
        "PinExpired",
        "PinIncorrect",
        "PinInvalid",
        "PinLenRange",
        "PinLocked",
        "PinTooWeak",
    }
)


class Library:
    """One library file. Its state is the process's, so there is one object for each path:
    `library_at`. Safe from many threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lib: lib | None = None
        self._process = 0
        self._sessions: dict[int, Session] = {}
        self._keys: dict[TokenUri, SignMixin] = {}
        self._refused: dict[tuple[TokenUri, str], str] = {}

    def sign(self, uri: TokenUri, pin: str, message: bytes) -> bytes:
        """An Ed25519 signature (CKM_EDDSA) by the private key that `uri` names; not verified.

        A session that was lost since its last use is opened anew, once. `Pkcs11Missing`,
        `TokenModuleUnusable`, `TokenNotFound`, `TokenPinRefused`, `TokenKeyNotFound`,
        `TokenUnfit`, `TokenFailed`.
        """
        with self._lock:
            known = uri in self._keys
            try:
                return self._guarded(lambda: self._sign(uri, pin, message))
            except TokenFailed:
                if not known:
                    raise
            return self._guarded(lambda: self._sign(uri, pin, message))

    def generate(self, token: TokenUri, label: str, key_id: bytes, pin: str) -> bytes:
        """Make an Ed25519 key pair in a token, never to leave it; the 32 bytes of the public key.

        What the token says of the private key is read back: where it is not sensitive, or
        can be extracted, the pair is destroyed again (`TokenUnfit`). Raises what `sign` does.
        """
        with self._lock:
            return self._guarded(lambda: self._generate(token, label, key_id, pin))

    def destroy(self, uri: TokenUri, pin: str) -> None:
        """Destroy the private key that `uri` names, and its public half. None left: done."""
        with self._lock:
            self._guarded(lambda: self._destroy(uri, pin))

    def close(self) -> None:
        """Close it with all sessions; the next use opens it anew."""
        with self._lock:
            self._close()

    # --- Under the lock ---

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._lib is not None and self._process != os.getpid():
            raise TokenFailed(reason="opened before a fork")
        try:
            from pkcs11.exceptions import PKCS11Error
        except ImportError:
            raise Pkcs11Missing() from None
        try:
            return work()
        except PKCS11Error as error:
            self._close()
            raise TokenFailed(reason=type(error).__name__) from error
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._keys.clear()
        self._sessions.clear()
        opened, self._lib = self._lib, None
        if opened is None or not opened.initialized:
            return
        from pkcs11.exceptions import PKCS11Error

        # It is closed as far as it can be; opening it anew says what is wrong.
        with suppress(PKCS11Error):
            opened.finalize()

    def _opened(self) -> "lib":
        from pkcs11 import lib
        from pkcs11.exceptions import PKCS11Error

        if self._lib is None:
            try:
                self._lib = lib(self._path)
            except PKCS11Error as error:
                if type(error) is PKCS11Error:  # the loader's, not the library's
                    raise TokenModuleUnusable(path=self._path) from error
                raise
            self._process = os.getpid()
        return self._lib

    def _token(self, uri: TokenUri) -> "Token":
        wanted = {
            "label": uri.token,
            "serial": None if uri.serial is None else uri.serial.encode(),
            "manufacturer_id": uri.manufacturer,
            "model": uri.model,
        }
        found = [
            token
            for token in self._opened().get_tokens()
            if all(
                getattr(token, name) == value for name, value in wanted.items() if value is not None
            )
        ]
        if len(found) != 1:
            raise TokenNotFound(uri=uri.text, found=len(found))
        return found[0]

    def _session(self, uri: TokenUri, pin: str) -> "Session":
        """One for each token: a user logs in once for the whole process."""
        if self._sessions:
            known = self._sessions.get(self._token(uri).slot.slot_id)
            if known is not None:
                return known
        opened = self._logged_in(uri, pin, rw=False)
        self._sessions[opened.token.slot.slot_id] = opened
        return opened

    def _logged_in(self, uri: TokenUri, pin: str, *, rw: bool) -> "Session":
        """A session of the user; opening is tried anew a few times, each from the start.

        SoftHSM writes a token's file at each login, and whoever opens the token in another
        process at that moment finds it empty: no such token, or a general error.
        """
        from pkcs11.exceptions import PKCS11Error

        for pause in _PAUSES:
            try:
                return self._login(uri, pin, rw=rw)
            except (PKCS11Error, TokenNotFound):
                self._close()
                time.sleep(pause)
        return self._login(uri, pin, rw=rw)

    def _login(self, uri: TokenUri, pin: str, *, rw: bool) -> "Session":
        from pkcs11.exceptions import PKCS11Error

        tried = (TokenUri(uri.token, uri.serial), pin)
        if tried in self._refused:
            raise TokenPinRefused(reason=self._refused[tried])
        try:
            return self._token(uri).open(rw=rw, user_pin=pin)
        except PKCS11Error as error:
            reason = type(error).__name__
            if reason in _PIN_REFUSED:
                self._refused[tried] = reason
                raise TokenPinRefused(reason=reason) from error
            raise

    @contextmanager
    def _writing(self, uri: TokenUri, pin: str) -> "Iterator[Session]":
        """A session that may write. One logs in for all of the process: it begins alone, and
        leaves nothing open."""
        self._close()
        try:
            yield self._logged_in(uri, pin, rw=True)
        finally:
            self._close()

    def _sign(self, uri: TokenUri, pin: str, message: bytes) -> bytes:
        from pkcs11 import Mechanism

        if uri not in self._keys:
            self._keys[uri] = self._find(self._session(uri, pin), uri)
        return bytes(self._keys[uri].sign(message, mechanism=Mechanism.EDDSA))

    def _find(self, session: "Session", uri: TokenUri) -> "SignMixin":
        from pkcs11 import ObjectClass, SignMixin

        found = list(session.get_objects(_attributes(uri, ObjectClass.PRIVATE_KEY)))
        if len(found) != 1:
            raise TokenKeyNotFound(uri=uri.text, found=len(found))
        key = found[0]
        if not isinstance(key, SignMixin):
            raise TokenUnfit(reason="the key is not one that may sign")
        return key

    def _generate(self, uri: TokenUri, label: str, key_id: bytes, pin: str) -> bytes:
        from pkcs11 import Attribute, KeyType, MechanismFlag
        from pkcs11.exceptions import MechanismInvalid

        with self._writing(uri, pin) as session:
            curve = session.create_domain_parameters(
                KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _ED25519}, local=True
            )
            try:
                public, private = curve.generate_keypair(
                    store=True,
                    label=label,
                    id=key_id,
                    capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                    private_template={
                        Attribute.PRIVATE: True,
                        Attribute.SENSITIVE: True,
                        Attribute.EXTRACTABLE: False,
                    },
                )
            except MechanismInvalid:
                raise TokenUnfit(reason="it has no Ed25519 (CKM_EC_EDWARDS_KEY_PAIR_GEN)") from None
            wrong = lacking(private)
            point = _point(bytes(public[Attribute.EC_POINT]))
            if wrong or point is None:
                private.destroy()
                public.destroy()
                raise TokenUnfit(reason=", ".join(wrong) or "EC_POINT")
            return point

    def _destroy(self, uri: TokenUri, pin: str) -> None:
        from pkcs11 import ObjectClass

        with self._writing(uri, pin) as session:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                found = list(session.get_objects(_attributes(uri, kind)))
                if len(found) > 1:
                    raise TokenKeyNotFound(uri=uri.text, found=len(found))
                for one in found:
                    one.destroy()


_ED25519 = bytes.fromhex("06032b6570")  # the OID 1.3.101.112, as CKA_EC_PARAMS
_libraries: dict[str, Library] = {}


def library_at(path: Path) -> Library:
    """The library of this process at a path, however that is spelled. Opens nothing."""
    real = str(path.resolve())
    return _libraries.setdefault(real, Library(real))


def lacking(private: "PrivateKey") -> list[str]:
    """The attributes by which a private key fails to be made in its token and stay there."""
    from pkcs11 import Attribute

    wanted = {
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.LOCAL: True,
        Attribute.SENSITIVE: True,
        Attribute.ALWAYS_SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.NEVER_EXTRACTABLE: True,
    }
    return [one.name for one, value in wanted.items() if private[one] is not value]


def _attributes(uri: TokenUri, kind: object) -> "dict[Attribute, Any]":
    from pkcs11 import Attribute, KeyType

    told: dict[Attribute, Any] = {
        Attribute.CLASS: kind,
        Attribute.KEY_TYPE: KeyType.EC_EDWARDS,
    }
    if uri.object is not None:
        told[Attribute.LABEL] = uri.object
    if uri.id is not None:
        told[Attribute.ID] = uri.id
    return told


def _point(stored: bytes) -> bytes | None:
    """The public key, raw or as a DER OCTET STRING: tokens differ."""
    raw = stored[2:] if stored[:2] == b"\x04\x20" else stored
    return raw if len(raw) == 32 else None
