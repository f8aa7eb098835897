"""The one table from refusals to RFC 9457 problem details.

Rooms raise `CodedError`s that know nothing of HTTP; here each kind of refusal
gets its status, and a few codes get a more telling one.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from kernel.errors import (
    CodedError,
    Conflict,
    Corrupt,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooLarge,
    TooSlow,
    Unavailable,
)

log = logging.getLogger("mianjiao.http")

MEDIA_TYPE = "application/problem+json"
_NAME_CHARS = 64

# First match wins, in the order of the method resolution of the error's class.
STATUS_BY_KIND: Mapping[type[CodedError], int] = {
    NotAuthenticated: 401,
    NotPermitted: 403,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    InvalidInput: 422,
    Corrupt: 500,
    Unavailable: 503,
}

STATUS_BY_CODE: Mapping[str, int] = {
    "content_type_not_accepted": 415,
    "range_not_satisfiable": 416,
    "show_code_tries": 429,
    "uploads_pending": 429,
    "storage_full": 507,
    "disk_low": 507,
}

# What the framework itself refuses, in our words.
FRAMEWORK: Mapping[int, tuple[str, str, str]] = {
    400: ("malformed_request", "请求格式不正确", "the request is malformed"),
    401: ("credential_missing", "缺少凭证", "a credential is needed"),
    403: ("forbidden", "不允许", "not allowed"),
    404: ("not_found", "找不到", "not found"),
    405: ("method_not_allowed", "不支持该方法", "the method is not allowed here"),
    406: ("not_acceptable", "无法提供所要求的格式", "the requested format is not available"),
    408: ("sender_too_slow", "发送过慢，已放弃", "the sender was too slow and was given up"),
    413: ("body_too_large", "请求内容超过上限", "the request body is over the limit"),
    415: ("unsupported_media_type", "不支持该内容类型", "the content type is not supported"),
    416: ("range_not_satisfiable", "范围超出文件", "the range lies outside the file"),
    431: ("head_too_large", "请求头超过上限", "the head of the request is over the limit"),
    500: ("internal_error", "服务内部错误，已记录", "internal error; it has been logged"),
    503: ("unavailable", "暂时无法服务", "temporarily unavailable"),
}


def status_of(error: CodedError) -> int:
    """The HTTP status of a refusal."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    for kind in type(error).__mro__:
        if kind in STATUS_BY_KIND:
            return STATUS_BY_KIND[kind]
    return 500


def problem(
    status: int,
    code: str,
    zh: str,
    en: str,
    request_id: str | None,
    *,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """A problem document: Chinese title and detail first, English beside it."""
    body: dict[str, Any] = {
        "type": f"urn:mianjiao:problem:{code}",
        "title": zh,
        "status": status,
        "detail": f"{zh} / {en}",
        "code": code,
        "zh": zh,
        "en": en,
        "request": request_id,
    }
    if extra:
        body.update(extra)
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        # RFC 6750 section 3: without a credential there is no error to name.
        known = "" if code == "credential_missing" else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="mianjiao"{known}'
    if status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def coded_problem(
    error: CodedError, request_id: str | None, more: Mapping[str, Any] | None = None
) -> Response:
    """The problem document of one of our own refusals. `more`: further members of it."""
    details = {key: value for key, value in error.details.items() if value is not None}
    response = problem(
        status_of(error),
        error.code,
        error.message_zh(),
        error.message_en(),
        request_id,
        extra={**({"details": details} if details else {}), **(more or {})},
    )
    if response.status_code in (429, 503, 507) and "seconds" in details:
        response.headers["Retry-After"] = str(details["seconds"])
    if response.status_code == 416 and "size" in details:
        response.headers["Content-Range"] = f"bytes */{details['size']}"
    return response


def framework_problem(status: int, request_id: str | None) -> Response:
    """A refusal of the framework or of the server, in our words."""
    return problem(status, *FRAMEWORK.get(status, FRAMEWORK[400]), request_id)


def internal_problem(request_id: str | None) -> Response:
    """The last resort: it tells nothing but that it happened."""
    response = framework_problem(500, request_id)
    response.headers["Connection"] = "close"
    return response


def validation_problem(
    errors: Sequence[Mapping[str, Any]], request_id: str | None, *, malformed: bool = False
) -> Response:
    """What is wrong with which field. Values are left out: they may be personal data."""
    fields = [
        {
            "field": "body" if malformed else _field_name(item.get("loc", ())),
            "rule": str(item.get("type", "invalid")),
        }
        for item in errors[:50]
    ]
    names = "、".join(sorted({field["field"] for field in fields})[:8])
    return problem(
        400 if malformed else 422,
        "malformed_request" if malformed else "invalid_fields",
        f"请求内容不符合要求：{names}",
        f"the request does not meet the schema: {names}",
        request_id,
        extra={"fields": fields},
    )


def install(app: FastAPI) -> None:
    """Answer every refusal of the application from this table."""

    async def on_coded(request: Request, error: Exception) -> Response:
        assert isinstance(error, CodedError)  # noqa: S101 - registered for this type
        request.state.refusal = error.code
        if isinstance(error, Corrupt):
            log.error("refused", extra={"code": error.code, "request": _request_id(request)})
        return coded_problem(error, _request_id(request))

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
        if isinstance(error.body, bytes):
            # The framework reads a body as JSON only if it is said to be JSON.
            return on_status(request, 415)
        errors = error.errors()
        malformed = any(item.get("type") in ("json_invalid", "json_type") for item in errors)
        request.state.refusal = "malformed_request" if malformed else "invalid_fields"
        return validation_problem(errors, _request_id(request), malformed=malformed)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
        if isinstance(error.__cause__, CodedError):
            # What the receiving side refused, wrapped by the framework while it read.
            return await on_coded(request, error.__cause__)
        if error.status_code == 405:
            return on_method(request)
        response = on_status(request, error.status_code)
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    def on_status(request: Request, status: int) -> Response:
        request.state.refusal = FRAMEWORK.get(status, FRAMEWORK[400])[0]
        return framework_problem(status, _request_id(request))

    def on_method(request: Request) -> Response:
        # All routes of the path count, not only the first that the router met.
        allowed = {"OPTIONS"}
        for route in iter_route_contexts(app.routes):
            if compile_path(route.path or "")[0].match(request.scope["path"]):
                allowed |= route.methods or set()
        if request.method == "OPTIONS":
            response = Response(status_code=204)
        else:
            response = on_status(request, 405)
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    async def on_database(request: Request, error: Exception) -> Response:
        # The statement's parameters may be personal data: only the kind is logged.
        told = {"error": type(error).__name__, "request": _request_id(request)}
        log.error("database", extra=told)
        request.state.refusal = "database_unavailable"
        return problem(
            503,
            "database_unavailable",
            "数据库暂时不可用",
            "the database is not available now",
            _request_id(request),
        )

    app.add_exception_handler(CodedError, on_coded)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(SQLAlchemyError, on_database)


def _field_name(place: Sequence[Any]) -> str:
    """Where in the body: the sender's own words for it, cut short and made encodable."""
    parts = [str(part)[:_NAME_CHARS] for part in place if part != "body"]
    name = ".".join(parts)[: 4 * _NAME_CHARS] or "body"
    return name.encode("utf-8", "replace").decode()


def _request_id(request: Request) -> str | None:
    value = getattr(request.state, "request_id", None)
    return value if isinstance(value, str) else None
