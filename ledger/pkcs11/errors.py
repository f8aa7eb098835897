"""Refusals about PKCS#11 tokens. No PIN ever stands in one."""

from kernel.errors import InvalidInput, Unavailable


class TokenUriInvalid(InvalidInput):
    code = "token_uri_invalid"
    zh = "pkcs11: 标识（RFC 7512）不可用：{reason}"
    en = "not a usable pkcs11: URI (RFC 7512): {reason}"


class Pkcs11Missing(Unavailable):
    code = "pkcs11_missing"
    zh = "签名密钥在 PKCS#11 令牌中，但未安装 pkcs11 扩展：pip install 'mianjiao[pkcs11]'"
    en = "the signing key is in a token, but the extra is missing: pip install 'mianjiao[pkcs11]'"


class TokenNotConfigured(Unavailable):
    code = "token_not_configured"
    zh = "签名密钥在令牌中（{uri}），须设置 MIANJIAO_PKCS11_MODULE 与 MIANJIAO_PKCS11_PIN_FILE"
    en = "the key is in a token ({uri}): set MIANJIAO_PKCS11_MODULE and MIANJIAO_PKCS11_PIN_FILE"


class TokenModuleUnusable(Unavailable):
    code = "token_module_unusable"
    zh = "{path} 不能作为 PKCS#11 模块加载"
    en = "{path} cannot be loaded as a PKCS#11 module"


class TokenNotFound(Unavailable):
    code = "token_not_found"
    zh = "与 {uri} 相符的令牌有 {found} 个，应恰为一个"
    en = "{found} tokens match {uri}, and it must be exactly one"


class TokenPinRefused(Unavailable):
    code = "token_pin_refused"
    zh = "令牌拒绝 PIN（{reason}）；为免锁死令牌，本进程不再尝试"
    en = (
        "the token refused the PIN ({reason}); this process does not try it again, which could lock"
    )


class TokenKeyNotFound(Unavailable):
    code = "token_key_not_found"
    zh = "令牌中与 {uri} 相符的私钥有 {found} 个，应恰为一个"
    en = "{found} private keys in the token match {uri}, and it must be exactly one"


class TokenKeyWrong(Unavailable):
    code = "token_key_wrong"
    zh = "令牌的签名与公钥 {name} 不符，未予使用：令牌有故障，或其中是另一密钥"
    en = "the token's signature is not by key {name} and was not used: a fault, or another key"


class TokenUnfit(Unavailable):
    code = "token_unfit"
    zh = "该令牌不能保管此密钥：{reason}"
    en = "this token cannot keep the key: {reason}"


class TokenFailed(Unavailable):
    code = "token_failed"
    zh = "令牌未能完成操作（{reason}）"
    en = "the token did not do what it was asked ({reason})"
