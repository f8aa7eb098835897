"""What `fsck` of this room says, in both languages."""

from ledger.problems import Problem

_SENTENCES = {
    "material_row": (
        "材料的数据行与存证记录不一致",
        "the row of a material does not agree with its record",
    ),
    "material_record": (
        "材料的存证记录无法打开：{detail}",
        "the record of a material cannot be opened: {detail}",
    ),
    "case_row": (
        "办件的数据行与存证记录不一致",
        "the row of a case does not agree with its record",
    ),
    "case_record": (
        "办件的存证记录无法打开：{detail}",
        "a record of a case cannot be opened: {detail}",
    ),
    "case_event": (
        "办件过程记录与存证不一致",
        "an event of a case does not agree with its record",
    ),
    "state_differs": (
        "状态与最新存证记录不一致：{detail}",
        "the state is not that of the newest record: {detail}",
    ),
    "row_without_record": ("数据行没有存证记录", "a row has no record in the ledger"),
    "record_without_row": ("存证记录没有数据行", "a record in the ledger has no row"),
    "object_missing": ("找不到内容或其密钥：{detail}", "content or its key is missing: {detail}"),
    "object_corrupt": ("内容已损坏：{detail}", "content is corrupt: {detail}"),
    "object_differs": (
        "内容与存证的摘要不一致",
        "content does not have the digests that were recorded",
    ),
    "object_owner": ("内容的归属不一致", "content is claimed by something else"),
    "object_unused": (
        "内容已被认领，但没有材料使用它",
        "content is claimed, but no material has it",
    ),
    "database_unreadable": ("数据库无法读取：{detail}", "the database cannot be read: {detail}"),
}


def problem(code: str, where: str, detail: str = "") -> Problem:
    """A problem of this room. `where` holds ids only."""
    zh, en = _SENTENCES[code]
    return Problem(code, where, zh.format(detail=detail), en.format(detail=detail))
