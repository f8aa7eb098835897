"""Identifiers: the published examples, and what a check character promises."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidInput
from kernel.identifier_errors import (
    BirthDateImpossible,
    BirthDateInFuture,
    CheckCharacterWrong,
    HolderTypeUnknown,
    IdentifierMalformed,
    MatterKindUnknown,
)
from kernel.identifiers import (
    HolderType,
    LicenseWarning,
    MatterKind,
    build_license_identifier,
    citizen_check_character,
    credit_check_character,
    license_check_character,
    parse_citizen_number,
    parse_credit_code,
    parse_holder,
    parse_license_identifier,
    parse_matter_code,
)

TODAY = date(2026, 11, 24)

PEOPLE = {
    "310199198802299064": date(1988, 2, 29),
    "310199199207089155": date(1992, 7, 8),
    "310199196105179316": date(1961, 5, 17),
    "310199196311029247": date(1963, 11, 2),
    "310199194803219179": date(1948, 3, 21),
}
BODIES = [
    "91310199MA1Y7K2D1G",
    "11310199MB2Y01016G",
    "12310199MB2Y04049F",
    "11100000MB0143028R",
    "11100000MB03271699",
    "11100000000013338W",
    "11430000006122244L",
    "11330105002500287C",
    "11220000013544541J",
]
LICENSES = [
    "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
    "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0",
    "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F",
    "1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9",
    "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G",
    "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.002.E",
    "1.2.156.3005.2.11100000MB0143028R002.11310199MB2Y01016G.20260518000042.001.E",
]
CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
# Every character that keyboards, scanners and full-width input put in the place of another.
ANYTHING = [chr(code) for code in range(33, 127)] + list("０１ＡＸ。．·٣")


def changes_of_one_character(text):
    for place, before in enumerate(text):
        for char in ANYTHING:
            if char != before:
                yield text[:place] + char + text[place + 1 :]


# --- Citizen numbers ---


@pytest.mark.parametrize(("number", "born"), PEOPLE.items())
def test_a_citizen_number_gives_its_birth_date(number, born):
    assert parse_citizen_number(number, TODAY) == born


@pytest.mark.parametrize("number", PEOPLE)
def test_any_changed_character_of_a_citizen_number_is_found(number):
    for changed in changes_of_one_character(number):
        with pytest.raises(InvalidInput):
            parse_citizen_number(changed, TODAY)


@st.composite
def citizen_numbers(draw):
    area = draw(st.from_regex(r"[1-7][0-9]{5}", fullmatch=True))
    born = draw(st.dates(date(1900, 1, 1), TODAY))
    first17 = f"{area}{born:%Y%m%d}{draw(st.integers(0, 999)):03d}"
    return first17 + citizen_check_character(first17), born


@given(citizen_numbers(), st.integers(0, 17), st.sampled_from("0123456789X"))
def test_made_citizen_numbers_hold_and_one_changed_character_breaks_them(made, place, char):
    number, born = made
    assert parse_citizen_number(number, TODAY) == born
    changed = number[:place] + char + number[place + 1 :]
    if changed != number:
        with pytest.raises(InvalidInput):
            parse_citizen_number(changed, TODAY)


@given(citizen_numbers(), st.integers(0, 16))
def test_two_neighbours_swapped_in_a_citizen_number_are_found(made, place):
    number, _ = made
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if swapped != number:
        with pytest.raises(InvalidInput):
            parse_citizen_number(swapped, TODAY)


@pytest.mark.parametrize("day", ["19880230", "19890229", "19881301", "19880100", "00000101"])
def test_an_impossible_birth_date_is_refused(day):
    first17 = f"310199{day}906"
    with pytest.raises(BirthDateImpossible):
        parse_citizen_number(first17 + citizen_check_character(first17), TODAY)


def test_a_birth_date_may_be_today_but_not_later():
    first17 = "31019920261124001"
    number = first17 + citizen_check_character(first17)
    assert parse_citizen_number(number, TODAY) == TODAY
    with pytest.raises(BirthDateInFuture):
        parse_citizen_number(number, date(2026, 11, 23))


@pytest.mark.parametrize(
    "text",
    ["", "310199198802299064 ", "31019919880229906", "310199880229906", "A10199198802299064"],
)
def test_other_forms_of_citizen_numbers_are_refused(text):
    with pytest.raises(IdentifierMalformed):
        parse_citizen_number(text, TODAY)


# --- Unified social credit codes ---


@pytest.mark.parametrize("code", BODIES)
def test_any_changed_character_of_a_credit_code_is_found(code):
    assert parse_credit_code(code) == code
    for changed in changes_of_one_character(code):
        with pytest.raises(InvalidInput):
            parse_credit_code(changed)


@given(
    st.text(CREDIT_ALPHABET, min_size=17, max_size=17),
    st.integers(0, 17),
    st.sampled_from(CREDIT_ALPHABET),
)
def test_made_credit_codes_hold_and_one_changed_character_breaks_them(first17, place, char):
    code = first17 + credit_check_character(first17)
    assert parse_credit_code(code) == code
    changed = code[:place] + char + code[place + 1 :]
    if changed != code:
        with pytest.raises(CheckCharacterWrong):
            parse_credit_code(changed)


# --- Matter codes ---


def test_the_three_lengths_of_matter_codes():
    basic = parse_matter_code("000131014000")
    assert (basic.basic, basic.kind, basic.authority) == (
        "000131014000",
        MatterKind.PERMISSION,
        None,
    )
    implementing = parse_matter_code("11310199MB2Y01016G4000131014000")
    assert (implementing.basic, implementing.authority, implementing.level) == (
        "000131014000",
        "11310199MB2Y01016G",
        "4",
    )
    item = parse_matter_code("11310199MB2Y01016G400013101400002")
    assert (item.basic, item.business_item) == ("000131014000", "02")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", IdentifierMalformed),
        ("00013101400", IdentifierMalformed),
        ("00013101400002", IdentifierMalformed),
        ("0001310140A0", IdentifierMalformed),
        ("００0131014000", IdentifierMalformed),
        ("001131014000", MatterKindUnknown),
        ("000031014000", MatterKindUnknown),
        ("11310199MB2Y01016H4000131014000", CheckCharacterWrong),
        ("11310199MB2Y01016G0000131014000", IdentifierMalformed),
    ],
)
def test_wrong_matter_codes_are_refused(text, error):
    with pytest.raises(error):
        parse_matter_code(text)


def test_a_basic_matter_code_has_no_check_character():
    # Said plainly: this mistyping cannot be found by looking at the code alone.
    assert parse_matter_code("000131014001").basic != parse_matter_code("000131014000").basic


# --- E-licence identifiers ---


@pytest.mark.parametrize("text", LICENSES)
def test_published_licence_identifiers_are_valid_and_come_back(text):
    identifier = parse_license_identifier(text)
    assert str(identifier) == text
    area_code = (LicenseWarning.ISSUER_IS_AREA_CODE,)
    assert identifier.warnings == (area_code if ".340100." in text else ())
    rebuilt = build_license_identifier(
        identifier.type_code, identifier.issuer, identifier.serial, int(identifier.version)
    )
    assert rebuilt == identifier


@pytest.mark.parametrize("text", LICENSES)
def test_any_changed_character_of_a_licence_identifier_is_found(text):
    for changed in changes_of_one_character(text):
        with pytest.raises(InvalidInput):
            parse_license_identifier(changed)


serials = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=24)
issuers = st.text(CREDIT_ALPHABET, min_size=17, max_size=17).map(
    lambda first17: first17 + credit_check_character(first17)
) | st.from_regex(r"[0-9]{6}", fullmatch=True)


@settings(max_examples=80)
@given(issuers, serials, st.integers(1, 999), st.data())
def test_built_identifiers_parse_and_one_changed_character_breaks_them(
    issuer, serial, version, data
):
    text = str(build_license_identifier("11100000MB0143028R001", issuer, serial, version))
    assert str(parse_license_identifier(text)) == text
    place = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.sampled_from(ANYTHING))
    changed = text[:place] + char + text[place + 1 :]
    if changed != text:
        with pytest.raises(InvalidInput):
            parse_license_identifier(changed)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=60), st.data())
def test_the_licence_check_character_changes_with_any_character(payload, data):
    place = data.draw(st.integers(0, len(payload) - 1))
    char = data.draw(st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    changed = payload[:place] + char + payload[place + 1 :]
    same = license_check_character(changed) == license_check_character(payload)
    assert same is (changed == payload)


def test_a_wrong_authority_inside_a_right_identifier_is_found():
    payload = "11100000MB0143028X00111310199MB2Y01016G1001"
    check = license_check_character(payload)
    with pytest.raises(CheckCharacterWrong):
        parse_license_identifier(
            f"1.2.156.3005.2.11100000MB0143028X001.11310199MB2Y01016G.1.001.{check}"
        )


@pytest.mark.parametrize(
    ("type_code", "issuer", "serial", "version"),
    [
        ("11100000MB0143028R001", "11310199MB2Y01016G", "", 1),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "A" * 25, 1),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "a1", 1),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "1.2", 1),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "1", 0),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "1", 1000),
        ("11100000MB0143028R001", "11310199MB2Y01016G", "1", -1),
        ("11100000MB0143028R01", "11310199MB2Y01016G", "1", 1),
        ("11100000MB0143028R001", "3401", "1", 1),
    ],
)
def test_what_cannot_be_an_identifier_is_not_built(type_code, issuer, serial, version):
    with pytest.raises(IdentifierMalformed):
        build_license_identifier(type_code, issuer, serial, version)


# --- Holders ---


@pytest.mark.parametrize(
    ("type_", "code", "stored"),
    [
        ("111", "310199198802299064", "310199198802299064"),
        ("001", "91310199MA1Y7K2D1G", "91310199MA1Y7K2D1G"),
        ("passport", "E12345678", "CHN-E12345678"),
        ("passport", "CHN-E12345678", "CHN-E12345678"),
        ("passport", "EA1234567", "CHN-EA1234567"),
        ("passport", "USA-123456789", "USA-123456789"),
        ("hk_macau_permit", "H12345678", "H12345678"),
        ("taiwan_permit", "12345678", "12345678"),
        ("foreigner_card", "USA310119880101", "USA310119880101"),
    ],
)
def test_every_holder_type_has_one_stored_form(type_, code, stored):
    holder = parse_holder(type_, code, TODAY)
    assert (holder.type, holder.code) == (HolderType(type_), stored)
    assert holder.is_person is (type_ != "001")


@pytest.mark.parametrize(
    ("type_", "first17"),
    [("hmt_residence_permit", "81000019900101001"), ("foreigner_card", "93184019900101001")],
)
def test_cards_of_eighteen_characters_have_a_birth_date_and_a_check(type_, first17):
    code = first17 + citizen_check_character(first17)
    assert parse_holder(type_, code, TODAY).born == date(1990, 1, 1)
    for changed in changes_of_one_character(code):
        with pytest.raises(InvalidInput):
            parse_holder(type_, changed, TODAY)
    with pytest.raises(InvalidInput):
        parse_holder("111", code, TODAY)  # not a citizen's number


@pytest.mark.parametrize(
    ("type_", "code"),
    [
        ("passport", "123456789"),  # foreign, and the state is not named
        ("passport", "CHN-123456789"),
        ("passport", "usa-123456789"),
        ("hk_macau_permit", "X12345678"),
        ("taiwan_permit", "1234567"),
        ("foreigner_card", "123456789012345"),
        ("001", "310199198802299065"),
        ("111", "91310199MA1Y7K2D1G"),
    ],
)
def test_a_code_of_another_type_is_refused(type_, code):
    with pytest.raises(InvalidInput):
        parse_holder(type_, code, TODAY)


def test_an_unknown_holder_type_is_refused_and_the_known_ones_are_named():
    with pytest.raises(HolderTypeUnknown) as refused:
        parse_holder("112", "310199198802299064", TODAY)
    assert refused.value.details["known"] == [item.value for item in HolderType]


@given(st.sampled_from(HolderType), st.text(max_size=40))
def test_a_refusal_names_the_kind_of_code_and_never_the_code(type_, text):
    words = {item.value for item in HolderType} | {"citizen_number", "credit_code"}
    details = {}
    try:
        parse_holder(type_.value, text, TODAY)
    except InvalidInput as refused:
        details = refused.details
    assert set(details) <= {"what"}
    assert set(details.values()) <= words
