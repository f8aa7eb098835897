"""Refusals of a witness."""

from kernel.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable


class WitnessRequestMalformed(InvalidInput):
    code = "witness_request_malformed"
    zh = "见证请求格式错误：{reason}"
    en = "malformed request to the witness: {reason}"


class WitnessOriginUnknown(NotFound):
    code = "witness_origin_unknown"
    zh = "本见证不跟踪该日志"
    en = "this witness does not follow that log"


class WitnessSizeConflict(Conflict):
    code = "witness_size_conflict"
    zh = "本见证记录的日志大小为 {size}"
    en = "this witness has recorded size {size}"


class WitnessStateCorrupt(Corrupt):
    code = "witness_state_corrupt"
    zh = "见证记录 {path} 已损坏，拒绝见证：{reason}"
    en = "the witness's record {path} is corrupt, nothing is cosigned: {reason}"


class WitnessBusy(Unavailable):
    code = "witness_busy"
    zh = "另一见证进程正在使用该状态目录"
    en = "another witness process uses this state folder"


class WitnessUnavailable(Unavailable):
    code = "witness_unavailable"
    zh = "见证 {url} 未给出可用的联署：{reason}"
    en = "the witness {url} gave no usable cosignature: {reason}"


class WitnessAhead(Unavailable):
    code = "witness_ahead"
    zh = "见证 {url} 已联署更大的日志（{size}）"
    en = "the witness {url} has cosigned a larger log (size {size})"


class WitnessSawAnother(Unavailable):
    code = "witness_saw_another"
    zh = "见证 {url} 联署过另一棵树，与本日志矛盾"
    en = "the witness {url} has cosigned another tree, which contradicts this log"
