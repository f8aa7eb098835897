"""Refusals of the parties room. None of them repeats a name or a code of a holder."""

from kernel.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
)

# --- Credentials ---


class CredentialMissing(NotAuthenticated):
    code = "credential_missing"
    zh = "请求没有携带访问凭证"
    en = "the request carries no bearer credential"


class CredentialUnknown(NotAuthenticated):
    code = "credential_unknown"
    zh = "访问凭证无效"
    en = "this credential is not known"


class CredentialExpired(NotAuthenticated):
    code = "credential_expired"
    zh = "访问凭证已过期"
    en = "this credential has expired"


class CredentialRevoked(NotAuthenticated):
    code = "credential_revoked"
    zh = "访问凭证已被撤销"
    en = "this credential was revoked"


class CredentialInvalid(InvalidInput):
    """A credential with these properties would mean nothing, so none is issued."""

    code = "credential_invalid"
    zh = "不能签发这样的访问凭证：{reason}"
    en = "no such credential can be issued: {reason}"

    def message_en(self) -> str:
        return self.en.format(reason=self.details["reason_en"])


class CredentialNotFound(NotFound):
    code = "credential_not_found"
    zh = "没有这个访问凭证"
    en = "no such credential"


class NotLocal(NotPermitted):
    code = "not_local"
    zh = "仅限本机访问"
    en = "only from this computer"


class RoleNotAllowed(NotPermitted):
    code = "role_not_allowed"
    zh = "当前角色不能使用此功能（允许：{allowed}）"
    en = "your role may not do this (allowed: {allowed})"


class NotActingForHolder(NotPermitted):
    """The person has no authority for the holder in this capacity, or not any more."""

    code = "not_acting_for_holder"
    zh = "当前没有以该身份代办的权限，或权限已终止"
    en = "there is no authority to act for this holder in this capacity, or it has ended"


# --- Holders ---


class NameMalformed(InvalidInput):
    code = "name_malformed"
    zh = "姓名或名称不可用：须为 1 至 {limit} 个可见字符，首尾无空格"
    en = "a name has 1 to {limit} visible characters and no spaces at its ends"


class HolderNameDiffers(Conflict):
    """Never guessed away, however alike the names look: a human compares them."""

    code = "holder_name_differs"
    zh = "姓名或名称与已登记的不一致，请人工核对（括号全半角、间隔号、生僻字均算不一致）"
    en = (
        "the name differs from the one on record; a human must compare them "
        "(brackets, middle dots and rare characters count as different)"
    )


class PartyUnknown(NotFound):
    code = "party_unknown"
    zh = "没有这个主体"
    en = "no such holder"


class PartyErased(NotFound):
    code = "party_erased"
    zh = "该主体的信息已依法删除"
    en = "what was known of this holder was erased"


class PartyRecordMismatch(Corrupt):
    code = "party_record_mismatch"
    zh = "主体登记与存证不一致"
    en = "the row of this holder does not agree with its record"


# --- Capacities ---


class CapacityUnknown(NotFound):
    code = "capacity_unknown"
    zh = "没有这条代办关系"
    en = "no such capacity"


class CapacityInvalid(InvalidInput):
    """This capacity cannot exist between these two, or not on this basis, or not then."""

    code = "capacity_invalid"
    zh = "不能登记这样的代办关系：{reason}"
    en = "no such capacity can be registered: {reason}"


class CapacityEnded(Conflict):
    code = "capacity_ended"
    zh = "该代办关系已经终止"
    en = "this capacity has already ended"


class CapacityRecordMismatch(Corrupt):
    code = "capacity_record_mismatch"
    zh = "代办关系与存证不一致"
    en = "the row of this capacity does not agree with its record"
