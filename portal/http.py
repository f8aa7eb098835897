"""The pages: `/`, `/upload`, `/docs`, and what they load from `/static/`.

Scripts and styles come from this server alone, and none stands in a page: the
content security policy of each page says so.
"""

from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from materials_api.cases.upload_reasons import UPLOAD_REASONS
from parties.http.access import public
from portal.errors import PageUnknown
from portal.language import Language, choose
from portal.state import PortalState
from portal.static_files import load
from portal.texts import TEXTS

_BEIJING = timezone(timedelta(hours=8))
_NOTHING = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
_OWN = f"{_NOTHING}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
# Swagger UI has small pictures inside its style sheet.
_DOCS = _OWN.replace("img-src 'self'", "img-src 'self' data:")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Asked = Annotated[str | None, Query(alias="lang", max_length=16)]
Accepted = Annotated[str | None, Header(alias="accept-language")]


def routes(state: PortalState, *, openapi_url: str = "/openapi.json") -> APIRouter:
    """The router of all pages. They are public and stand in no API schema."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])
    static = load()
    templates = Environment(
        loader=PackageLoader("portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["beijing"] = _beijing
    templates.filters["iso"] = lambda value: value.astimezone(UTC).isoformat(timespec="seconds")
    templates.filters["base64"] = lambda value: b64encode(value).decode()
    templates.filters["grouped"] = lambda value: f"{value:,}"

    def page(
        template: str, language: Language, path: str, policy: str = _OWN, **values: object
    ) -> Response:
        text = templates.get_template(template).render(
            t=TEXTS[language],
            language=language,
            languages=list(Language),
            names={Language.ZH: "中文", Language.EN: "English"},
            path=path,
            static=static,
            **values,
        )
        return HTMLResponse(
            text,
            headers={
                **_HEADERS,
                "Content-Security-Policy": policy,
                "Content-Language": language.value,
                "Vary": "Accept-Language",
                "Cache-Control": "no-cache",
            },
        )

    @router.api_route("/", methods=["GET", "HEAD"])
    def home(lang: Asked = None, accept: Accepted = None) -> Response:
        return page("home.html", choose(lang, accept), "/", store=state.snapshot())

    @router.api_route("/upload", methods=["GET", "HEAD"])
    def upload(lang: Asked = None, accept: Accepted = None) -> Response:
        language = choose(lang, accept)
        column = 0 if language is Language.ZH else 1
        reasons = [(code.value, words[column]) for code, words in UPLOAD_REASONS.items()]
        return page("upload.html", language, "/upload", reasons=reasons)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    def docs(lang: Asked = None, accept: Accepted = None) -> Response:
        language = choose(lang, accept)
        return page("docs.html", language, "/docs", policy=_DOCS, openapi_url=openapi_url)

    @router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    def static_file(request: Request, name: str) -> Response:
        file = static.get(name)
        if file is None:
            raise PageUnknown()
        headers = {
            **_HEADERS,
            "Content-Security-Policy": _NOTHING,
            "ETag": file.etag,
            "Cache-Control": "public, max-age=300",
        }
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.media_type, headers=headers)

    return router


def _beijing(value: datetime) -> str:
    return value.astimezone(_BEIJING).strftime("%Y-%m-%d %H:%M:%S (UTC+8)")
