"""The one place that reaches into the `minio` package.

It has no conditional put, and sends no checksums of parts. `_execute` is what
its own methods are made of: it signs and sends one request. The package is
pinned to an exact version, and tests against a real server prove what is used.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from xml.etree.ElementTree import Element, SubElement, tostring

from minio import Minio
from minio.datatypes import CompleteMultipartUploadResult, Object, parse_list_objects
from urllib3 import BaseHTTPResponse

from storage.s3.lock_times import lock_text
from storage.s3.requests import Requests, Unfinished
from storage.s3.settings import S3Settings
from storage.s3.transport import Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a listing. `marker`: it only says that the object was deleted."""

    name: str
    version: str | None
    stored_at: datetime
    newest: bool
    marker: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a listing, and where the next page begins: None after the last."""

    entries: list[Version]
    following: tuple[str, str | None] | None


class Client:
    """Signed requests to one bucket. Safe from many threads; each process makes its own."""

    def __init__(self, settings: S3Settings) -> None:
        self._bucket = settings.bucket
        self._requests = Requests(settings)
        self._http = Transport(settings)
        self._minio = Minio(
            settings.endpoint,
            settings.access_key,
            settings.secret_key,
            secure=settings.secure,
            region=settings.region,
            http_client=self._http,
        )

    def close(self) -> None:
        self._http.clear()

    def send(
        self,
        action: str,
        method: str,
        name: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        known: Iterable[str] = (),
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """A request about one object. With `stream` the body of the answer is still to
        be read. Errors as in `Requests.run`."""
        return self._run(
            action,
            lambda: self._minio._execute(
                method,
                self._bucket,
                name,
                body=body,
                headers=dict(headers or {}),  # it is written into
                query_params=dict(query or {}),
                preload_content=not stream,
            ),
            known,
        )

    def versioning(self) -> str | None:
        """`Enabled`, `Suspended`, or None if it never was."""
        config = self._run(
            "read its versioning", lambda: self._minio.get_bucket_versioning(self._bucket)
        )
        return config.status

    def check_lock_settings(self, known: Iterable[str]) -> None:
        """`Told` if there are none."""
        self._run(
            "read its lock settings",
            lambda: self._minio.get_object_lock_config(self._bucket),
            known,
        )

    def make_bucket(self, known: Iterable[str]) -> None:
        self._run(
            "create a bucket",
            lambda: self._minio.make_bucket(self._bucket, object_lock=True),
            known,
        )

    def begin_parts(self, name: str) -> str:
        headers = {"x-amz-checksum-algorithm": "SHA256"}
        return self._run(
            "store",
            lambda: self._minio._create_multipart_upload(self._bucket, name, dict(headers)),
        )

    def finish_parts(
        self, name: str, upload: str, body: bytes, headers: Mapping[str, str], known: Iterable[str]
    ) -> str | None:
        """Send the list of parts; the version of the object that they become."""

        def complete() -> str | None:
            answer = self._minio._execute(
                "POST",
                self._bucket,
                name,
                body=body,
                headers={"Content-Type": "application/xml", **headers},
                query_params={"uploadId": upload},
            )
            done = CompleteMultipartUploadResult(answer)
            if not done.etag:
                # The status was sent before the work was done: the body is an error.
                raise Unfinished
            return done.version_id

        return self._run("store", complete, known)

    def set_retention(
        self,
        name: str,
        version: str | None,
        mode: str,
        until: datetime,
        headers: Mapping[str, str],
        known: Iterable[str],
    ) -> None:
        root = Element("Retention")
        SubElement(root, "Mode").text = mode
        SubElement(root, "RetainUntilDate").text = lock_text(until)
        body = tostring(root)
        query = {"retention": ""} | ({} if version is None else {"versionId": version})
        md5 = hashlib.md5(body, usedforsecurity=False).digest()  # asked for by the protocol
        headers = {"Content-MD5": base64.b64encode(md5).decode(), **headers}
        self.send(
            "set a retention", "PUT", name, body=body, headers=headers, query=query, known=known
        )

    def page(self, prefix: str, after: tuple[str, str | None] | None, *, versions: bool) -> Page:
        """One page of names under `prefix`, or of versions. The package's own iterator
        ends for good when one of its requests fails."""
        query = {"prefix": prefix, "delimiter": "", "encoding-type": "url", "max-keys": "1000"}
        if versions:
            query["versions"] = ""
            query |= {} if after is None else {"key-marker": after[0]}
            query |= {"version-id-marker": after[1]} if after and after[1] else {}
        else:
            query["list-type"] = "2"
            query |= {} if after is None else {"start-after": after[0]}
        objects, more, name, version = self._run(
            "list",
            lambda: parse_list_objects(
                self._minio._execute("GET", self._bucket, query_params=dict(query))
            ),
        )
        entries = [_listed(one) for one in objects]
        if not more or not entries:
            return Page(entries, None)
        if versions:
            return Page(entries, (name or entries[-1].name, version))
        return Page(entries, (entries[-1].name, None))

    def _run(self, action: str, request: Callable[[], T], known: Iterable[str] = ()) -> T:
        return self._requests.run(action, request, frozenset(known))


def _listed(entry: Object) -> Version:
    return Version(
        name=entry.object_name or "",
        version=entry.version_id,
        stored_at=(entry.last_modified or datetime.fromtimestamp(0, UTC)).astimezone(UTC),
        newest=str(entry.is_latest).lower() == "true",  # the package gives the text
        marker=entry.is_delete_marker,
    )
