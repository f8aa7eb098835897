"""What `fsck` finds: named problems, the same shape in every room."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

# (what is being checked, done, total): called often, for a progress bar.
Progress: TypeAlias = Callable[[str, int, int], None]

_SENTENCES = {
    "checkpoint_missing": ("没有已发布的检查点", "no checkpoint is published"),
    "checkpoint_invalid": ("检查点无效：{detail}", "the checkpoint is not valid: {detail}"),
    "checkpoint_differs": (
        "已发布的检查点与日志内容不符",
        "the published checkpoint does not match the log's content",
    ),
    "database_older_than_log": (
        "数据库早于已发布的日志",
        "the database is older than the published log",
    ),
    "head_invalid": ("数据库中的日志头无效：{detail}", "the head row is not valid: {detail}"),
    "shards_broken": (
        "日志分片前后不相衔接：{detail}",
        "the shards of the log do not follow from one another: {detail}",
    ),
    "root_mismatch": (
        "由条目重建的树根与检查点不一致",
        "the root rebuilt from the entries is not the signed one",
    ),
    "bundle_missing": ("缺少条目包", "an entry bundle is missing"),
    "bundle_corrupt": ("条目包已损坏：{detail}", "an entry bundle is corrupt: {detail}"),
    "tile_missing": ("缺少哈希分块", "a tile is missing"),
    "tile_corrupt": ("哈希分块已损坏：{detail}", "a tile is corrupt: {detail}"),
    "unexpected_file": ("日志中有不应存在的文件", "a file that does not belong in the log"),
    "leaf_without_record": (
        "日志条目在数据库中没有对应记录",
        "an entry of the log has no row in the database",
    ),
    "row_without_leaf": (
        "数据库记录在日志中没有对应条目",
        "a row claims a place in the log that it does not have",
    ),
    "row_differs": ("数据库记录与日志不一致：{detail}", "a row disagrees with the log: {detail}"),
    "row_unreadable": ("数据库记录无法读取", "a row cannot be read"),
    "rows_out_of_order": (
        "同一对象的记录次序与日志不一致",
        "the rows of one entity stand in another order than in the log",
    ),
    "record_corrupt": ("记录与存证不一致：{detail}", "a record does not match its entry: {detail}"),
    "lost_in_restore": (
        "记录在恢复时丢失，日志只留有其条目",
        "a record was lost before a restore: only its entry in the log is left",
    ),
    "record_lost": (
        "记录内容缺失，且没有删除证明",
        "a record's content is gone and no leaf proves that it was erased",
    ),
    "erasure_undone": (
        "已删除的记录又可读取",
        "a record that the log says was erased can be opened again",
    ),
    "stop_not_noted": (
        "停用记录未在数据库之外留痕",
        "a record that stops something is not noted beside the database",
    ),
    "history_cut": (
        "数据库之外留痕的停用记录，数据库中已不存在",
        "a stop is noted whose record the database does not have",
    ),
    "database_unreadable": ("数据库无法读取：{detail}", "the database cannot be read: {detail}"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `where` is a path, an entry id or an index; never a name."""

    code: str
    where: str
    zh: str
    en: str

    @classmethod
    def of(cls, code: str, where: str, detail: str = "") -> "Problem":
        """A problem of the ledger room."""
        zh, en = _SENTENCES[code]
        return cls(code, where, zh.format(detail=detail), en.format(detail=detail))


def quiet(_what: str, _done: int, _total: int) -> None:
    """A `Progress` that shows nothing."""
