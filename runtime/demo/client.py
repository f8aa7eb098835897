"""What a connected system would write: a thin client of the HTTP API.

It streams uploads from disk, checks the answer's digests against the file's,
and knows nothing of the product's insides.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from kernel.ids import IdKind, new_id
from runtime.demo.errors import DemoExpectation

BLOCK = 1 << 20
Json = dict[str, Any]


class Refused(Exception):
    """The service answered with a problem document."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(f"{status} {problem.get('code')}")
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code"))


class Client:
    """One caller with one token. Not for sharing between threads."""

    def __init__(self, base: str, token: str, progress: Callable[[int], None]) -> None:
        self._http = httpx2.Client(
            base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=120
        )
        self._progress = progress

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Json:
        return self._answer(self._http.get(path, params=query))

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, wait: int = 0) -> Json:
        headers = {"Idempotency-Key": new_id(IdKind.REQUEST)}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        return self._answer(self._http.post(path, json=body or {}, headers=headers))

    def upload(self, file: Path) -> str:
        """Stream one file; return the upload's id. The digests must agree with the file's."""
        upload = new_id(IdKind.UPLOAD)
        digest = _sha256(file)
        answer = self._answer(
            self._http.put(
                f"/v1/uploads/{upload}",
                content=self._blocks(file),
                headers={
                    "Content-Digest": f"sha-256=:{b64encode(digest).decode()}:",
                    "Content-Length": str(file.stat().st_size),
                    "Content-Type": "application/octet-stream",
                },
            )
        )
        if answer["digests"]["sha256"] != digest.hex():
            raise DemoExpectation(step="upload", got="another digest")
        return upload

    def submit(
        self,
        case: str,
        files: Sequence[tuple[Path, str]],
        **material: Any,
    ) -> Json:
        """Upload files and register them as one material of `case`, with its receipt."""
        uploads = [{"upload": self.upload(path), "name": name} for path, name in files]
        return self.post(f"/v1/cases/{case}/materials", {**material, "files": uploads}, wait=10)

    def receipt(self, path: str) -> bytes:
        """The receipt at an address that an answer named, exactly as the service made it."""
        response = self._http.get(path, headers={"Prefer": "wait=10"})
        self._answer(response, parse=False)
        if response.status_code != 200:
            raise DemoExpectation(step="receipt", got=str(response.status_code))
        return response.content

    def download(self, path: str, target: Path) -> None:
        """Stream an answer into a file."""
        with self._http.stream("GET", path) as response:
            if response.status_code >= 400:
                response.read()
            self._answer(response, parse=False)
            with target.open("wb") as file:
                for block in response.iter_bytes(BLOCK):
                    file.write(block)

    def all(self, path: str) -> list[Json]:
        """Every item of a paged list."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            page = self.get(path, **({"cursor": cursor} if cursor else {}))
            items.extend(page["items"])
            cursor = page.get("next")
            if cursor is None:
                return items

    def _blocks(self, file: Path) -> Iterator[bytes]:
        with file.open("rb") as source:
            while block := source.read(BLOCK):
                yield block
                self._progress(len(block))

    @staticmethod
    def _answer(response: httpx2.Response, *, parse: bool = True) -> Json:
        if response.status_code >= 400:
            try:
                problem = response.json()
            except ValueError:
                problem = {"code": "no_problem_document"}
            raise Refused(response.status_code, problem)
        return dict(response.json()) if parse else {}


def _sha256(file: Path) -> bytes:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()
