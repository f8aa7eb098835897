"""Refusals of the materials room that its use cases share.

Those of one topic stand in its own module's section below. Codes are stable;
details hold ids, codes and counts, never personal data.
"""

from kernel.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NotFound,
    NotPermitted,
    TooLarge,
)

# Uploads and content.


class UploadIdInvalid(InvalidInput):
    code = "upload_id_invalid"
    zh = "上传编号格式不正确（upl_ 加 26 位）"
    en = "an upload id is upl_ and 26 characters"


class UploadConflict(Conflict):
    code = "upload_conflict"
    zh = "该上传编号已用于其他内容"
    en = "this upload id was already used for other bytes"


class UploadUnknown(InvalidInput):
    code = "upload_unknown"
    zh = "找不到上传 {upload}，或已过期"
    en = "upload {upload} does not exist or has expired"


class UploadUsed(Conflict):
    code = "upload_used"
    zh = "上传 {upload} 已登记为材料"
    en = "upload {upload} is already part of a material"


class UploadCut(InvalidInput):
    code = "upload_cut"
    zh = "连接中断，内容未保存"
    en = "the connection was cut; nothing was stored"


class TooManyPendingUploads(TooLarge):
    code = "uploads_pending"
    zh = "未登记的上传过多，请先登记或等待过期"
    en = "too many uploads are not registered yet; register them or let them expire"


class DigestHeaderInvalid(InvalidInput):
    code = "content_digest_invalid"
    zh = "Content-Digest 无法识别"
    en = "the Content-Digest header cannot be read"


class UnacceptableContent(InvalidInput):
    code = "content_type_not_accepted"
    zh = "第 {position} 个文件的内容为 {found}；{type} 可接受的格式：{accepted}"
    en = "file {position} is {found}; formats that {type} accepts: {accepted}"


class FileOverTypeLimit(TooLarge):
    code = "file_over_type_limit"
    zh = "第 {position} 个文件超过该类材料的上限（{limit} 字节）"
    en = "file {position} is over the limit of this type, {limit} bytes"


class FormInvalid(InvalidInput):
    code = "form_invalid"
    zh = "表单不正确：{problem}"
    en = "the form is not valid: {problem}"


class FormTooLarge(TooLarge):
    code = "form_too_large"
    zh = "表单字段过多或过长"
    en = "the form has too many fields, or one is too long"


# Cases.


class CaseUnknown(NotFound):
    code = "case_unknown"
    zh = "找不到办件"
    en = "no such case"


class CaseOfOtherWindow(NotPermitted):
    code = "case_of_other_window"
    zh = "该办件由其他窗口受理"
    en = "this case belongs to another window"


class CaseOfOtherDepartment(NotPermitted):
    code = "case_of_other_department"
    zh = "该办件由其他部门办理"
    en = "this case belongs to another department"


class ApplicantKindWrong(InvalidInput):
    code = "applicant_kind_wrong"
    zh = "该事项的申请人须为：{kind}"
    en = "this matter is for another kind of applicant: {kind}"


class ProjectInvalid(InvalidInput):
    code = "project_invalid"
    zh = "项目代码为 1 至 64 个字母、数字或 - . _"
    en = "a project code is 1 to 64 letters, digits or - . _"


class HolderNotYours(NotPermitted):
    code = "holder_not_yours"
    zh = "凭证不能代表该申请人"
    en = "this credential does not act for that applicant"


class ActingPersonNeeded(InvalidInput):
    code = "acting_person_needed"
    zh = "单位申请须写明经办的自然人"
    en = "an organisation's case names the natural person who acts"


class ActingPersonInvalid(InvalidInput):
    code = "acting_person_invalid"
    zh = "经办人须为自然人；以“本人”身份办理时须与申请人一致"
    en = "who acts is a natural person, and the applicant when acting as self"


class CapacityMissing(NotPermitted):
    code = "capacity_missing"
    zh = "未登记该人以“{capacity}”身份代办的资格"
    en = "the register has no capacity {capacity} of this person for this holder"


class ChannelInvalid(InvalidInput):
    code = "channel_invalid"
    zh = "该身份不能使用渠道 {channel}"
    en = "this role cannot use the channel {channel}"


class CaseNumberTaken(Conflict):
    code = "case_number_taken"
    zh = "办件编码已被使用"
    en = "this case number is already used"


class CaseNumberInvalid(InvalidInput):
    code = "case_number_invalid"
    zh = "办件编码为 1 至 64 个字母、数字或 - _ . /"
    en = "a case number is 1 to 64 letters, digits or - _ . /"


class EventNotYours(NotPermitted):
    code = "event_not_yours"
    zh = "该身份不能执行“{event}”"
    en = "this role may not do {event}"


class CorrectionEmpty(InvalidInput):
    code = "correction_empty"
    zh = "补正告知须写明需要补正的内容"
    en = "a correction notice says what is to be corrected"


class CorrectionTooLate(Conflict):
    code = "correction_too_late"
    zh = "已超过 {days} 个工作日，视为自收到之日起受理"
    en = "after {days} working days the case counts as accepted from its receipt"


