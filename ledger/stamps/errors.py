"""Refusals of time stamps."""

from kernel.errors import InvalidInput, Unavailable


class StampMalformed(InvalidInput):
    code = "stamp_malformed"
    zh = "时间戳格式错误：{reason}"
    en = "malformed time stamp: {reason}"


class StampInvalid(InvalidInput):
    code = "stamp_invalid"
    zh = "时间戳不成立：{reason}"
    en = "the time stamp does not hold: {reason}"


class AuthorityUnavailable(Unavailable):
    code = "stamp_unavailable"
    zh = "时间戳服务不可用（{reason}），稍后自动重试"
    en = "the time-stamp authority cannot be reached ({reason}); it is tried again"


class AuthoritiesInvalid(InvalidInput):
    code = "stamp_authorities_invalid"
    zh = "时间戳服务清单 {path} 有误：{reason}"
    en = "the list of time-stamp authorities {path} is not valid: {reason}"
