"""What `fsck` of this room says, in both languages."""

from collections.abc import Mapping

from ledger.problems import Problem

SENTENCES: Mapping[str, tuple[str, str]] = {
    "material_row": (
        "材料的数据行与存证记录不一致：{detail}",
        "the row of a material does not agree with its record: {detail}",
    ),
    "material_record": (
        "材料的存证记录无法打开：{detail}",
        "the record of a material cannot be opened: {detail}",
    ),
    "case_row": (
        "办件的数据行与存证记录不一致：{detail}",
        "the row of a case does not agree with its record: {detail}",
    ),
    "case_record": (
        "办件的存证记录无法打开：{detail}",
        "a record of a case cannot be opened: {detail}",
    ),
    "case_event": (
        "办件过程记录与存证不一致：{detail}",
        "an event of a case does not agree with its record: {detail}",
    ),
    "requirement_row": (
        "要求如何满足的数据行与存证记录不一致：{detail}",
        "a row on how a requirement was met does not agree with its record: {detail}",
    ),
    "document_row": (
        "办件文书的数据行与存证记录不一致：{detail}",
        "the row of a case's document does not agree with its record: {detail}",
    ),
    "verification_row": (
        "核验的数据行与存证记录不一致：{detail}",
        "the row of a verification does not agree with its record: {detail}",
    ),
    "use_row": (
        "使用记录的数据行与存证记录不一致：{detail}",
        "a row of the use history does not agree with its record: {detail}",
    ),
    "use_missing": (
        "使用记录缺少数据行：{detail}",
        "a row of the use history is missing: {detail}",
    ),
    "grant_row": (
        "授权的数据行与存证记录不一致：{detail}",
        "the row of a grant does not agree with its record: {detail}",
    ),
    "task_row": (
        "待办的数据行与存证记录不一致：{detail}",
        "the row of a task does not agree with its record: {detail}",
    ),
    "party_event": (
        "主体事件的数据行与存证记录不一致：{detail}",
        "the row of an event of a party does not agree with its record: {detail}",
    ),
    "register_fact": (
        "登记信息的数据行与存证记录不一致：{detail}",
        "the row of a register's answer does not agree with its record: {detail}",
    ),
    "ticket_row": (
        "下载凭票的数据行与存证记录不一致：{detail}",
        "the row of a download ticket does not agree with its record: {detail}",
    ),
    "catalogue_row": (
        "目录版本的数据行与日志不一致：{detail}",
        "the row of a catalogue does not agree with the log: {detail}",
    ),
    "import_row": (
        "归集记录的数据行与材料不一致：{detail}",
        "the row of an imported back file does not agree with its material: {detail}",
    ),
    "erasure_row": (
        "删除记录的数据行与日志不一致：{detail}",
        "the row of an erasure does not agree with the log: {detail}",
    ),
    "upload_row": (
        "上传的数据行与内容不一致：{detail}",
        "the row of an upload does not agree with its content: {detail}",
    ),
    "object_row": (
        "内容的数据行自相矛盾：{detail}",
        "the row of stored content contradicts the rows around it: {detail}",
    ),
    "record_unusable": ("存证记录无法打开：{detail}", "a record cannot be opened: {detail}"),
    "state_differs": (
        "状态与最新存证记录不一致：{detail}",
        "the state is not that of the newest record: {detail}",
    ),
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
    "object_kept": (
        "已删除的内容仍在存储中",
        "content that was erased is still in the store",
    ),
    "object_lock_short": (
        "对象存储未按数据行所载期限锁定该内容",
        "the object store does not lock this content for as long as its row says",
    ),
}


def problem(code: str, where: str, detail: str = "") -> Problem:
    """A problem of this room. `where` holds ids only."""
    zh, en = SENTENCES[code]
    return Problem(code, where, zh.format(detail=detail), en.format(detail=detail))
