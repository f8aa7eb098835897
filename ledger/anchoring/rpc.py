"""JSON-RPC 2.0 over HTTP: one call, bounded in time and size, or a named error."""

import itertools
import json
from typing import Any

import httpx2

from ledger.anchoring.errors import NodeAnswerInvalid, NodeRefused, NodeUnavailable
from ledger.bounded_http import AnswerTooLong, BoundedHttp

MAX_ANSWER = 8 << 20
_QUERY = {"Content-Type": "application/json"}
_SHOWN = 200  # characters of a node's own message that are passed on


class JsonRpc:
    """Calls one node. Safe from many threads. Its address may hold a secret: never shown."""

    def __init__(self, url: str, seconds: float) -> None:
        """`seconds`: for one answer, to its last byte."""
        self._http = BoundedHttp(seconds)
        self._url = url
        self._ids = itertools.count(1)

    def call(self, method: str, *params: Any) -> Any:
        """The result. `NodeUnavailable`: nothing is known of what the node did;
        `NodeRefused`: it said no; `NodeAnswerInvalid`: no such answer is known."""
        number = next(self._ids)
        asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        answer = self._post(asked, method)
        error = answer.get("error")
        if error is not None:
            told = error if isinstance(error, dict) else {}
            code = told.get("code")
            raise NodeRefused(
                method=method,
                number=code if isinstance(code, int) else 0,
                message=_printable(str(told.get("message", ""))),
            )
        if answer.get("id") != number or "result" not in answer:
            raise NodeAnswerInvalid(method=method, reason="no result for this question")
        return answer["result"]

    def _post(self, asked: dict[str, Any], method: str) -> dict[str, Any]:
        body = json.dumps(asked).encode()
        try:
            told = self._http.ask("POST", self._url, limit=MAX_ANSWER, content=body, headers=_QUERY)
        except AnswerTooLong:
            raise NodeAnswerInvalid(method=method, reason="too long") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NodeUnavailable(reason=type(error).__name__) from None
        try:
            answer = json.loads(told.content)
        except (ValueError, RecursionError):
            raise NodeUnavailable(reason=f"HTTP {told.status}") from None
        if not isinstance(answer, dict):
            raise NodeAnswerInvalid(method=method, reason="not an object")
        return answer

    def close(self) -> None:
        self._http.close()


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:_SHOWN]
