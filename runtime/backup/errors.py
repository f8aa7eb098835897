"""Refusals of backup and restore."""

from kernel.errors import Conflict, Corrupt, InvalidInput, Unavailable


class BackupFolderForeign(Conflict):
    code = "backup_folder_foreign"
    zh = "{path} 不为空，也不是备份目录，不会写入"
    en = "{path} is not empty and is no backup: nothing is written there"


class BackupOfAnother(Conflict):
    code = "backup_of_another"
    zh = "{path} 是另一存储（{origin}）的备份"
    en = "{path} is the backup of another store ({origin})"


class BackupBusy(Unavailable):
    code = "backup_busy"
    zh = "另一进程正在写 {path}"
    en = "another process is writing {path}"


class BackupSpace(Unavailable):
    code = "backup_space"
    zh = "{path} 空间不足：需要 {needed} MiB，可用 {free} MiB；未写入"
    en = "not enough space at {path}: {needed} MiB needed, {free} MiB free; nothing was written"


class BackupMissing(Unavailable):
    code = "backup_missing"
    zh = "{path} 没有完整的备份（无 backup.json）"
    en = "there is no whole backup at {path} (no backup.json)"


class BackupInvalid(Corrupt):
    code = "backup_invalid"
    zh = "备份不可用：{reason}"
    en = "the backup cannot be used: {reason}"


class BackupChanging(Unavailable):
    code = "backup_changing"
    zh = "内容删除过于频繁，备份未完成，请稍后重试"
    en = "content kept being erased while it was copied: no backup was made; try again"


class ShardClosing(Unavailable):
    code = "shard_closing"
    zh = "日志分片 {shard} 正在封存，未备份；封存完成后（新分片发布检查点，或重新打开存储）请重试"
    en = (
        "the shard {shard} of the log is being closed: no backup was made; try again once the "
        "next one has published a checkpoint, with a process that began after that"
    )


class RestoreFolderTaken(Conflict):
    code = "restore_folder_taken"
    zh = "{path} 已有内容；请恢复到新的或空的目录（或空数据库）"
    en = "{path} is not empty: restore into a new or empty folder, and an empty database"


class RestoreKeysWrong(InvalidInput):
    code = "restore_keys_wrong"
    zh = "{path} 中的密钥不能用于此备份：{reason}"
    en = "the keys in {path} do not serve for this backup: {reason}"


class BackupKeysDestroyed(Unavailable):
    code = "backup_keys_destroyed"
    zh = "此备份所用第 {epoch} 期密钥已在轮换中销毁（现存最早第 {oldest} 期）；请用轮换后的备份"
    en = (
        "this backup is wrapped under epoch {epoch}, which a rotation destroyed (the oldest left "
        "is {oldest}): use a backup made after the rotation"
    )


class NewestLogUnknown(InvalidInput):
    code = "newest_log_unknown"
    zh = "请用 --log 指明最新日志；确知备份后没有发布过新内容时，用 --backup-is-newest"
    en = (
        "name the newest log by --log; or say --backup-is-newest if nothing was published "
        "after the backup"
    )


class NewestLogMissing(Unavailable):
    code = "newest_log_missing"
    zh = (
        "已签名的日志有 {remembered} 条，找到的只有 {found} 条：此日志不能再签名。"
        "请用 --log 给出更新的副本（镜像、代理缓存、见证方）；都没有时见 docs/backup.md"
    )
    en = (
        "a log of {remembered} entries was signed, but the newest at hand has {found}: nothing "
        "more may be signed in it. Give a newer copy by --log (a mirror, a proxy's cache, a "
        "witness); if there is none, see docs/backup.md"
    )
