"""Broken catalogue files: each mistake has a code, a file, a line, a key and two languages."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materials_api.catalogue import load_catalogue
from materials_api.catalogue.errors import CatalogueInvalid, Problem, ProblemCode
from materials_api.catalogue.loader import DEFAULT_FOLDER
from materials_api.catalogue.yaml_reader import read

FOOD = "matters/food_business_permit.yaml"
ROAD = "matters/road_transport_permit.yaml"
ELDER = "matters/elderly_allowance.yaml"
P = ProblemCode
Edit = Callable[[str], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "catalogue"
    shutil.copytree(DEFAULT_FOLDER, copied)
    return copied


def problems(folder: Path, kinds: frozenset[str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(CatalogueInvalid) as caught:
        load_catalogue(kinds, folder)
    assert caught.value.code == "catalogue_invalid"
    for problem in caught.value.problems:
        assert re.search(r"[\u4e00-\u9fff]", problem.zh)
        assert problem.en
    return caught.value.problems


def swap(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


# file, edit, code, the text of the line that must be named, the key
CASES: list[tuple[str, str, Edit, ProblemCode, str, str]] = [
    (
        "unknown key",
        FOOD,
        swap("holder: organization", "holder: organization\nfee: 20"),
        P.UNKNOWN_KEY,
        "fee: 20",
        "fee",
    ),
    (
        "misspelt key",
        FOOD,
        swap("stale_on: [address_changed]", "stale: [address_changed]"),
        P.UNKNOWN_KEY,
        "    stale: [",
        "requirements.5.stale",
    ),
    (
        "missing key",
        FOOD,
        swap("retention: 10\n", ""),
        P.MISSING_KEY,
        'code: "000131014000"',
        "retention",
    ),
    (
        "missing name",
        FOOD,
        swap("key: layout_plan\n    type: layout_plan", "key: layout_plan"),
        P.MISSING_KEY,
        "  - key: layout_plan",
        "requirements.7.type",
    ),
    (
        "unknown route",
        FOOD,
        swap(
            "{route: license, kinds: [business_license]}",
            "{route: licence, kinds: [business_license]}",
        ),
        P.UNKNOWN_ROUTE,
        "route: licence",
        "requirements.1.routes.0",
    ),
    (
        "route missing",
        FOOD,
        swap("{route: license, kinds: [business_license]}", "{kinds: [business_license]}"),
        P.MISSING_KEY,
        "{kinds: [business_license]}",
        "requirements.1.routes.0",
    ),
    (
        "route twice",
        FOOD,
        swap(
            "{route: data_check, register: real_estate, fields: [owners, location]}",
            "{route: historic_material, scopes: [same_project]}",
        ),
        P.CONTRADICTION,
        "key: real_estate_certificate",
        "requirements.6",
    ),
    (
        "eleven digits",
        FOOD,
        swap('code: "000131014000"', 'code: "00013101400"'),
        P.WRONG_MATTER_CODE,
        "code: ",
        "code",
    ),
    (
        "letters",
        FOOD,
        swap('code: "000131014000"', 'code: "00013101400A"'),
        P.WRONG_MATTER_CODE,
        "code: ",
        "code",
    ),
    (
        "no such kind",
        FOOD,
        swap('code: "000131014000"', 'code: "001131014000"'),
        P.WRONG_MATTER_CODE,
        "code: ",
        "code",
    ),
    (
        "implementing code",
        FOOD,
        swap("4000131014000\n", "4000131014001\n"),
        P.WRONG_MATTER_CODE,
        'code: "000131014000"',
        "(root)",
    ),
    (
        "31 digits",
        FOOD,
        swap('code: "000131014000"', "code: 11310199MB2Y01016G4000131014000"),
        P.WRONG_MATTER_CODE,
        "code: ",
        "code",
    ),
    (
        "check character",
        FOOD,
        swap("department: 11310199MB2Y01016G", "department: 11310199MB2Y01016H"),
        P.WRONG_CREDIT_CODE,
        "department: ",
        "department",
    ),
    (
        "text for number",
        FOOD,
        swap("max_age_days: 365", 'max_age_days: "365"'),
        P.WRONG_TYPE,
        "max_age_days",
        "requirements.3.max_age_days",
    ),
    (
        "number for text",
        FOOD,
        swap("name: {zh: 食品经营许可,", "name: {zh: 12,"),
        P.WRONG_TYPE,
        "name: {zh: 12",
        "name.zh",
    ),
    (
        "no is a word",
        FOOD,
        swap("key: layout_plan\n", "key: layout_plan\n    mandatory: no\n"),
        P.WRONG_TYPE,
        "mandatory: no",
        "requirements.7.mandatory",
    ),
    (
        "unknown scope",
        FOOD,
        swap("scopes: [same_holder]", "scopes: [same_family]"),
        P.WRONG_VALUE,
        "scopes: [same_family]",
        "requirements.5.routes.0.scopes.0",
    ),
    (
        "zero days",
        FOOD,
        swap("max_age_days: 365", "max_age_days: 0"),
        P.WRONG_VALUE,
        "max_age_days",
        "requirements.3.max_age_days",
    ),
    (
        "retention",
        FOOD,
        swap("retention: 10", "retention: forever"),
        P.WRONG_VALUE,
        "retention: forever",
        "retention",
    ),
    (
        "time limits",
        FOOD,
        swap("promised: 5", "promised: 25"),
        P.CONTRADICTION,
        "time_limits",
        "time_limits",
    ),
    (
        "death as freshness",
        FOOD,
        swap("stale_on: [address_changed]", "stale_on: [deceased]"),
        P.CONTRADICTION,
        "key: lease_contract",
        "requirements.5",
    ),
    (
        "duplicate key",
        FOOD,
        swap("holder: organization", "holder: organization\nholder: person"),
        P.DUPLICATE_KEY,
        "holder: person",
        "holder",
    ),
    (
        "syntax",
        FOOD,
        swap("variants:\n  - key: new", "variants:\n  - key: [new"),
        P.YAML_SYNTAX,
        "    name: {zh: 新办",
        "(root)",
    ),
    (
        "alias",
        FOOD,
        swap("holder: organization", "holder: &a organization"),
        P.YAML_FEATURE,
        "holder: &a",
        "(root)",
    ),
    (
        "tag",
        FOOD,
        swap("holder: organization", "holder: !!python/name:os.system x"),
        P.YAML_FEATURE,
        "holder: !!python",
        "(root)",
    ),
    (
        "merge key",
        FOOD,
        swap("holder: organization", "<<: {holder: organization}"),
        P.YAML_FEATURE,
        "<<: {",
        "(root)",
    ),
    (
        "unknown type",
        FOOD,
        swap("type: layout_plan", "type: floor_plan"),
        P.UNKNOWN_REFERENCE,
        "type: floor_plan",
        "requirements.7.type",
    ),
    (
        "unknown register",
        FOOD,
        swap("register: population", "register: people"),
        P.UNKNOWN_REFERENCE,
        "register: people",
        "requirements.2.routes.0.register",
    ),
    (
        "unknown field",
        FOOD,
        swap("fields: [owners, location]", "fields: [owners, colour]"),
        P.UNKNOWN_REFERENCE,
        "fields: [owners, colour]",
        "requirements.6.routes.1.fields",
    ),
    (
        "unknown variant",
        FOOD,
        swap("key: layout_plan\n", "key: layout_plan\n    variants: [extended]\n"),
        P.UNKNOWN_REFERENCE,
        "variants: [extended]",
        "requirements.7.variants",
    ),
    (
        "form reused",
        FOOD,
        swap(
            "type: application_form\n",
            "type: application_form\n    routes:\n"
            "      - {route: historic_material, scopes: [same_holder]}\n",
        ),
        P.CONTRADICTION,
        "scopes: [same_holder]",
        "requirements.0.routes.0.route",
    ),
    (
        "requirement twice",
        FOOD,
        swap("key: layout_plan\n", "key: lease_contract\n"),
        P.DUPLICATE_CODE,
        "  - key: lease_contract",
        "requirements.7.key",
    ),
    (
        "variant twice",
        FOOD,
        swap("- key: moved", "- key: new"),
        P.DUPLICATE_CODE,
        "  - key: new",
        "variants.1.key",
    ),
    (
        "matter code twice",
        ROAD,
        swap('code: "000118013000"', 'code: "000131014000"'),
        P.DUPLICATE_CODE,
        'code: "000131014000"',
        "code",
    ),
    (
        "matter key twice",
        ROAD,
        swap("key: road_transport_permit", "key: food_business_permit"),
        P.DUPLICATE_CODE,
        "key: food_business_permit",
        "key",
    ),
    (
        "type twice",
        "material_types.yaml",
        swap("key: power_of_attorney", "key: application_form"),
        P.DUPLICATE_CODE,
        "  - key: application_form",
        "types.1.key",
    ),
    (
        "any beside pdf",
        "material_types.yaml",
        swap("formats: [any]", "formats: [any, pdf]"),
        P.CONTRADICTION,
        "formats: [any, pdf]",
        "types.49.formats",
    ),
    (
        "unknown format",
        "material_types.yaml",
        swap("formats: [jpeg, png]", "formats: [jpeg, gif]"),
        P.WRONG_VALUE,
        "formats: [jpeg, gif]",
        "types.9.formats.1",
    ),
    (
        "register twice",
        "registers.yaml",
        swap("key: market_entities", "key: population"),
        P.DUPLICATE_CODE,
        "  - key: population",
        "registers.1.key",
    ),
    (
        "common requirement",
        "catalogue.yaml",
        swap("type: power_of_attorney", "type: proxy"),
        P.UNKNOWN_REFERENCE,
        "type: proxy",
        "common.0.type",
    ),
    (
        "version",
        "catalogue.yaml",
        swap('version: "2026.11"', 'version: "2026 11"'),
        P.WRONG_VALUE,
        "version:",
        "version",
    ),
    ("empty", "registers.yaml", lambda _: "", P.YAML_SYNTAX, "", "(root)"),
    ("a list", FOOD, lambda _: "- 1\n", P.WRONG_TYPE, "- 1", "(root)"),
    ("too large", FOOD, lambda text: text + "#" * (1 << 20), P.FILE_TOO_LARGE, "", "(root)"),
]


@pytest.mark.parametrize(
    ("file", "edit", "code", "line_text", "key"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_mistake_is_named_with_code_file_line_and_key(
    folder: Path, file: str, edit: Edit, code: ProblemCode, line_text: str, key: str
) -> None:
    path = folder / file
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    first = problems(folder)[0]
    assert (first.code, first.file, first.key) == (code, file, key)
    lines = ["", *path.read_text(encoding="utf-8").splitlines()]
    assert line_text in lines[first.line]
    assert str(first).startswith(f"{file}:{first.line} " if first.line else f"{file} ")


def test_all_mistakes_are_reported_at_once(folder: Path) -> None:
    for file, edit in [
        (FOOD, swap("route: license", "route: licence")),
        (ELDER, swap("holder: person", "holder: pet")),
        ("registers.yaml", swap("key: population", "key: Population")),
    ]:
        path = folder / file
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    found = problems(folder)
    assert {problem.file for problem in found} == {FOOD, ELDER, "registers.yaml"}
    assert {problem.code for problem in found} == {P.UNKNOWN_ROUTE, P.WRONG_VALUE}


@pytest.mark.parametrize("name", ["catalogue.yaml", "registers.yaml", "material_types.yaml"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert [(one.code, one.file) for one in problems(folder)] == [(P.FILE_MISSING, name)]


def test_no_matters_are_no_catalogue(folder: Path) -> None:
    shutil.rmtree(folder / "matters")
    assert problems(folder)[0].file == "matters/"


def test_a_file_that_is_not_utf8_is_named(folder: Path) -> None:
    (folder / FOOD).write_bytes("code: 食品经营许可证".encode("gb18030"))
    assert [(one.code, one.file) for one in problems(folder)] == [(P.YAML_SYNTAX, FOOD)]


def test_licence_kinds_are_checked_when_they_are_known(folder: Path) -> None:
    assert load_catalogue(None, folder)
    found = problems(folder, frozenset({"business_license"}))
    assert {one.code for one in found} == {P.UNKNOWN_REFERENCE}
    assert any((one.file, one.key) == (FOOD, "result") for one in found)
    assert any(one.key == "requirements.3.routes.0.kinds" for one in found)


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    text = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    document, found = read("bomb.yaml", text)
    assert document is None
    assert {one.code for one in found} == {P.YAML_FEATURE}


def test_deep_nesting_is_refused() -> None:
    for depth in (30, 900, 20_000):
        document, found = read("deep.yaml", "[" * depth + "]" * depth)
        assert document is None
        assert found[0].code in (P.YAML_FEATURE, P.YAML_SYNTAX)


@given(text=st.text(alphabet="abk:-[]{}#&*!|>'\"%@\n\t 01,？", max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_text_makes_the_reader_fail(text: str) -> None:
    document, found = read("any.yaml", text)
    assert (document is None) == bool(found)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 000131014000", "000131014000"),
        ("a: 12", 12),
        ("a: -3", -3),
        ('a: "12"', "12"),
        ("a: no", "no"),
        ("a: 2026-11-24", "2026-11-24"),
        ("a: 1.5", "1.5"),
        ("a: true", True),
        ("a:", None),
        ("a: ''", ""),
    ],
)
def test_words_stay_words(text: str, value: object) -> None:
    document, _ = read("a.yaml", text)
    assert document is not None
    assert document.value == {"a": value}
    assert isinstance(document.value["a"], type(value))
