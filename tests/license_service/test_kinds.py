"""Kinds of licences: the file that comes with the product, and what a wrong file gets."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import CHINA, china_date
from kernel.identifiers import build_license_identifier, parse_license_identifier
from license_service.errors import KindsInvalid, LicenseKindUnknown
from license_service.kinds import Validity, load_kinds, parse_kinds

GOOD = {
    "version": "2026-11",
    "authorities": {"market": {"code": "11100000MB0143028R", "zh": "总局", "en": "SAMR"}},
    "kinds": [
        {
            "key": "business_license",
            "name": {"zh": "营业执照", "en": "Business licence"},
            "authority": "market",
            "type": "001",
            "holder": "organization",
            "validity": None,
            "face": [{"key": "address", "zh": "住所", "en": "Address"}],
        }
    ],
}


def changed(path, value):
    """A copy of the good file with one value replaced."""
    copy = yaml.safe_load(yaml.safe_dump(GOOD))
    place = copy
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return yaml.safe_dump(copy, allow_unicode=True)


def test_the_kinds_of_the_demo_story_and_of_a_district_are_there():
    kinds = load_kinds()
    assert kinds.get("business_license").type_code == "11100000MB0143028R001"
    assert kinds.get("food_business_permit").type_code == "11100000MB0143028R002"
    assert kinds.get("comprehensive_industry_permit").bundle
    for key in (
        "health_certificate",
        "real_estate_certificate",
        "residence_permit",
        "disability_certificate",
        "public_place_hygiene_permit",
        "physician_practice_certificate",
        "construction_permit",
        "road_transport_permit",
        "elderly_allowance_certificate",
        "birth_certificate",
        "identity_card",
    ):
        assert key in kinds
    assert len({kind.type_code for kind in kinds}) == len(kinds)


def test_an_identifier_can_be_built_for_every_kind():
    for kind in load_kinds():
        made = build_license_identifier(kind.type_code, "11310199MB2Y01016G", "1", 1)
        assert parse_license_identifier(str(made)).type_code == kind.type_code


def test_an_unknown_kind_is_refused_and_only_echoed_if_it_could_be_a_key():
    kinds = load_kinds()
    with pytest.raises(LicenseKindUnknown) as refused:
        kinds.get("fishing_permit")
    assert refused.value.details == {"kind": "fishing_permit"}
    with pytest.raises(LicenseKindUnknown) as refused:
        kinds.get("310199198802299064")
    assert refused.value.details == {"kind": "?"}


def test_the_good_file_is_good():
    kinds = parse_kinds(yaml.safe_dump(GOOD, allow_unicode=True))
    assert [kind.key for kind in kinds] == ["business_license"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["surplus"], 1),
        (["version"], "first"),
        (["kinds"], []),
        (["kinds", 0, "surplus"], 1),
        (["kinds", 0, "key"], "Business"),
        (["kinds", 0, "authority"], "nobody"),
        (["kinds", 0, "type"], "01"),
        (["kinds", 0, "type"], 1),
        (["kinds", 0, "holder"], "company"),
        (["kinds", 0, "validity"], {"years": 0}),
        (["kinds", 0, "validity"], {"years": "5"}),
        (["kinds", 0, "name"], {"zh": "营业执照"}),
        (["kinds", 0, "face"], GOOD["kinds"][0]["face"] * 2),
        (["kinds"], GOOD["kinds"] * 2),
        (["kinds"], [*GOOD["kinds"], {**GOOD["kinds"][0], "key": "other_license"}]),
        (["authorities", "market", "code"], "11100000MB0143028X"),
        (["authorities"], None),
    ],
)
def test_a_wrong_file_is_refused(path, value):
    with pytest.raises(KindsInvalid):
        parse_kinds(changed(path, value))


@pytest.mark.parametrize(
    "text", ["", "[]", "kinds: [", "!!python/object:os.system {}", "a: &a [*a]"]
)
def test_what_is_no_kinds_file_at_all_is_refused(text):
    with pytest.raises(KindsInvalid):
        parse_kinds(text)


def china(*parts):
    return datetime(*parts, tzinfo=CHINA).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "validity", "end"),
    [
        (china(2026, 11, 24), {"years": 5}, china(2031, 11, 24)),
        (china(2028, 2, 29), {"years": 1}, china(2029, 3, 1)),
        (china(2028, 2, 29), {"years": 4}, china(2032, 2, 29)),
        (china(2026, 1, 31), {"months": 1}, china(2026, 3, 1)),
        (china(2026, 3, 31), {"months": 1}, china(2026, 5, 1)),
        (china(2026, 12, 31), {"months": 2}, china(2027, 3, 1)),
        (china(2026, 6, 30), {"years": 1, "months": 6}, china(2027, 12, 30)),
    ],
)
def test_a_term_ends_on_the_same_day_or_the_first_of_the_next_month(start, validity, end):
    assert Validity(**validity).end(start) == end


@given(
    st.integers(0, 40_000).map(lambda days: china(1950, 1, 1) + timedelta(days=days, hours=7)),
    st.integers(1, 240),
)
def test_a_term_has_the_full_months_and_keeps_the_hour(start, months):
    end = Validity(months=months).end(start)
    first, last = china_date(start), china_date(end)
    passed = (last.year - first.year) * 12 + last.month - first.month
    assert (passed, last.day) in ((months, first.day), (months + 1, 1))
    assert end.timetz() == start.timetz()
