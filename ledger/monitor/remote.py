"""Reads the tiles of a log over HTTP (C2SP tlog-tiles)."""

import time
from urllib.parse import urlsplit, urlunsplit

import httpx2

from ledger.bounded_http import AnswerTooLong, BoundedHttp
from ledger.errors import TileMissing
from ledger.merkle import TILE_WIDTH
from ledger.monitor.errors import LogUnreachable
from ledger.notes import MAX_NOTE_BYTES
from ledger.tiles import FULL_TILE_BYTES, TilePath, prefix

MAX_BUNDLE = TILE_WIDTH * (2 + 0xFFFF)  # entries of other logs may be longer than ours
MAX_EVIDENCE = 1 << 20
MOST_TOLD = 64 * 1024  # a page that says why there is no such file
_TRIES = 3
_PAUSE = 0.5  # seconds before the second try; doubled


class RemoteLog:
    """What a log serves under `url`. Nothing that it returns is checked."""

    def __init__(self, url: str, seconds: float = 60.0, silence: float = 10.0) -> None:
        """`seconds`: how long each answer may take; `silence`: how long none of it may come."""
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        beside = f"{parts.path.rpartition('/')[0]}/evidence/sha256"
        self._evidence = urlunsplit((parts.scheme, parts.netloc, beside, "", ""))
        self._http = BoundedHttp(seconds, silence=silence, follow_redirects=True)

    def close(self) -> None:
        self._http.close()

    def checkpoint(self) -> bytes:
        return self._get("checkpoint", MAX_NOTE_BYTES)

    def get(self, path: TilePath) -> bytes:
        """A tile or bundle; a partial one may be gone once the full one, its extension, is there.

        `TileMissing`, `LogUnreachable`; `TileCorrupt` from a full one that has another form.
        """
        limit = MAX_BUNDLE if path.level is None else FULL_TILE_BYTES
        try:
            return self._get(path.text, limit)
        except TileMissing:
            if path.full:
                raise
            whole = path.whole()
            return prefix(whole, self._get(whole.text, limit), path.width)

    def evidence(self, digest: str) -> bytes:
        """What is served under this SHA-256, beside the log. `TileMissing`, `LogUnreachable`."""
        return self._get(digest, MAX_EVIDENCE, self._evidence)

    def _get(self, path: str, limit: int, base: str | None = None) -> bytes:
        for attempt in range(_TRIES):
            try:
                return self._once(path, limit, base or self._url)
            except LogUnreachable:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(_PAUSE * 2**attempt)
        raise AssertionError  # the last try returned or raised

    def _once(self, path: str, limit: int, base: str) -> bytes:
        try:
            answer = self._http.ask("GET", f"{base}/{path}", limit=max(limit, MOST_TOLD))
        except AnswerTooLong:
            raise LogUnreachable(path=path, reason="longer than any such file") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LogUnreachable(path=path, reason=type(error).__name__) from error
        if answer.status in (404, 410):
            raise TileMissing(path=path)
        if answer.status != 200:
            raise LogUnreachable(path=path, reason=f"HTTP {answer.status}")
        if len(answer.content) > limit:
            raise LogUnreachable(path=path, reason="longer than any such file")
        return answer.content
