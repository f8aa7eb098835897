"""The closed vocabularies that the catalogue and the rules share."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Route(StrEnum):
    """How a requirement is met without bringing the material (exemption routes)."""

    DATA_CHECK = "data_check"  # 数据核验
    LICENSE = "license"  # 证照调用
    HISTORIC_MATERIAL = "historic_material"  # 历史材料复用
    NOTIFIED_COMMITMENT = "notified_commitment"  # 告知承诺
    ADMINISTRATIVE_ASSISTANCE = "administrative_assistance"  # 行政协助
    WAIVED = "waived"  # 取消


ROUTE_ZH: Mapping[Route, str] = MappingProxyType(
    {
        Route.DATA_CHECK: "数据核验",
        Route.LICENSE: "证照调用",
        Route.HISTORIC_MATERIAL: "历史材料复用",
        Route.NOTIFIED_COMMITMENT: "告知承诺",
        Route.ADMINISTRATIVE_ASSISTANCE: "行政协助",
        Route.WAIVED: "取消",
    }
)
ROUTE_EN: Mapping[Route, str] = MappingProxyType(
    {
        Route.DATA_CHECK: "data check",
        Route.LICENSE: "e-licence",
        Route.HISTORIC_MATERIAL: "material of an earlier case",
        Route.NOTIFIED_COMMITMENT: "notified commitment",
        Route.ADMINISTRATIVE_ASSISTANCE: "administrative assistance",
        Route.WAIVED: "waived",
    }
)


class RouteGroup(StrEnum):
    """How a route is reported. 两个免于提交 are documents that this government
    issued and physical licences; reuse of historic materials is a further route."""

    TWO_EXEMPTIONS = "two_exemptions"
    HISTORIC_REUSE = "historic_reuse"
    OTHER = "other"


ROUTE_GROUP: Mapping[Route, RouteGroup] = MappingProxyType(
    {
        Route.DATA_CHECK: RouteGroup.TWO_EXEMPTIONS,
        Route.LICENSE: RouteGroup.TWO_EXEMPTIONS,
        Route.ADMINISTRATIVE_ASSISTANCE: RouteGroup.TWO_EXEMPTIONS,
        Route.HISTORIC_MATERIAL: RouteGroup.HISTORIC_REUSE,
        Route.NOTIFIED_COMMITMENT: RouteGroup.OTHER,
        Route.WAIVED: RouteGroup.OTHER,
    }
)


class Scope(StrEnum):
    SAME_HOLDER = "same_holder"  # 同一主体
    SAME_PROJECT = "same_project"  # 同一项目


class Provenance(StrEnum):
    """Where a material's content comes from, weakest first."""

    UNCHECKED_COPY = "unchecked_copy"  # 未核对的复印件
    BACK_SCAN = "back_scan"  # 存量数字化，经质检
    CERTIFIED_COPY = "certified_copy"  # 与原件核对一致
    DATA_CHECKED = "data_checked"  # 经数据核验
    AUTHORITY_ISSUED = "authority_issued"  # 由主管部门出具

    @property
    def rank(self) -> int:
        return _PROVENANCE_RANK[self]

    def at_least(self, least: "Provenance") -> bool:
        return self.rank >= least.rank


_PROVENANCE_RANK: Mapping[Provenance, int] = {
    provenance: rank for rank, provenance in enumerate(Provenance)
}


class Sensitivity(StrEnum):
    ORDINARY = "ordinary"  # 一般
    PERSONAL = "personal"  # 个人信息
    SENSITIVE = "sensitive"  # 敏感个人信息


class ConsentRule(StrEnum):
    """Which parties of a material must authorise its reuse."""

    ANY = "any"
    ALL = "all"


class MaterialForm(StrEnum):
    """Forms and one-off commitments belong to their case and are never reused."""

    ORIGINAL = "original"
    FORM = "form"  # 申请表、申请书
    COMMITMENT = "commitment"  # 告知承诺书


class PartyRole(StrEnum):
    """In which role a party stands in a material."""

    OWNER = "owner"  # 所有人（权利人）
    CO_OWNER = "co_owner"  # 共有人
    TENANT = "tenant"  # 承租人
    SPOUSE = "spouse"
    CHILD = "child"
    GUARDIAN = "guardian"


class Subject(StrEnum):
    """Whose item may meet a requirement."""

    APPLICANT = "applicant"  # 申请人
    PERSON = "person"  # 申请人之自然人：本人、法定代表人、经办人
    RELATED = "related"  # 经其本人授权的相关人，如从业人员、共有人


class PartyEventKind(StrEnum):
    """What may happen to a party and end the freshness of older materials."""

    ADDRESS_CHANGED = "address_changed"
    NAME_CHANGED = "name_changed"
    REPRESENTATIVE_CHANGED = "representative_changed"
    OWNERSHIP_CHANGED = "ownership_changed"
    MARITAL_STATUS_CHANGED = "marital_status_changed"
    EMPLOYMENT_CHANGED = "employment_changed"
    DECEASED = "deceased"
    DISSOLVED = "dissolved"


# After these no earlier authorisation of the party holds any longer.
ENDING_EVENTS: frozenset[PartyEventKind] = frozenset(
    {PartyEventKind.DECEASED, PartyEventKind.DISSOLVED}
)


class Format(StrEnum):
    """File formats that a material type may accept."""

    PDF = "pdf"
    JPEG = "jpeg"
    PNG = "png"
    TIFF = "tiff"
    OFD = "ofd"
    DOCX = "docx"
    XLSX = "xlsx"
    ANY = "any"


MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        Format.PDF: "application/pdf",
        Format.JPEG: "image/jpeg",
        Format.PNG: "image/png",
        Format.TIFF: "image/tiff",
        Format.OFD: "application/ofd",
        Format.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }
)
