"""The files that pages load, read once at start: nothing outside of this list is served."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_NAMES = (
    "style.css",
    "upload.js",
    "docs.js",
    "icon.svg",
    "vendor/swagger-ui.css",
    "vendor/swagger-ui-bundle.js",
)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """`integrity` is the value of the attribute of that name (W3C Subresource Integrity)."""

    data: bytes
    media_type: str
    etag: str
    integrity: str


def load() -> dict[str, StaticFile]:
    """Name below `/static/` → file. A missing one is an error at start, not a 404 later."""
    found = {}
    for name in _NAMES:
        data = files("portal").joinpath("static", *name.split("/")).read_bytes()
        digest = sha256(data).digest()
        found[name] = StaticFile(
            data=data,
            media_type=_MEDIA_TYPES[name[name.rindex(".") :]],
            etag=f'"{digest[:12].hex()}"',
            integrity="sha256-" + b64encode(digest).decode(),
        )
    return found
