"""Clients that work through kills and write down what the server acknowledged.

A request that got no answer is sent again to the next process, with the same key
or id: it must happen once, whatever was already done when the server died.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from kernel.ids import IdKind, new_id
from runtime.demo import people

PDF = b"%%PDF-1.4\n1 0 obj<<>>endobj\n%% %d\ntrailer<</Root 1 0 R>>\n%%%%EOF\n"
_LOST = (OSError, http.client.HTTPException)
# Answers of an API whose database is away, or just came back: the same request again.
_AGAIN = {"database_unavailable", "outcome_unknown", "ledger_stopped"}
AGAIN_SECONDS = 30


class Ended(Exception):
    """The test is over."""


class Wrong(Exception):
    """An answer that no kill explains."""


@dataclass
class Place:
    """Where the server listens now; empty while there is none."""

    url: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    def move(self, url: str, *, ended: bool = False) -> None:
        with self.changed:
            self.url, self.ended = url, ended
            self.changed.notify_all()

    def here(self) -> str:
        """The address, as soon as there is one."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or self.url, 120)
            if self.ended or not self.url:
                raise Ended
            return self.url


@dataclass
class Known:
    """What was acknowledged: by kind, id and what was said of it."""

    items: list[tuple[str, str, Any]] = field(default_factory=list)
    retried: int = 0
    requests: int = 0

    def counts(self) -> Counter[str]:
        return Counter(kind for kind, _, _ in self.items)


class Caller:
    """Sends requests until they are answered; one thread's own."""

    def __init__(self, place: Place, tokens: dict[str, str], known: Known) -> None:
        self.place, self.tokens, self.known = place, tokens, known
        self._url = ""
        self._connection: http.client.HTTPConnection | None = None

    def send(
        self, who: str, method: str, path: str, body: Any = None, **more: str
    ) -> tuple[int, bytes]:
        """Status and body of the answer, from this life of the server or a later one."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}", **more}
        if method == "POST":
            headers |= {"Idempotency-Key": new_id(IdKind.REQUEST)}
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        if not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        deadline = time.monotonic() + AGAIN_SECONDS
        while True:
            url = self.place.here()
            if self._connection is None or self._url != url:
                self.close()
                self._url = url
                self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            try:
                self.known.requests += 1
                self._connection.request(
                    method, path, content if method != "GET" else None, headers
                )
                answer = self._connection.getresponse()
                status, data = answer.status, answer.read()
                if status != 503 or json.loads(data).get("code") not in _AGAIN:
                    return status, data
                if time.monotonic() > deadline:
                    return status, data
                self.known.retried += 1
                time.sleep(0.05)
            except _LOST:
                self.close()
                self.known.retried += 1
                time.sleep(0.01)  # it is dying, and may not have been missed yet

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def made(self, who: str, method: str, path: str, body: Any = None, **more: str) -> Any:
        status, data = self.send(who, method, path, body, **more)
        if status >= 300:
            raise Wrong(f"{method} {path}: {status} {data[:300]!r}")
        return json.loads(data)


class Applicant(threading.Thread):
    """Hands in a material, has it decided, grants it, has it verified; again and again."""

    def __init__(self, number: int, caller: Caller, seed: int) -> None:
        super().__init__(name=f"applicant {number}", daemon=True)
        self._call = caller
        self._rng = random.Random(seed)
        self._known = caller.known.items
        self.tokens = caller.tokens
        self.failure: BaseException | None = None
        self.ending = False  # the work that was begun is the last

    def run(self) -> None:
        try:
            while not self.ending:
                self._work()
        except Ended:
            return
        except BaseException as error:  # noqa: BLE001 - the loop raises it in its own thread
            self.failure = error

    def _work(self) -> None:
        made = self._call.made
        case = self._case()
        material, href = self._material(case)
        for who, event, state in (
            ("window", "submit", "submitted"),
            ("department", "accept", "accepted"),
            ("department", "approve", "approved"),
        ):
            self._event(who, case, event, state)
        self._receipt(href, material)
        grant = made(
            "representative",
            "POST",
            "/v1/grants",
            {"items": [material], "purpose": "食品经营许可", "use": "once"},
        )["grant_id"]
        self._known.append(("grant", grant, {"granted", "spent", "revoked"}))
        first, second = self._case(), self._case()
        if self._rng.random() < 0.3:
            made("representative", "POST", f"/v1/grants/{grant}/revoke")
            self._known.append(("grant", grant, {"revoked"}))
            self._verify(first, material, grant, "denied")
        else:
            self._verify(first, material, grant, "allowed")
            self._known.append(("grant", grant, {"spent"}))
        self._verify(second, material, grant, "denied")

    def _case(self) -> str:
        case = str(
            self._call.made(
                "window",
                "POST",
                "/v1/cases",
                {
                    "matter": people.FOOD_MATTER,
                    "variant": "moved",
                    "applicant": people.COMPANY.ref(),
                    "acting": people.ACTS_FOR_COMPANY,
                    "channel": "window",
                },
            )["case_id"]
        )
        self._known.append(("case", case, None))
        return case

    def _material(self, case: str) -> tuple[str, str]:
        """Upload and register a file; its id, and where its receipt will be."""
        upload = new_id(IdKind.UPLOAD)
        data = PDF % self._rng.getrandbits(64) + bytes(self._rng.choice((0, 300, 40_000)))
        status, told = self._call.send("window", "PUT", f"/v1/uploads/{upload}", data)
        if status >= 300:
            raise Wrong(f"upload: {status} {told[:300]!r}")
        self._known.append(("upload", upload, json.loads(told)["digests"]["sha256"]))
        answer = self._call.made(
            "window",
            "POST",
            f"/v1/cases/{case}/materials",
            {
                "type": "other",
                "requirement": "other",
                "title": "其他材料",
                "provenance": "certified_copy",
                "files": [{"upload": upload, "name": "材料.pdf"}],
            },
        )
        material = str(answer["material_id"])
        self._known.append(("material", material, json.loads(told)["digests"]["sha256"]))
        return material, str(answer["receipt"]["href"])

    def _event(self, who: str, case: str, event: str, state: str) -> None:
        gaps = {} if event == "submit" else {"with_gaps": True, "note": "容缺受理，限期补齐"}
        body = {"event": event, **gaps}
        status, told = self._call.send(who, "POST", f"/v1/cases/{case}/events", body)
        if status >= 300:
            # Sent twice, and done the first time: then the case is where it should be.
            now = self._call.made("window", "GET", f"/v1/cases/{case}")["state"]
            if now != state:
                raise Wrong(f"{event} of {case}: {status} {told[:300]!r}, and it is {now}")
        self._known.append(("state", case, state))

    def _receipt(self, path: str, thing: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status, data = self._call.send("window", "GET", path, Prefer="wait=5")
            if status == 200:
                self._known.append(("receipt", path, data))
                return
            if status != 202:
                raise Wrong(f"receipt of {thing}: {status} {data[:300]!r}")
        raise Wrong(f"receipt of {thing}: never there")

    def _verify(self, case: str, material: str, grant: str, expected: str) -> None:
        item = {"requirement": "other", "item": material, "grant": grant}
        (one,) = self._call.made(
            "window", "POST", "/v1/verifications", {"case": case, "items": [item]}
        )["items"]
        if one["outcome"] != expected:
            raise Wrong(f"{one['outcome']} ({one['reason']}) instead of {expected}")
        self._known.append(("verification", one["verification"], expected))
        if self._rng.random() < 0.5:
            self._receipt(one["receipt"]["href"], one["verification"])
