"""The catalogue that comes with the program: numbers, languages, sense, identity, changes."""

import re
from typing import Any

import pytest

from kernel.canonical import canonical_bytes, parse_canonical
from kernel.identifiers import MatterKind, parse_credit_code, parse_matter_code
from license_service.kinds import load_kinds
from materials_api.catalogue import Catalogue, load_catalogue
from materials_api.catalogue.changes import changes
from materials_api.catalogue.errors import (
    CatalogueUnreadable,
    MaterialTypeUnknown,
    MatterUnknown,
    RegisterUnknown,
    RequirementUnknown,
    VariantNeeded,
    VariantUnknown,
)
from materials_api.catalogue.terms import (
    MEDIA_TYPES,
    ConsentRule,
    Format,
    MaterialForm,
    PartyEventKind,
    Provenance,
    Route,
    Scope,
    Sensitivity,
)

CHINESE = re.compile(r"[\u4e00-\u9fff]")
WANTED = {
    "company_establishment",
    "food_business_permit",
    "public_place_hygiene_permit",
    "physician_registration",
    "residence_permit",
    "talent_settlement",
    "public_rental_housing",
    "employment_subsidy",
    "disability_certificate",
    "elderly_allowance",
    "construction_permit",
    "road_transport_permit",
}


def test_there_are_enough_matters_and_types(catalogue: Catalogue) -> None:
    assert {matter.key for matter in catalogue.matters} >= WANTED
    assert len(catalogue.matters) >= 12
    assert len(catalogue.types) >= 30
    assert {variant.key for variant in catalogue.matter("food_business_permit").variants} == {
        "new",
        "moved",
    }


def test_every_licence_kind_it_names_exists() -> None:
    kinds = frozenset(kind.key for kind in load_kinds())
    assert load_catalogue(kinds).sha256 == load_catalogue().sha256


def texts(value: Any) -> list[dict[str, str]]:
    """Every `{zh, en}` anywhere in the catalogue."""
    if isinstance(value, dict):
        if set(value) == {"zh", "en"}:
            return [value]
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return []


def test_everything_that_people_read_is_in_both_languages(catalogue: Catalogue) -> None:
    found = texts(catalogue.model_dump(mode="json"))
    assert len(found) > 150
    for text in found:
        assert CHINESE.search(text["zh"]), text
        assert not CHINESE.search(text["en"]), text


def test_codes_are_right(catalogue: Catalogue) -> None:
    for matter in catalogue.matters:
        full = parse_matter_code(matter.full_code)
        assert (full.basic, full.kind) == (matter.code, matter.kind)
        assert parse_credit_code(matter.department) == matter.department


def test_the_demos_matter_is_found_by_each_of_its_codes(catalogue: Catalogue) -> None:
    food = catalogue.matter("food_business_permit")
    for code in (
        "000131014000",
        "11310199MB2Y01016G4000131014000",
        "11310199MB2Y01016G400013101400001",
    ):
        assert catalogue.matter(code) is food
    assert food.full_code == food.implementing_code
    assert food.kind is MatterKind.PERMISSION
    # Another department's implementing code of the same basic matter is not this one.
    assert catalogue.find_matter("11310199MB2Y020191" + "4000131014000") is None
    assert catalogue.find_matter("11310199MB2Y01016G3000131014000") is None
    assert food.name_of("moved").zh == "食品经营许可（迁址新办）"


@pytest.mark.parametrize("code", ["", "000131014001", "x" * 31, "食" * 33, "0" * 500])
def test_an_unknown_matter_has_a_code(catalogue: Catalogue, code: str) -> None:
    with pytest.raises(MatterUnknown) as caught:
        catalogue.matter(code)
    assert caught.value.code == "matter_unknown"
    assert len(str(caught.value.details["matter"])) <= 64


def test_what_is_not_in_the_catalogue_has_a_code(catalogue: Catalogue) -> None:
    food = catalogue.matter("food_business_permit")
    with pytest.raises(VariantNeeded):
        food.variant(None)
    with pytest.raises(VariantUnknown):
        food.variant("extended")
    with pytest.raises(RequirementUnknown):
        food.requirement("moved", "bid_notice")
    with pytest.raises(MaterialTypeUnknown):
        catalogue.type("floor_plan")
    with pytest.raises(RegisterUnknown):
        catalogue.register_of("people")
    assert catalogue.matter("elderly_allowance").variant(None).key == "general"


