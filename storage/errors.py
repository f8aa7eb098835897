"""Refusals of the storage room."""

from kernel.errors import Conflict, Corrupt, InvalidInput, TooLarge, Unavailable


class DatabaseMissing(Unavailable):
    code = "database_missing"
    zh = "找不到数据库 {path}；请先运行 mianjiao init"
    en = "no database at {path}; run mianjiao init first"


class DatabaseClosed(Unavailable):
    code = "database_closed"
    zh = "服务正在停止"
    en = "the service is stopping"


class DigestMismatch(InvalidInput):
    code = "digest_mismatch"
    zh = "收到的内容与声明的摘要不一致（{algorithm}）"
    en = "the content received does not have the declared {algorithm} digest"


class EmptyObject(InvalidInput):
    code = "empty_file"
    zh = "文件为空，不能存证"
    en = "an empty file cannot be kept as evidence"


class ObjectTooLarge(TooLarge):
    code = "file_too_large"
    zh = "文件超过上限（{limit} 字节）"
    en = "the file is over the limit of {limit} bytes"


class ImmutableConflict(Conflict):
    code = "immutable_conflict"
    zh = "该位置已有不同内容，不可覆盖"
    en = "other bytes already stand under this key and cannot be replaced"


class ObjectMissing(Corrupt):
    code = "object_missing"
    zh = "存储中找不到该内容"
    en = "the stored content is missing"


class ObjectCorrupt(Corrupt):
    code = "content_mismatch"
    zh = "内容与存证不一致"
    en = "the stored content does not match what was recorded"


class KeyMissing(Corrupt):
    code = "key_missing"
    zh = "密钥不存在或已销毁"
    en = "the key does not exist or was destroyed"


class IdempotencyMismatch(InvalidInput):
    code = "idempotency_key_reused"
    zh = "同一幂等键已用于另一请求"
    en = "this idempotency key was already used with another request body"
