"""The stage of the demo story: callers, papers, what is kept, and how each does what it does.

Every answer is checked against what the story tells: a demo that goes otherwise
fails. `story` plays on it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.demo import people
from runtime.demo.client import Client, Json, Refused
from runtime.demo.errors import DemoExpectation
from runtime.demo.papers import Papers
from runtime.demo.tampering import Tampering

BATCH = 50  # items of one verification call


@dataclass(slots=True)
class Kept:
    """What the story left behind, for receipts and the summary."""

    cases: list[str] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)
    licenses: list[str] = field(default_factory=list)
    verifications: list[Json] = field(default_factory=list)
    refused_files: list[Json] = field(default_factory=list)
    receipts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Thing → (address of its receipt, key of the caller who may fetch it)."""


class Stage:
    """The story's means: callers, papers, what was kept, and a voice."""

    def __init__(
        self,
        callers: dict[str, Client],
        papers: Papers,
        objects: Tampering,
        say: Callable[[str], None],
    ) -> None:
        self.callers = callers
        self.papers = papers
        self.objects = objects
        self._say = say
        self.step = "0"
        self.kept = Kept()
        self.packages: list[str] = []
        """Cases to be exported at the end."""
        self.plan_object = ""
        """Key of the large scan."""

    def say(self, line: str) -> None:
        """Tell the reader; a line that begins with a number begins that step."""
        if not line.startswith(" "):
            self.step = line.split(" ", 1)[0]
        self._say(line)

    def __getitem__(self, caller: str) -> Client:
        return self.callers[caller]

    def case(self, matter: str, applicant: people.Someone, **more: Any) -> str:
        """A clerk opens a case."""
        answer = self["window"].post(
            "/v1/cases",
            {"matter": matter, "applicant": applicant.ref(), "channel": "window", **more},
        )
        case = str(answer["case_id"])
        self.kept.cases.append(case)
        self.kept.receipts[case] = (answer["receipt"]["href"], "window")
        return case

    def hand_in(self, case: str, file: Path, type_: str, title: str, **more: Any) -> str:
        """The clerk compares with the original, scans, and registers."""
        body = {
            "type": type_,
            "requirement": type_,
            "title": title,
            "provenance": "certified_copy",
            **more,
        }
        answer = self["window"].submit(case, [(file, file.name)], **body)
        return self._kept(answer)

    def _kept(self, answer: Json) -> str:
        material = str(answer["material_id"])
        self.kept.materials.append(material)
        self.kept.receipts[material] = (answer["receipt"]["href"], "window")
        return material

    def hand_in_plain(self, case: str, file: Path, name: str) -> str:
        """Any file as 其他材料, whatever its kind."""
        answer = self["window"].post(
            f"/v1/cases/{case}/materials",
            {
                "type": "other",
                "requirement": "other",
                "title": name,
                "provenance": "unchecked_copy",
                "files": [{"upload": self["window"].upload(file), "name": name}],
            },
        )
        return self._kept(answer)

    def happens(self, case: str, *events: tuple[str, str, Json]) -> None:
        """Events of a case, each by its caller."""
        for caller, event, more in events:
            self[caller].post(f"/v1/cases/{case}/events", {"event": event, **more})

    def decide(self, case: str, department: str = "department", *, gaps: bool = False) -> None:
        """Submitted, accepted, approved, closed; with `gaps` though papers are missing (容缺)."""
        incomplete = {"with_gaps": True, "note": "容缺受理，限期补齐"} if gaps else {}
        self.happens(
            case,
            ("window", "submit", {}),
            (department, "accept", incomplete),
            (department, "approve", incomplete),
            (department, "close", {}),
        )

    def issue(self, department: str, **license_: Any) -> str:
        """A department issues a licence."""
        drafted = self[department].post("/v1/licenses", {"area_code": people.AREA, **license_})
        license_id = str(drafted["license_id"])
        issued = self[department].post(f"/v1/licenses/{license_id}/events", {"event": "issue"})
        self.keep_license(license_id, issued, department)
        return license_id

    def keep_license(self, license_id: str, answer: Json, department: str) -> None:
        self.kept.licenses.append(license_id)
        self.kept.receipts[license_id] = (answer["receipt"], department)

    def ask(self, case: str, purpose: str, **what: Any) -> list[Json]:
        """The window asks the holders for authorisation."""
        answer = self["window"].post(
            f"/v1/cases/{case}/grants", {"purpose": purpose, "use": "once", **what}
        )
        return list(answer["items"])

    def approve(self, grants: Iterable[Json], caller: str) -> list[str]:
        """The holder looks at what would be shown to whom, and approves."""
        mine = {one["grant_id"] for one in self[caller].all("/v1/grants")}
        approved = []
        for grant in grants:
            if grant["grant_id"] in mine:
                self[caller].get(f"/v1/grants/{grant['grant_id']}")
                self[caller].post(f"/v1/grants/{grant['grant_id']}/approve")
                approved.append(str(grant["grant_id"]))
        return approved

    def verify(
        self,
        case: str,
        items: Sequence[tuple[str, str]],
        caller: str = "window",
        grant: str | None = None,
    ) -> dict[str, Json]:
        """One call for many items; by item, what came out. `grant`: the one to rely on."""
        named = {} if grant is None else {"grant": grant}
        outcomes: dict[str, Json] = {}
        for start in range(0, len(items), BATCH):
            answer = self[caller].post(
                "/v1/verifications",
                {
                    "case": case,
                    "items": [
                        {"requirement": requirement, "item": item, **named}
                        for requirement, item in items[start : start + BATCH]
                    ],
                    "basis": {"kind": "consent"},
                },
            )
            for one in answer["items"]:
                self.keep_verification(one, caller)
                outcomes[str(one["item"])] = one
        return outcomes

    def keep_verification(self, one: Json, caller: str) -> None:
        self.kept.verifications.append(
            {"id": one["verification"], "outcome": one["outcome"], "reason": one["reason"]}
        )
        self.kept.receipts[str(one["verification"])] = (one["receipt"]["href"], caller)

    def check_data(self, case: str, requirement: str, caller: str = "window", **more: Any) -> Json:
        """数据核验: asks the register that the catalogue names."""
        answer = self[caller].post(
            f"/v1/cases/{case}/data-checks", {"requirement": requirement, **more}
        )
        (one,) = answer["items"]
        self.keep_verification(one, caller)
        return dict(one)

    def evidence(self) -> None:
        """Wait until everything that was done has its place in the log."""
        for path, caller in self.kept.receipts.values():
            self[caller].receipt(path)

    def expect(self, step: str, got: object, wanted: object) -> None:
        if got != wanted:
            raise DemoExpectation(step=step, got=f"{got} ≠ {wanted}")

    def refusal(self, call: Callable[[], object]) -> str:
        """The code of the refusal that `call` must meet."""
        try:
            call()
        except Refused as refused:
            return refused.code
        return "accepted"
