"""Refusals of the storage room."""

from kernel.errors import Conflict, Corrupt, InvalidInput, TooLarge, Unavailable


class DatabaseMissing(Unavailable):
    code = "database_missing"
    zh = (
        "找不到数据库 {path}；若此存储使用 PostgreSQL，请设置 MIANJIAO_DATABASE_URL；"
        "新建存储用 mianjiao init"
    )
    en = (
        "no database at {path}; if this store is on PostgreSQL set MIANJIAO_DATABASE_URL; "
        "for a new store run mianjiao init"
    )


class DatabaseClosed(Unavailable):
    code = "database_closed"
    zh = "服务正在停止"
    en = "the service is stopping"


class DatabaseBusy(Unavailable):
    code = "database_busy"
    zh = "数据库忙，请稍后重试"
    en = "the database is busy; try again shortly"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    zh = "数据库暂时不可用，本次内容未保存；请稍后重试"
    en = "the database is not available and nothing was stored; try again shortly"


class OutcomeUnknown(Unavailable):
    """The connection ended between the commit and its answer."""

    code = "outcome_unknown"
    zh = "提交时与数据库的连接中断，无法确认是否已保存；请以同一幂等键重试，不会重复办理"
    en = (
        "the connection to the database ended during the commit: it may be stored or not; "
        "repeat the request with the same Idempotency-Key, and nothing happens twice"
    )


class DatabaseUrlInvalid(Unavailable):
    code = "database_url_invalid"
    zh = "数据库地址不正确（{problem}）；MIANJIAO_DATABASE_URL 应为 postgresql://用户:口令@主机:端口/库名"
    en = (
        "the database URL is wrong ({problem}); MIANJIAO_DATABASE_URL is"
        " postgresql://user:password@host:port/name"
    )


class DatabaseUnreachable(Unavailable):
    code = "database_unreachable"
    zh = "无法连接数据库 {database}（{problem}）；请检查 PostgreSQL 是否运行、地址是否正确"
    en = "cannot reach the database {database} ({problem}); check that PostgreSQL runs there"


class DatabaseRefused(Unavailable):
    code = "database_refused"
    zh = "数据库 {database} 拒绝登录（用户 {user}）；请检查用户名、口令和 pg_hba.conf"
    en = "the database {database} refuses the user {user}; check name, password and pg_hba.conf"


class DatabaseAbsent(Unavailable):
    code = "database_absent"
    zh = (
        "服务器上没有数据库 {name}；请先执行："
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    )
    en = (
        "the server has no database {name}; first run: "
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    )


class DatabaseUnfit(Unavailable):
    code = "database_unfit"
    zh = "数据库 {database} 不能用于存证：{problem}；需要 {wanted}"
    en = "the database {database} cannot be used: {problem}; wanted: {wanted}"


class TextNotStorable(InvalidInput):
    code = "text_not_storable"
    zh = "内容含有无法保存的字符（NUL），或超出字段长度"
    en = "a text holds a character that cannot be stored (NUL), or is too long for its place"


class DatabaseDamaged(Corrupt):
    code = "database_damaged"
    zh = "数据库文件已损坏"
    en = "the database file is damaged"


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


class ObjectClaimed(Conflict):
    code = "object_claimed"
    zh = "该内容已用于另一材料"
    en = "the stored content already belongs to something else"


class RowUnreadable(Corrupt):
    code = "row_unreadable"
    zh = "数据库中有一行无法读取；请运行 mianjiao fsck"
    en = "a row of the database cannot be read; run mianjiao fsck"


class KeyMissing(Corrupt):
    code = "key_missing"
    zh = "密钥不存在或已销毁"
    en = "the key does not exist or was destroyed"


class KeyRotated(Unavailable):
    code = "key_rotated"
    zh = "密钥正在轮换，请重试"
    en = "the keys were rotated meanwhile; try again"


class VaultMissing(Unavailable):
    code = "vault_missing"
    zh = "找不到密钥文件 {path}；请先运行 mianjiao init，或从备份恢复"
    en = "no key file at {path}; run mianjiao init first, or restore it from a backup"


class VaultExists(Conflict):
    code = "vault_exists"
    zh = "密钥文件 {path} 已存在，不会覆盖"
    en = "the key file {path} already exists and is not replaced"


class VaultInvalid(Unavailable):
    code = "vault_invalid"
    zh = "密钥文件 {path} 不可用：{problem}"
    en = "the key file {path} cannot be used: {problem}"


class StoreMissing(Unavailable):
    code = "object_store_missing"
    zh = "找不到对象存储 {path}；请先运行 mianjiao init，或检查挂载"
    en = "no object store at {path}; run mianjiao init first, or check the mount"


class StorageFull(Unavailable):
    code = "storage_full"
    zh = "存储空间不足，暂不能写入"
    en = "no space left in the store; nothing can be written for now"


class StorageFailed(Unavailable):
    code = "storage_failed"
    zh = "存储设备出错（{problem}）"
    en = "the storage device failed ({problem})"


class StoreAway(StorageFailed):
    """A server of ours that does not answer. It passes by itself: whoever must, tries again."""

    code = "store_away"
    zh = "存储服务暂时不可用"
    en = "the store's server is away for now"


class ObjectRetained(Conflict):
    code = "object_retained"
    zh = "该内容须保管至 {until}，此前不能删除"
    en = "the content must be kept until {until} and cannot be deleted before"


class ObjectKeyInvalid(InvalidInput):
    code = "object_key_invalid"
    zh = "对象键格式不正确"
    en = "an object key has another form"


class ReplyAltered(Corrupt):
    code = "reply_altered"
    zh = "为重复请求保存的答复已被改动，不予返回；请运行 mianjiao fsck"
    en = "the answer kept for a repeated request was altered and is not given; run mianjiao fsck"


class IdempotencyMismatch(InvalidInput):
    code = "idempotency_key_reused"
    zh = "同一幂等键已用于另一请求"
    en = "this idempotency key was already used with another request body"