def test_the_demos_food_permit_reads_as_the_story_tells(food: Any) -> None:
    mandatory = [one for one in food.matter.required("moved") if one.mandatory]
    assert [one.key for one in mandatory] == [
        "application_form",
        "business_license",
        "identity_proof",
        "health_certificate",
        "food_safety_rules",
        "lease_contract",
        "real_estate_certificate",
        "layout_plan",
    ]
    routes = {one.key: tuple(rule.route for rule in one.routes) for one in mandatory}
    assert routes["application_form"] == routes["layout_plan"] == ()
    assert routes["real_estate_certificate"] == (Route.HISTORIC_MATERIAL, Route.DATA_CHECK)
    lease = food.matter.requirement("moved", "lease_contract")
    assert PartyEventKind.ADDRESS_CHANGED in lease.stale_on
    assert food.catalogue.consent_of(lease) is ConsentRule.ANY
    certificate = food.matter.requirement("moved", "real_estate_certificate")
    assert food.catalogue.consent_of(certificate) is ConsentRule.ALL
    assert PartyEventKind.ADDRESS_CHANGED not in certificate.stale_on
    assert [food.catalogue.name_of(one).zh for one in mandatory][-1] == "经营场所布局图"


def test_any_file_may_come_as_other_material_of_every_matter_and_be_reused(
    catalogue: Catalogue,
) -> None:
    assert catalogue.type("other").formats == (Format.ANY,)
    assert catalogue.type("other").accepts("application/x-anything")
    for matter in catalogue.matters:
        for variant in matter.variants:
            other = matter.requirement(variant.key, "other")
            assert not other.mandatory
            assert other.provenance is Provenance.UNCHECKED_COPY
            assert other.historic_material is not None
            assert Scope.SAME_HOLDER in other.historic_material.scopes


def test_forms_are_never_reusable_and_every_kind_of_rule_is_used(catalogue: Catalogue) -> None:
    forms = {type_.form for type_ in catalogue.types}
    assert forms == set(MaterialForm)
    for type_ in catalogue.types:
        assert type_.reusable == (type_.form is MaterialForm.ORIGINAL)
        assert type_.retention == "permanent" or type_.retention in (10, 30)
    rules = [rule for matter in catalogue.matters for rule in matter.requirements]
    assert {one.route for rule in rules for one in rule.routes} == set(Route)
    assert {one for rule in rules for one in rule.stale_on} >= {
        PartyEventKind.ADDRESS_CHANGED,
        PartyEventKind.NAME_CHANGED,
        PartyEventKind.EMPLOYMENT_CHANGED,
        PartyEventKind.MARITAL_STATUS_CHANGED,
    }
    assert {type_.sensitivity for type_ in catalogue.types} == set(Sensitivity)
    assert {format_ for type_ in catalogue.types for format_ in type_.formats} == set(Format)


def test_a_type_accepts_what_it_lists_and_nothing_else(catalogue: Catalogue) -> None:
    photo = catalogue.type("photograph")
    assert photo.accepts("image/jpeg")
    assert not photo.accepts("application/pdf")
    assert set(MEDIA_TYPES) == set(Format) - {Format.ANY}


def test_the_canonical_form_comes_back_as_the_same_catalogue(catalogue: Catalogue) -> None:
    parsed = Catalogue.parse(catalogue.canonical)
    assert parsed == catalogue
    assert parsed.sha256 == catalogue.sha256
    assert canonical_bytes(parse_canonical(catalogue.canonical)) == catalogue.canonical


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version":"1"}', b"\xff"])
def test_stored_content_that_is_no_catalogue_is_refused(content: bytes) -> None:
    with pytest.raises(CatalogueUnreadable):
        Catalogue.parse(content)


def test_stored_content_with_an_unknown_key_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueUnreadable):
        Catalogue.parse(catalogue.canonical[:-1] + b',"zz":1}')


def test_the_first_catalogue_adds_everything(catalogue: Catalogue) -> None:
    record = changes(None, catalogue)
    assert record["previous"] is None
    assert record["sha256"] == catalogue.sha256.hex()
    assert record["matters"] == {
        "added": sorted(matter.code for matter in catalogue.matters),
        "changed": [],
        "removed": [],
    }
    canonical_bytes(record)


def test_a_change_names_codes_only(catalogue: Catalogue) -> None:
    first, *rest = catalogue.matters
    longer = first.time_limits.model_copy(update={"promised": 0})
    types = catalogue.types[1:]
    new = catalogue.model_copy(
        update={
            "version": "2026.12",
            "matters": (first.model_copy(update={"time_limits": longer}), *rest[1:]),
            "types": types,
        }
    )
    new = Catalogue.parse(canonical_bytes(new.model_dump(mode="json", by_alias=True)))
    record = changes(catalogue, new)
    assert record["previous"] == catalogue.sha256.hex() != record["sha256"]
    assert record["matters"] == {"added": [], "changed": [first.code], "removed": [rest[0].code]}
    assert record["material_types"] == {
        "added": [],
        "changed": [],
        "removed": [catalogue.types[0].key],
    }
    assert record["registers"] == {"added": [], "changed": [], "removed": []}
    assert record["archives"] == {"added": [], "changed": [], "removed": []}
    assert not CHINESE.search(canonical_bytes(record).decode())
