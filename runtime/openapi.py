"""The API's description (OpenAPI 3.1) as served: what FastAPI derives, and the problems.

Every operation names the statuses with which it can refuse, all of one schema,
`Problem` (RFC 9457). Operation ids are `<tag>_<function>`. Schemas of equal
name in several modules get the module's word in front.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from runtime.problems import FRAMEWORK, MEDIA_TYPE

Json = dict[str, Any]

_JSON: Json = {"type": "object"}
_BYTES: Json = {"type": "string", "format": "binary"}
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_LONG_NAME = re.compile(r"(?:[a-z0-9_]+?__)+[A-Z]\w*")
_REF = "#/components/schemas/"

# Beside those of `FRAMEWORK`.
_SENTENCES: Mapping[int, tuple[str, str]] = {
    409: ("当前状态或版本不允许", "the state or version does not allow it"),
    422: ("字段不符合要求，或不可接受", "a field is not valid, or not acceptable"),
    429: ("次数过多，请稍后重试", "too many tries; wait"),
    507: ("存储空间不足", "no space is left in the store"),
}
_RETRY: Json = {
    "Retry-After": {
        "description": "秒 / seconds",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
_HEADERS: Mapping[int, Json] = {
    401: {"WWW-Authenticate": {"description": "RFC 6750", "schema": {"type": "string"}}},
    429: _RETRY,
    503: _RETRY,
    507: _RETRY,
}

PROBLEM: Json = {
    "title": "Problem",
    "description": "不予受理或出错的答复（RFC 9457）。`code` 稳定不变。"
    " A refusal; `code` is stable, `zh` and `en` are for people.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "zh", "en", "request"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:mianjiao:problem:case_unknown"]},
        "title": {"type": "string", "examples": ["找不到办件"]},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "examples": ["找不到办件 / no such case"]},
        "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "examples": ["case_unknown"]},
        "zh": {"type": "string"},
        "en": {"type": "string"},
        "request": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "description": "请求编号，与日志中的一致 / the request's id, as in the log",
        },
        "details": {
            "type": "object",
            "additionalProperties": True,
            "description": "编号、代码、数量 / ids, codes and counts",
        },
        "fields": {
            "type": "array",
            "description": "不符合要求的字段，不含其内容 / fields at fault, without their values",
            "items": {
                "type": "object",
                "required": ["field", "rule"],
                "properties": {"field": {"type": "string"}, "rule": {"type": "string"}},
            },
        },
    },
}


def operation_id(route: APIRoute) -> str:
    """`<tag>_<function>`, e.g. `grants_approve`."""
    tag = str(route.tags[0]) if route.tags else "service"
    return f"{tag}_{route.name.strip('_')}"


def described(app: FastAPI) -> Json:
    """The document as it is served."""
    document = _with_short_names(app.openapi())
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    used: set[int] = set()
    for path, method, operation in _operations(document):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
        for answer in responses.values():
            for media_type, content in answer.get("content", {}).items():
                content.setdefault("schema", _JSON if media_type == "application/json" else _BYTES)
        refusals = _refusals(path, method, operation)
        used |= refusals
        for status in sorted(refusals):
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    document["components"]["responses"] = {
        f"Problem{status}": _response(status) for status in sorted(used)
    }
    return document


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _refusals(path: str, method: str, operation: Json) -> set[int]:
    """With which statuses this operation may refuse, from what it takes."""
    found = {500, 503}
    takes_json = "application/json" in operation.get("requestBody", {}).get("content", {})
    writes = method != "get"
    if operation.get("security"):
        found |= {401, 403}
    if "{" in path or takes_json or any(map(_names_a_thing, operation.get("parameters", ()))):
        found.add(404)
    if operation.get("parameters") or "requestBody" in operation:
        found.add(422)
    if "requestBody" in operation:
        found |= {400, 408, 413, 415}
    if writes:
        found |= {409, 429, 507}
    if "206" in operation["responses"]:
        found.add(416)
    return found


def _names_a_thing(parameter: Json) -> bool:
    """Whether a parameter is an id, also where it may be left out."""
    schema = parameter["schema"]
    patterns = [one.get("pattern", "") for one in (schema, *schema.get("anyOf", ()))]
    return any(re.match(r"\^[a-z]{3}_", pattern) for pattern in patterns)


def _response(status: int) -> Json:
    zh, en = FRAMEWORK[status][1:] if status in FRAMEWORK else _SENTENCES[status]
    answer: Json = {
        "description": f"{zh} / {en}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}},
    }
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer


def _with_short_names(document: Json) -> Json:
    """`materials_api__http__case_models__EventIn` → `CaseEventIn`, unless that is taken."""
    schemas = document["components"]["schemas"]
    short: dict[str, str] = {}
    for name in schemas:
        if _LONG_NAME.fullmatch(name):
            wanted = _short(name)
            if wanted not in schemas and wanted not in short.values():
                short[name] = wanted
    renamed: Json = _renamed(document, short)
    # Client generators name their classes by the title.
    renamed["components"]["schemas"] = {
        short.get(name, name): schema | {"title": short.get(name, name)}
        for name, schema in renamed["components"]["schemas"].items()
    }
    return renamed


def _short(name: str) -> str:
    *modules, kind = name.split("__")
    word = modules[-1].removesuffix("models").strip("_") or modules[0].partition("_")[0]
    return "".join(part.capitalize() for part in word.split("_")) + kind


def _renamed(value: Any, short: Mapping[str, str]) -> Any:
    """A copy in which every reference, also of a discriminator, has the short name."""
    if isinstance(value, dict):
        return {key: _renamed(item, short) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, short) for item in value]
    if isinstance(value, str) and value.startswith(_REF):
        name = value.removeprefix(_REF)
        return _REF + short.get(name, name)
    return value
