"""Refusals of `kernel.identifiers`. Details name the kind of identifier, never its value."""

from kernel.errors import InvalidInput


class IdentifierMalformed(InvalidInput):
    """Wrong length, alphabet or structure."""

    code = "identifier_malformed"
    zh = "编号格式不正确（{what}）"
    en = "this does not have the form of the identifier ({what})"


class CheckCharacterWrong(InvalidInput):
    """Well formed, but the check character says that something was mistyped."""

    code = "check_character_wrong"
    zh = "校验码不正确，请核对编号（{what}）"
    en = "the check character is wrong; compare the identifier with the original ({what})"


class BirthDateImpossible(InvalidInput):
    code = "birth_date_impossible"
    zh = "证件号码中的出生日期不存在（{what}）"
    en = "the birth date inside the number does not exist ({what})"


class BirthDateInFuture(InvalidInput):
    code = "birth_date_in_future"
    zh = "证件号码中的出生日期晚于今天（{what}）"
    en = "the birth date inside the number lies in the future ({what})"


class HolderTypeUnknown(InvalidInput):
    code = "holder_type_unknown"
    zh = "不支持的主体证件类型；可用：{known}"
    en = "unknown holder type; known are: {known}"


class MatterKindUnknown(InvalidInput):
    code = "matter_kind_unknown"
    zh = "事项编码中的事项类型不存在"
    en = "the kind of matter inside the matter code does not exist"
