"""What a changed receipt may say: nothing, less than before, or what a genuine one says.

A change that is not seen, because the same evidence is told, is allowed in named places.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from kernel.canonical import canonical_bytes
from ledger.anchor_checks import AnchorState
from ledger.receipts import Evidence, Failure, Outcome, verify_receipt
from tests.mutations import changes
from tests.mutations.bugs import Bug
from tests.mutations.specimens import Specimens, make

Facts: TypeAlias = frozenset[tuple[object, ...]]

SPREAD = 37

# Nothing that is told depends on these, so a change of them is no other evidence.
UNSEEN = {
    re.compile(pattern): reason
    for pattern, reason in {
        r"/anchors/\d+/chain_id( .*)?": "what the operator calls the chain; the verifier's counts",
        r"/anchors/\d+ twice": "the same evidence, told again",
        r"/anchors/\d+ turned": "a list of evidence in another order",
        r"/anchors/\d+/certificates/\d+ (twice|turned)": "offered for a path, and not trusted",
        # Version; names of digests; certificates; version, digest, algorithm of the signer.
        r"/anchors/4/tokens/1 field /0/1/1/0/(0|1/.*|3(/.*)?|4/0/0|4/0/2/1|4/0/4/0)( .*)?": (
            "fields of a token that its signature leaves out and its meaning does not need;"
            " of a renewed token even these are covered"
        ),
        r"(/anchors/\d+)?/proof line \d+ turned": "signature lines in another order",
    }.items()
}


def facts(outcome: Outcome) -> Facts:
    """Everything that is told to hold, each with the record and place that it is about."""
    if isinstance(outcome, Failure):
        return frozenset()
    about = (canonical_bytes(outcome.record), outcome.origin, outcome.index)
    tree = (outcome.size, outcome.root)
    found: set[tuple[object, ...]] = {(*about, "in the log")}
    found |= {(*about, "signed", tree, key.text) for key in outcome.checkpoint.log_keys}
    found |= {
        (*about, "cosigned", tree, witness, one.key.text, one.time)
        for witness, one in outcome.checkpoint.cosignatures.items()
    }
    for one in outcome.anchors:
        if one.state is AnchorState.HOLDS:
            anchor = (*about, one.kind, one.size, one.name, one.time, one.block, one.block_hash)
            signed_by = () if one.signed is None else one.signed.log_keys
            found |= {anchor, *((*anchor, "signed", key.text) for key in signed_by)}
            found |= {(*anchor, "renewed", number) for number in range(1, one.renewals + 1)}
    return frozenset(found)


def times(outcome: Evidence) -> set[datetime | None]:
    return {one.time for one in outcome.anchors if one.state is AnchorState.HOLDS}


@dataclass
class Judge:
    """Counts verdicts; `wrong` names the changes that must not have passed."""

    specimens: Specimens
    refused: int = 0
    lost: int = 0
    taken: int = 0
    unseen: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def judged(self) -> int:
        return self.refused + self.lost + self.taken + self.unseen + len(self.wrong)

    def facts_of(self, data: bytes) -> Facts:
        return facts(self._verify(data))

    def judge(self, what: str, data: bytes, original: Facts, given: Facts = frozenset()) -> None:
        """`original`: what the receipt said before; `given`: what it and a donor say together,
        if something was put in that came from elsewhere and may be just as true."""
        try:
            outcome = self._verify(data)
        except Exception as error:  # noqa: BLE001 - whatever is raised is a finding here
            self.wrong.append(f"{what}: raises {type(error).__name__}: {error}")
            return
        found = facts(outcome)
        if isinstance(outcome, Failure):
            self.refused += 1
        elif outcome.proved_by not in (times(outcome) or {None}):
            self.wrong.append(f"{what}: a time that nothing proves")
        elif found < original:
            self.lost += 1
        elif given and found <= given:
            self.taken += 1
        elif found == original:
            place = changes.place(self.specimens.receipt, data) if what.startswith("byte") else what
            if any(pattern.fullmatch(place) for pattern in UNSEEN):
                self.unseen += 1
            else:
                self.wrong.append(f"{what}: not seen ({place})")
        else:
            self.wrong.append(f"{what}: says more")

    def _verify(self, data: bytes) -> Outcome:
        return verify_receipt(data, self.specimens.policy, self.specimens.demands)


ALL = ("bytes", "json", "proofs", "binary", "swaps")


@dataclass(frozen=True)
class Case:
    """One changed receipt; `original` and `given` as the judge takes them."""

    what: str
    data: bytes
    original: Facts
    given: Facts


FAMILIES: Mapping[str, Callable[[bytes], Iterator[changes.Change]]] = {
    "bytes": changes.of_bytes,
    "json": changes.of_json,
    "proofs": changes.of_proofs,
    "binary": changes.of_binary,
}


def cases(specimens: Specimens, family: str, donor: str = "") -> Iterator[Case]:
    """All of a family, of swaps those with one donor if it is named.

    Bytes are those of the whole receipt; the rest is done to receipts with one anchor each,
    which are quicker to verify, and to the one without.
    """
    judge = Judge(specimens)
    if family == "bytes":
        yield from _cases(
            judge, specimens.receipt, changes.of_bytes(specimens.receipt), frozenset()
        )
        return
    whole = changes.load(specimens.receipt)
    bare = [{**whole, "anchors": []}]
    alone = [{**whole, "anchors": [one]} for one in whole["anchors"]]
    if family == "swaps":
        for other in specimens.donors:
            if donor not in ("", other.name):
                continue
            given = judge.facts_of(specimens.receipt)
            given |= judge.facts_of(other.data) if other.genuine else frozenset()
            for number, one in enumerate(changes.dump(value) for value in alone):
                for case in _cases(judge, one, changes.of_swaps(one, other.data), given):
                    what = f"{_numbered(case.what, number)} of {other.name}"
                    yield replace(case, what=what)
        return
    for number, one in enumerate([changes.dump(value) for value in bare + alone], -1):
        for case in _cases(judge, one, FAMILIES[family](one), frozenset()):
            # What is outside of the anchor is changed once, not once for each anchor.
            if number == -1:
                yield case
            elif case.what.startswith("/anchors/0"):
                yield replace(case, what=_numbered(case.what, number))


def _numbered(what: str, number: int) -> str:
    """The anchor is the only one there; in the whole receipt it has another number."""
    return what.replace("/anchors/0", f"/anchors/{number}", 1)


def _cases(
    judge: Judge, data: bytes, found: Iterable[changes.Change], given: Facts
) -> Iterator[Case]:
    original = judge.facts_of(data)
    for what, changed in found:
        if changed != data:
            yield Case(what, changed, original, given)


def caught(specimens: Specimens, bug: Bug) -> str | None:
    """The first change that shows the bug. What receipts say without it is asked before."""
    judge, where = Judge(specimens), re.compile(bug.where)
    found = cases(specimens, bug.family, bug.donor)
    honest = [case for case in found if where.fullmatch(case.what)]
    # Spread, so that few are needed: neighbours are alike.
    for start in range(SPREAD):
        for case in honest[start::SPREAD]:
            with bug.plant():
                judge.judge(case.what, case.data, case.original, case.given)
            if judge.wrong:
                return judge.wrong[0]
    return None


def judge_part(family: str, part: int, parts: int) -> Judge:
    """Judges every `parts`-th change of a family, the first of them number `part`; with
    receipts of its own."""
    with tempfile.TemporaryDirectory() as folder:
        specimens = make(Path(folder))
    judge = Judge(specimens)
    for case in islice(cases(specimens, family), part, None, parts):
        judge.judge(case.what, case.data, case.original, case.given)
    return judge
