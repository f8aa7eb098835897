"""Refusals of the room's rules: lifecycles and the spending of grants."""

from kernel.errors import Conflict, InvalidInput
from kernel.lifecycle import IllegalTransition


class CaseTransitionIllegal(IllegalTransition):
    code = "case_transition_illegal"
    zh = "办件当前状态（{state}）不允许此操作（{event}）"
    en = "a case in the state {state} does not allow {event}"


class MaterialTransitionIllegal(IllegalTransition):
    code = "material_transition_illegal"
    zh = "材料当前状态（{state}）不允许此操作（{event}）"
    en = "a material in the state {state} does not allow {event}"


class GrantTransitionIllegal(IllegalTransition):
    code = "grant_transition_illegal"
    zh = "授权当前状态（{state}）不允许此操作（{event}）"
    en = "a grant in the state {state} does not allow {event}"


class CorrectionAlreadyAsked(Conflict):
    code = "correction_already_asked"
    zh = "补正应当一次性告知，本办件已告知过"
    en = "corrections are asked for once, completely; this case has had its notice"


class GrantBoundElsewhere(Conflict):
    code = "grant_bound_elsewhere"
    zh = "授权仅限原办件"
    en = "the authorisation belongs to another case"


class UploadReasonNeeded(InvalidInput):
    code = "upload_reason_needed"
    zh = "此项可以免交；仍要求提交的，须选择原因"
    en = "this requirement could be exempted; asking for it anyway needs a reason"


class UploadReasonUnknown(InvalidInput):
    code = "upload_reason_unknown"
    zh = "应免未免的原因不在可选范围内"
    en = "this is not one of the reasons for asking although exempt"
