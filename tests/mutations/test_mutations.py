"""Receipts with all evidence there is, changed in every way that `changes` knows.

Here a sample of the long families; `make soak` makes every change.
"""

from pathlib import Path

import pytest

from ledger.receipts import Evidence, verify_receipt
from tests.mutations.bugs import BUGS, Bug
from tests.mutations.judging import Judge, cases, caught, facts, judge_part
from tests.mutations.specimens import KINDS, Specimens, make


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Specimens:
    return make(tmp_path_factory.mktemp("authorities"))


def test_the_receipt_has_all_evidence_there_is(specimens: Specimens) -> None:
    outcome = verify_receipt(specimens.receipt, specimens.policy, specimens.demands)
    assert isinstance(outcome, Evidence)
    assert outcome.checkpoint.post_quantum
    assert len(outcome.checkpoint.log_keys) == 2
    assert set(outcome.checkpoint.cosignatures) == {"w0", "w1"}
    names = [*(f"chain {kind}" for kind in KINDS), "authority"]
    assert [one.name for one in outcome.anchors] == names
    # Anchors are each about a checkpoint with two signatures; the stamp was renewed.
    assert len(facts(outcome)) == 1 + 2 + 2 + 5 * (1 + 2) + 1


def test_genuine_donors_prove_what_they_say_and_the_others_add_nothing(
    specimens: Specimens,
) -> None:
    judge = Judge(specimens)
    known = judge.facts_of(specimens.receipt)
    for donor in specimens.donors:
        assert donor.genuine == bool(judge.facts_of(donor.data) - known) or not donor.genuine
        if not donor.genuine:
            assert judge.facts_of(donor.data) <= known, donor.name


# Of so many changes one is judged here, and at least so many of them tell of lost evidence.
@pytest.mark.parametrize(
    ("family", "every", "judged", "lost"),
    [
        ("bytes", 197, 600, 75),
        ("json", 1, 1200, 100),
        ("proofs", 1, 500, 200),
        ("binary", 11, 450, 450),
        ("swaps", 23, 550, 430),
    ],
)
def test_a_changed_receipt_is_refused_or_tells_of_evidence_lost(
    family: str, every: int, judged: int, lost: int
) -> None:
    judge = judge_part(family, 0, every)
    assert judge.wrong == []
    assert judge.judged >= judged
    assert judge.lost >= lost


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_check_that_is_left_out_is_noticed(specimens: Specimens, bug: Bug) -> None:
    assert caught(specimens, bug) is not None


def test_a_planted_bug_leaves_nothing_behind(specimens: Specimens, tmp_path: Path) -> None:
    judge = Judge(specimens)
    for bug in BUGS:
        with bug.plant():
            pass
    for case in list(cases(specimens, "proofs"))[::7]:
        judge.judge(case.what, case.data, case.original, case.given)
    assert judge.wrong == []