class RequirementsUnmet(Conflict):
    code = "requirements_unmet"
    zh = "尚缺材料：{requirements}"
    en = "still missing: {requirements}"


class CaseStateForbids(Conflict):
    code = "case_state_forbids"
    zh = "办件当前状态（{state}）不能再增补材料"
    en = "nothing can be added to a case in the state {state}"


class MaterialNotOfCase(InvalidInput):
    code = "material_not_of_case"
    zh = "所列材料不属于本办件，或重复列出"
    en = "a material named here is not of this case, or stands twice"


class NoteNeeded(InvalidInput):
    code = "note_needed"
    zh = "执行“{event}”须写明理由"
    en = "{event} needs a note that gives the reason"


# Materials.


class MaterialUnknown(NotFound):
    code = "material_unknown"
    zh = "找不到材料"
    en = "no such material"


class TypeNotOfRequirement(InvalidInput):
    code = "type_not_of_requirement"
    zh = "要求 {requirement} 不接受材料类型 {type}"
    en = "requirement {requirement} does not take material type {type}"


class ProvenanceNotYours(NotPermitted):
    code = "provenance_not_yours"
    zh = "该身份不能声明来源 {provenance}"
    en = "this role cannot state the provenance {provenance}"


class CertificationInvalid(InvalidInput):
    code = "certification_invalid"
    zh = "“与原件核对一致”须写明核对人和时间，且时间不晚于现在"
    en = "a certified copy names the officer and a time that is not in the future"


class DateImpossible(InvalidInput):
    code = "date_impossible"
    zh = "日期 {field} 不可能"
    en = "the date {field} is impossible"


class PartiesInvalid(InvalidInput):
    code = "parties_invalid"
    zh = "相关方不正确：{problem}"
    en = "the parties are not valid: {problem}"


class TextInvalid(InvalidInput):
    code = "text_invalid"
    zh = "字段 {field} 为空、过长或含不可见字符"
    en = "the field {field} is empty, too long or has invisible characters"


class FilesInvalid(InvalidInput):
    code = "files_invalid"
    zh = "文件须为 1 至 {limit} 个，且不重复"
    en = "a material has 1 to {limit} files, each once"


class SupersedesInvalid(InvalidInput):
    code = "supersedes_invalid"
    zh = "被替代的材料须为本办件同类且尚未被替代的材料"
    en = "what is superseded is a current material of the same type in this case"


class ErasureNotYours(NotPermitted):
    code = "erasure_not_yours"
    zh = "只有权利人可以删除；其他相关方可以停止复用"
    en = "only an owner may erase it; other parties can stop its reuse"


class RetentionRuns(Conflict):
    code = "retention_runs"
    zh = "保存期至 {until}，期满前只能停止复用，不能删除"
    en = "it is kept until {until}; until then reuse can be stopped, not the keeping"


class MaterialInUse(Conflict):
    code = "material_in_use"
    zh = "办件正在使用该材料（{cases} 件），暂不能删除"
    en = "{cases} open case(s) use this material, so it cannot be erased now"


class MaterialOfOtherDepartment(NotPermitted):
    code = "material_of_other_department"
    zh = "本部门未办理过使用该材料的办件"
    en = "no case of this department used this material"


class RowChanged(Conflict):
    code = "row_changed_meanwhile"
    zh = "数据刚被他人修改，请重试"
    en = "somebody else just changed this; try again"


class RecordMismatch(Corrupt):
    code = "record_mismatch"
    zh = "数据行与存证记录不一致"
    en = "a row does not agree with its record in the log"


# Documents, commitments, assistance, tasks.


class DocumentUnknown(NotFound):
    code = "document_unknown"
    zh = "找不到文书"
    en = "no such document"


class RouteNotOffered(Conflict):
    code = "route_not_offered"
    zh = "要求 {requirement} 不能以 {route} 方式免交"
    en = "requirement {requirement} cannot be exempted by {route}"


class RequirementAlreadyMet(Conflict):
    code = "requirement_already_met"
    zh = "要求 {requirement} 已满足"
    en = "requirement {requirement} is already met"


class AssistanceAnswered(Conflict):
    code = "assistance_answered"
    zh = "该协查函已有答复"
    en = "this letter was answered already"


class TaskUnknown(NotFound):
    code = "task_unknown"
    zh = "找不到待办事项"
    en = "no such task"


class TaskDone(Conflict):
    code = "task_done"
    zh = "该待办事项已完成"
    en = "this task is already done"


# Pages and headers.


class CursorInvalid(InvalidInput):
    code = "cursor_invalid"
    zh = "分页游标无效"
    en = "the page cursor is not valid"


# Back files and manifests.


class ManifestUnreadable(InvalidInput):
    code = "manifest_unreadable"
    zh = "清单无法读取：{problem}；格式见 docs/import.md"
    en = "the manifest cannot be read: {problem}; docs/import.md tells its form"

    def message_en(self) -> str:
        return self.en.format(problem=self.details["problem_en"])


class ManifestTooLarge(TooLarge):
    code = "manifest_too_large"
    zh = "清单超过上限（{limit}）"
    en = "the manifest is over the limit of {limit}"
