"""Reasons are a closed set, in both languages, each with something that can be done."""

import re

import pytest

from license_service.lifecycle import Status
from materials_api.catalogue.terms import (
    ENDING_EVENTS,
    ROUTE_EN,
    ROUTE_GROUP,
    ROUTE_ZH,
    PartyEventKind,
    Route,
)
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.decisions import CHECK_EN, CHECK_ZH, CheckName
from materials_api.rules.license_standing import STANDINGS, license_standing
from materials_api.rules.reason_sentences import SENTENCES
from materials_api.rules.reasons import EVENT_REASONS, REASONS, ReasonCode
from materials_api.rules.remedies import REMEDIES, Remedy
from materials_api.rules.reuse import LICENSE_STANDING_REASONS, MATERIAL_STATE_REASONS
from materials_api.rules.reuse_facts import LicenseStanding

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("code", ReasonCode)
def test_a_reason_speaks_both_languages_and_offers_a_remedy(code: ReasonCode) -> None:
    reason = REASONS[code]
    for zh, en in [(reason.zh, reason.en), (reason.remedy_zh, reason.remedy_en)]:
        assert CHINESE.search(zh)
        assert en.isascii()
        assert en
    assert re.fullmatch(r"[a-z_]{3,48}", code.value)


def test_nothing_is_said_twice_or_left_over() -> None:
    assert set(SENTENCES) == {code.value for code in ReasonCode}
    assert len({reason.zh for reason in REASONS.values()}) == len(REASONS)
    assert len({reason.en for reason in REASONS.values()}) == len(REASONS)
    assert set(REMEDIES) == set(Remedy) == {reason.remedy for reason in REASONS.values()}


@pytest.mark.parametrize(
    ("code", "zh"),
    [
        ("address_changed_since", "与现登记住所不一致"),
        ("co_owner_consent_missing", "共有人未授权"),
        ("content_mismatch", "内容与存证不一致"),
        ("grant_other_case", "授权仅限原办件"),
        ("not_yet_logged", "存证补全中"),
    ],
)
def test_the_demos_words(code: str, zh: str) -> None:
    assert REASONS[ReasonCode(code)].zh == zh


def test_every_word_of_a_vocabulary_has_its_sentence() -> None:
    assert set(CHECK_ZH) == set(CHECK_EN) == set(CheckName)
    assert set(ROUTE_ZH) == set(ROUTE_EN) == set(ROUTE_GROUP) == set(Route)
    assert set(EVENT_REASONS) == set(PartyEventKind) - ENDING_EVENTS
    assert set(MATERIAL_STATE_REASONS) == set(MaterialState) - {
        MaterialState.PENDING,
        MaterialState.REUSABLE,
    }
    assert set(LICENSE_STANDING_REASONS) == set(LicenseStanding) - {LicenseStanding.IN_FORCE}


def test_every_licence_status_has_a_standing_and_only_valid_is_in_force() -> None:
    assert set(STANDINGS) == set(Status)
    good = [status for status in Status if license_standing(status) is LicenseStanding.IN_FORCE]
    assert good == [Status.VALID]
    assert license_standing(None) is LicenseStanding.UNKNOWN
    assert license_standing(Status.VALID, tainted=True) is LicenseStanding.TAINTED
