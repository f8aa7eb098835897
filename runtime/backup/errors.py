"""Refusals of backup and restore."""

from kernel.errors import Conflict, Corrupt, Unavailable


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
