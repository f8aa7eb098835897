"""What a setting may be, in a sentence of each language, from the validator's own words."""

from collections.abc import Mapping
from typing import Any

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "int_parsing": ("应为整数", "a whole number is needed"),
    "int_type": ("应为整数", "a whole number is needed"),
    "int_from_float": ("应为整数", "a whole number is needed"),
    "float_parsing": ("应为数字", "a number is needed"),
    "float_type": ("应为数字", "a number is needed"),
    "string_type": ("应为文本", "text is needed"),
    "greater_than": ("应大于 {gt}", "it must be more than {gt}"),
    "greater_than_equal": ("不得小于 {ge}", "it must be at least {ge}"),
    "less_than_equal": ("不得大于 {le}", "it must be at most {le}"),
    "literal_error": ("应为 {expected} 之一", "it must be one of {expected}"),
    "bool_parsing": ("应为 true 或 false", "it must be true or false"),
    "bool_type": ("应为 true 或 false", "it must be true or false"),
    "missing": ("必须设置", "it is needed"),
    "extra_forbidden": ("没有这一项", "there is no such field"),
    "list_type": ("应为列表", "a list is needed"),
    "too_short": ("至少 {min_length} 项", "at least {min_length} are needed"),
    "too_long": ("至多 {max_length} 项", "at most {max_length} are allowed"),
    "model_type": ("应为表", "a table is needed"),
    "string_pattern_mismatch": ("形式应为 {pattern}", "it must have the form {pattern}"),
}
# Raised by the settings' own validator, as `setting:what`.
_OWN: Mapping[str, tuple[str, str]] = {
    "short": ("至少 16 个字符", "at least 16 characters are needed"),
    "contract": (
        "设置了 anchor_contract 时必须设置",
        "it is needed when anchor_contract is set",
    ),
    "address": ("应为 http:// 或 https:// 地址", "it must be an http:// or https:// address"),
    "key": ("应为 64 位十六进制数", "64 hex digits are needed"),
    "deploy": (
        "设置了 anchor_url 时必须设置；mianjiao anchor deploy 建立合约",
        "it is needed when anchor_url is set; mianjiao anchor deploy makes the contract",
    ),
    "missing": (
        "metrics_access 为 token 时必须设置",
        "it is needed when metrics_access is token",
    ),
    "pkcs11": (
        "pkcs11_module 与 pkcs11_pin 须一并设置",
        "pkcs11_module and pkcs11_pin go together",
    ),
    "bucket": (
        "s3_endpoint、s3_bucket、s3_access_key、s3_secret_key 须一并设置",
        "s3_endpoint, s3_bucket, s3_access_key and s3_secret_key go together",
    ),
}


def own_rule(what: str) -> tuple[str, str]:
    """A rule that is checked outside of the settings' own validator."""
    return _OWN[what]


def rule_of(error: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    """The setting at fault, and its rule, Chinese first. Never the value: it may be secret."""
    if error["type"] == "value_error":
        setting, _, what = str(error["ctx"]["error"]).partition(":")
        return setting, _OWN[what]
    return str(error["loc"][0]) if error["loc"] else "settings", sentences(error)


def sentences(error: Mapping[str, Any]) -> tuple[str, str]:
    """What a validator's error asks for, Chinese first; never the value."""
    fallback = (str(error["msg"]), str(error["msg"]))
    zh, en = _SENTENCES.get(error["type"], fallback)
    context = {
        name: str(value).replace(" or ", ", ") for name, value in error.get("ctx", {}).items()
    }
    return (zh.format_map(context), en.format_map(context)) if zh != en else fallback
