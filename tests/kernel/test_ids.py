"""Ids: random, of a fixed form, and of a kind."""

import pytest

from kernel.ids import IdKind, is_id, new_id


@pytest.mark.parametrize("kind", IdKind)
def test_a_new_id_has_the_form_of_its_kind_and_of_no_other(kind):
    made = new_id(kind)
    assert len(made) == 30
    assert [other for other in IdKind if is_id(made, other)] == [kind]


def test_ids_do_not_repeat_and_use_every_bit():
    made = [new_id(IdKind.CASE)[4:] for _ in range(2000)]
    assert len(set(made)) == len(made)
    # Each character holds five of the 130 bits.
    for place in (0, 1, 12, 25):
        assert len({text[place] for text in made}) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cas_",
        "cas_" + "0" * 25,
        "cas_" + "0" * 27,
        "cas_" + "0" * 25 + "u",
        "cas_" + "0" * 25 + "A",
        "mat_" + "0" * 26,
        "cas_" + "0" * 26 + "\n",
        "cas_" + "0" * 25 + "０",
    ],
)
def test_other_texts_are_no_case_ids(text):
    assert not is_id(text, IdKind.CASE)


def test_prefixes_are_three_letters_and_unique():
    prefixes = [kind.value for kind in IdKind]
    assert len(set(prefixes)) == len(prefixes)
    assert all(len(prefix) == 3 and prefix.isalpha() and prefix.islower() for prefix in prefixes)
