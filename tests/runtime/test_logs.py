"""Logs: one JSON object a line, a request by its template, and nobody in it."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from kernel.ids import IdKind, is_id
from runtime.demo import cast, people
from runtime.demo.people import Someone
from runtime.logs import formatter
from runtime.request_ids import request_id
from tests.runtime.edge import until

if TYPE_CHECKING:
    from tests.conftest import Played

ROOT = Path(__file__).parent.parent.parent
SECRET = "沈云舟 310199198802299064"


def personal_data() -> set[str]:
    """Names, codes, addresses and officers of the story's cast."""
    everybody = [one for one in vars(people).values() if isinstance(one, Someone)]
    found = {text for one in everybody for text in (one.code, one.name)}
    found |= {request.officer for _, _, request in cast.CALLERS if request.officer}
    found |= {people.CLERK, people.REVIEWER, people.OLD_ADDRESS, people.NEW_ADDRESS}
    return found | {people.OLD_LICENSE, people.NEW_LICENSE, people.OLD_FOOD_PERMIT}


def forms(secret: str) -> set[str]:
    """How a text may stand in a log: as it is, escaped for JSON, for a URL, as bytes."""
    return {secret, json.dumps(secret)[1:-1], quote(secret), repr(secret.encode())[2:-1]}


@pytest.mark.xdist_group("played")
def test_a_whole_demo_leaves_nobody_in_the_log(played: "Played") -> None:
    lines = [json.loads(line) for line in played.log.splitlines()]
    assert len([line for line in lines if line["event"] == "request"]) > 100
    assert len(personal_data()) > 20
    text = played.log
    for secret in personal_data():
        assert not [form for form in forms(secret) if form in text], secret
    for token in played.tokens.values():
        assert token not in text
    # Neither ids of things nor what the demo's own files are called.
    assert re.findall(r"(?:pty|mat|cas|lic|grt|vrf|upl|tkt|doc|ent|tok)_[0-9a-z]{26}", text) == []
    assert re.findall(r"说明|嵌套|图 1|mjt?_", text) == []


@pytest.mark.xdist_group("played")
def test_each_request_leaves_one_line_with_these_fields(played: "Played") -> None:
    lines = [json.loads(line) for line in played.log.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    for line in requests:
        assert set(line) - {"refusal"} == {
            "at", "level", "logger", "event", "request", "method", "route", "status", "ms",
            "caller", "received", "sent",
        }  # fmt: skip
        assert is_id(line["request"], IdKind.REQUEST)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["at"])
    verified = next(line for line in requests if line["route"] == "/v1/verifications")
    assert (verified["method"], verified["status"], verified["caller"]) == ("POST", 201, "window")
    assert verified["received"] > 0
    assert verified["sent"] > 0
    refused = {line["refusal"] for line in requests if "refusal" in line}
    assert all(re.fullmatch(r"[a-z_]+", code) for code in refused)
    assert {line["caller"] for line in requests} >= {"window", "department", "applicant", "-"}


def test_an_id_of_a_generator_is_taken_over_and_told(server: Any, window: Any) -> None:
    for known in ("9f1c6f5e-3b1a-4b7e-8a55-0c8d3c1f0a11", "0af7651916cd43dd8448eb211c80319c"):
        answer = window.http.get("/v1/cases", headers={"X-Request-Id": known})
        assert answer.headers["x-request-id"] == known
        assert answer.json()["request"] == known
        until(lambda known=known: f'"request": "{known}"' in server.log.read_text())


@pytest.mark.parametrize(
    "offered",
    [
        b"310199198802299064",
        "沈云舟".encode(),
        b"case-17",
        b"9F1C6F5E-3B1A-4B7E-8A55-0C8D3C1F0A11",
        b"0af7651916cd43dd8448eb211c80319c\n",
        b"x" * 5000,
        b"",
        None,
    ],
)
def test_an_id_that_could_say_something_is_replaced(offered: bytes | None) -> None:
    assert is_id(request_id(offered), IdKind.REQUEST)


def told(name: str, level: int = logging.ERROR, **more: Any) -> dict[str, Any]:
    """A record as it would be written."""
    record = logging.LogRecord(name, level, "somewhere.py", 7, **{"args": (), **more})
    line = formatter().format(record)
    assert "\n" not in line
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def test_of_other_libraries_only_place_and_kind_are_written() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        raised = sys.exc_info()
    line = told("asyncio", msg=f"Task exception was never retrieved {SECRET}", exc_info=raised)
    assert line["event"] == "message_withheld"
    assert line["place"] == "somewhere:7"
    assert line["error"].startswith("ValueError at ")
    assert SECRET not in str(line)
    line = told("uvicorn.error", msg="Exception in ASGI application\n", exc_info=raised)
    assert line["event"] == "Exception in ASGI application\n"
    assert line["error"].startswith("ValueError at ")
    assert SECRET not in str(line)


PROCESS = f"""
import gc, logging, threading
from runtime.logs import configure
configure("INFO")
def fails():
    raise ValueError("{SECRET}")
thread = threading.Thread(target=fails, name="worker-7")
thread.start()
thread.join()
class Broken:
    def __del__(self):
        fails()
Broken()
gc.collect()
logging.getLogger("mianjiao.x").info("said", extra={{"n": 1}})
logging.getLogger("other").info("unheard")
logging.getLogger("other").warning("%s", "{SECRET}")
"""


def test_threads_and_finalisers_that_fail_are_logged_without_their_texts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "thread_ended", "unraisable", "said", "message_withheld",
    ]  # fmt: skip
    assert lines[0]["ended"] == "worker-7"
    assert "ValueError" in lines[0]["error"]
    assert lines[2]["n"] == 1
    assert "沈云舟" not in done.stderr
    assert "310199" not in done.stderr
    assert done.stdout == ""
