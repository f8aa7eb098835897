"""Why an answer is no: the closed set of reasons, each with what can be done.

Codes are never renamed or reused: they stand in ledger records. Sentences hold
no personal data, because they are shown at a counter and printed on slips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from materials_api.catalogue.terms import PartyEventKind
from materials_api.rules.reason_sentences import SENTENCES
from materials_api.rules.remedies import REMEDIES, Remedy


class ReasonCode(StrEnum):
    """All reasons for which a reuse, a data check or an exemption route is refused."""

    # what is asked
    ROUTE_NOT_OPEN = "route_not_open"
    TYPE_MISMATCH = "type_mismatch"
    FORM_NOT_REUSABLE = "form_not_reusable"
    # whose it is, and who acts
    HOLDER_MISMATCH = "holder_mismatch"
    NOT_SAME_PROJECT = "not_same_project"
    CAPACITY_MISSING = "capacity_missing"
    CAPACITY_ENDED = "capacity_ended"
    HOLDER_ENDED = "holder_ended"
    # authorisation
    GRANT_MISSING = "grant_missing"
    GRANT_PENDING = "grant_pending"
    GRANT_DECLINED = "grant_declined"
    GRANT_LAPSED = "grant_lapsed"
    GRANT_EXPIRED = "grant_expired"
    GRANT_NOT_YET_VALID = "grant_not_yet_valid"
    GRANT_REVOKED = "grant_revoked"
    GRANT_SPENT = "grant_spent"
    GRANT_OTHER_CASE = "grant_other_case"
    GRANT_OTHER_AUDIENCE = "grant_other_audience"
    GRANT_OTHER_MATTER = "grant_other_matter"
    GRANT_NOT_FOR_ITEM = "grant_not_for_item"
    GRANTOR_NOT_ENTITLED = "grantor_not_entitled"
    CO_OWNER_CONSENT_MISSING = "co_owner_consent_missing"
    PARTY_CONSENT_MISSING = "party_consent_missing"
    STATUTORY_BASIS_INCOMPLETE = "statutory_basis_incomplete"
    ASKER_NOT_HANDLING = "asker_not_handling"
    # the item's state
    MATERIAL_NOT_VERIFIED = "material_not_verified"
    MATERIAL_STOPPED = "material_stopped"
    MATERIAL_INVALIDATED = "material_invalidated"
    MATERIAL_SUPERSEDED = "material_superseded"
    MATERIAL_REJECTED = "material_rejected"
    MATERIAL_ERASED = "material_erased"
    LICENSE_NOT_ISSUED = "license_not_issued"
    LICENSE_SUSPENDED = "license_suspended"
    LICENSE_SUPERSEDED = "license_superseded"
    LICENSE_ENDED = "license_ended"
    LICENSE_TAINTED = "license_tainted"
    LICENSE_EXPIRED = "license_expired"
    LICENSE_NOT_YET_VALID = "license_not_yet_valid"
    SOURCE_OUTAGE = "source_outage"
    # where it comes from
    SOURCE_CASE_STATE = "source_case_state"
    SOURCE_CASE_OUTCOME = "source_case_outcome"
    PROVENANCE_TOO_WEAK = "provenance_too_weak"
    # its dates
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    TOO_OLD = "too_old"
    DATE_UNKNOWN = "date_unknown"
    ADDRESS_CHANGED_SINCE = "address_changed_since"
    NAME_CHANGED_SINCE = "name_changed_since"
    REPRESENTATIVE_CHANGED_SINCE = "representative_changed_since"
    OWNERSHIP_CHANGED_SINCE = "ownership_changed_since"
    MARITAL_STATUS_CHANGED_SINCE = "marital_status_changed_since"
    EMPLOYMENT_CHANGED_SINCE = "employment_changed_since"
    # evidence
    RECORD_MISMATCH = "record_mismatch"
    CONTENT_MISMATCH = "content_mismatch"
    CONTENT_MISSING = "content_missing"
    NOT_YET_LOGGED = "not_yet_logged"
    NOT_IN_LOG = "not_in_log"
    # data checks
    DATA_NO_RECORD = "data_no_record"
    DATA_MISMATCH = "data_mismatch"
    DATA_ENDED = "data_ended"
    DATA_INCOMPLETE = "data_incomplete"
    # exemption routes
    NO_CANDIDATE = "no_candidate"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason, in both languages, and what the clerk or the holder can do about it."""

    code: ReasonCode
    zh: str
    en: str
    remedy: Remedy

    @property
    def remedy_zh(self) -> str:
        return REMEDIES[self.remedy][0]

    @property
    def remedy_en(self) -> str:
        return REMEDIES[self.remedy][1]


REASONS: Mapping[ReasonCode, Reason] = MappingProxyType(
    {code: Reason(code, *SENTENCES[code.value]) for code in ReasonCode}
)

# The reason that an event since the item's date gives. Death and dissolution end
# authorisations instead (`HOLDER_ENDED`); the catalogue refuses them in `stale_on`.
EVENT_REASONS: Mapping[PartyEventKind, ReasonCode] = MappingProxyType(
    {
        PartyEventKind.ADDRESS_CHANGED: ReasonCode.ADDRESS_CHANGED_SINCE,
        PartyEventKind.NAME_CHANGED: ReasonCode.NAME_CHANGED_SINCE,
        PartyEventKind.REPRESENTATIVE_CHANGED: ReasonCode.REPRESENTATIVE_CHANGED_SINCE,
        PartyEventKind.OWNERSHIP_CHANGED: ReasonCode.OWNERSHIP_CHANGED_SINCE,
        PartyEventKind.MARITAL_STATUS_CHANGED: ReasonCode.MARITAL_STATUS_CHANGED_SINCE,
        PartyEventKind.EMPLOYMENT_CHANGED: ReasonCode.EMPLOYMENT_CHANGED_SINCE,
    }
)


def reason(code: ReasonCode) -> Reason:
    return REASONS[code]
