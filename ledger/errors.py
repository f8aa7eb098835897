"""Refusals of the ledger room."""

from kernel.errors import Conflict, Corrupt, InvalidInput, NotFound, TooLarge, Unavailable

# --- Bytes that came from outside, or from a store, and do not parse or verify ---


class KeyMalformed(InvalidInput):
    code = "verifier_key_malformed"
    zh = "验证公钥格式错误：{reason}"
    en = "malformed verifier key: {reason}"


class NoteMalformed(InvalidInput):
    code = "note_malformed"
    zh = "签名文本格式错误：{reason}"
    en = "malformed signed note: {reason}"


class CheckpointMalformed(InvalidInput):
    code = "checkpoint_malformed"
    zh = "检查点格式错误：{reason}"
    en = "malformed checkpoint: {reason}"


class ProofMalformed(InvalidInput):
    code = "proof_malformed"
    zh = "证明文本格式错误：{reason}"
    en = "malformed proof: {reason}"


class PolicyMalformed(InvalidInput):
    code = "policy_malformed"
    zh = "信任策略第 {line} 行错误：{reason}"
    en = "trust policy, line {line}: {reason}"


class ReceiptMalformed(InvalidInput):
    code = "receipt_malformed"
    zh = "存证回执格式错误：{reason}"
    en = "malformed receipt: {reason}"


class LeafMalformed(InvalidInput):
    code = "leaf_malformed"
    zh = "日志条目格式错误：{reason}"
    en = "malformed log entry: {reason}"


class AnchorUnknown(InvalidInput):
    code = "anchor_unknown"
    zh = "回执含有不能验证的锚定"
    en = "the receipt holds an anchor of an unknown type"


class ReceiptElsewhere(InvalidInput):
    code = "receipt_elsewhere"
    zh = "凭证属于另一日志"
    en = "the receipt is of another log"


class AnchorElsewhere(InvalidInput):
    code = "anchor_elsewhere"
    zh = "锚定属于另一日志"
    en = "the anchor is about another log"


class CommitmentMismatch(InvalidInput):
    code = "commitment_mismatch"
    zh = "记录与日志中的承诺值不一致"
    en = "the record does not match the commitment in the log"


class LogNotTrusted(InvalidInput):
    code = "log_not_trusted"
    zh = "检查点没有受信任日志的签名"
    en = "no log of the trust policy signed this checkpoint"


class SignatureInvalid(InvalidInput):
    code = "signature_invalid"
    zh = "签名无效（{name}）"
    en = "the signature of {name} is not valid"


class OriginMismatch(InvalidInput):
    code = "origin_mismatch"
    zh = "检查点的日志名与签名密钥的名称不同"
    en = "the checkpoint's origin is not the name of the key that signed it"


class InclusionInvalid(InvalidInput):
    code = "inclusion_invalid"
    zh = "包含证明不成立：{reason}"
    en = "the inclusion proof does not hold: {reason}"


class ConsistencyInvalid(InvalidInput):
    code = "consistency_invalid"
    zh = "一致性证明不成立：{reason}"
    en = "the consistency proof does not hold: {reason}"


class QuorumNotMet(InvalidInput):
    code = "quorum_not_met"
    zh = "见证人数量不满足信任策略（{quorum}）"
    en = "the policy's quorum {quorum} of witnesses is not met"


class DemandsMalformed(InvalidInput):
    code = "demands_malformed"
    zh = "核验要求文件错误：{reason}"
    en = "malformed file of demands: {reason}"


class DemandsEmpty(InvalidInput):
    code = "demands_empty"
    zh = "核验要求文件没有提出任何要求"
    en = "the file of demands demands nothing"


class DemandUnmet(InvalidInput):
    code = "demand_unmet"
    zh = "缺少核验方要求的证据：{demand}"
    en = "the evidence that the verifier demands is missing: {demand}"


class CheckpointAfterEnd(InvalidInput):
    code = "checkpoint_after_end"
    zh = "日志 {origin} 已封存，其后的检查点（{size}）不可信"
    en = "the log {origin} has ended, and not with this checkpoint (size {size})"


class SplitViewInvalid(InvalidInput):
    code = "split_view_invalid"
    zh = "不能证明日志签署了两棵不同的树：{reason}"
    en = "no proof that the log signed two trees: {reason}"


class EvidenceMalformed(InvalidInput):
    code = "evidence_malformed"
    zh = "外部证据格式错误：{reason}"
    en = "malformed evidence: {reason}"


class RefusedEvidenceInvalid(InvalidInput):
    code = "refused_evidence_invalid"
    zh = "不能证明日志载入了不成立的证据：{reason}"
    en = "no proof that the log named evidence that does not hold: {reason}"


class FileNotInRecord(InvalidInput):
    code = "file_not_in_record"
    zh = "该文件不在所存证的记录中"
    en = "this file is not among those that the record holds"


# --- What the log's store holds ---


class TilePathInvalid(NotFound):
    code = "tile_path_invalid"
    zh = "不是有效的日志分块路径"
    en = "not a path of the log"


class TileMissing(Corrupt):
    code = "tile_missing"
    zh = "日志缺少分块 {path}"
    en = "the log has no {path}"


class TileCorrupt(Corrupt):
    code = "tile_corrupt"
    zh = "日志分块 {path} 已损坏：{reason}"
    en = "{path} of the log is corrupt: {reason}"


class CheckpointNotMonotone(Conflict):
    code = "checkpoint_not_monotone"
    zh = "已发布的检查点不得倒退（{published} → {offered}）"
    en = "a published checkpoint never goes back ({published} to {offered})"


# --- Records ---


class EntryUnknown(NotFound):
    code = "entry_unknown"
    zh = "没有这条存证"
    en = "no such entry"


class RecordErased(NotFound):
    code = "record_erased"
    zh = "该记录已依法删除"
    en = "this record was erased"


class RecordCorrupt(Corrupt):
    code = "record_corrupt"
    zh = "记录与存证不一致（{entry}）：{reason}"
    en = "the stored record {entry} does not match its log entry: {reason}"


class HistoryCut(Corrupt):
    code = "history_cut"
    zh = "该对象的记录不完整（{entity}）"
    en = "records of {entity} are missing: the log had more than the database has"


class NotYetLogged(Unavailable):
    code = "not_yet_logged"
    zh = "存证补全中，请稍后再取"
    en = "evidence is pending; ask again shortly"


class NotInLog(Corrupt):
    code = "not_in_log"
    zh = "该条目不在日志中（{entry}）"
    en = "entry {entry} is not in the log where its row says"


class PublicEntry(InvalidInput):
    code = "entry_is_public"
    zh = "公开条目没有回执，请用日志证明"
    en = "a public entry has no receipt: ask the log for its proof"


class ErasurePending(Unavailable):
    code = "erasure_pending"
    zh = "尚有记录未写入日志，请稍后再删除"
    en = "some of these records are not in the log yet; erase again shortly"


class RecordInvalid(InvalidInput):
    code = "record_invalid"
    zh = "记录不符合规范：{reason}"
    en = "not a valid record: {reason}"


class RecordTooLarge(TooLarge):
    code = "record_too_large"
    zh = "记录超过上限（{limit} 字节）"
    en = "the record is over the limit of {limit} bytes"


# --- The life of the log ---


class LogMissing(Unavailable):
    code = "log_missing"
    zh = "找不到日志；请先运行 mianjiao init"
    en = "there is no log here; run mianjiao init first"


class LogExists(Conflict):
    code = "log_exists"
    zh = "日志已存在，不会重新建立"
    en = "a log stands here already and is not created again"


class OriginInvalid(InvalidInput):
    code = "origin_invalid"
    zh = "日志名不可用：{reason}"
    en = "not a usable name for a log: {reason}"


class KeyWithoutDatabase(Unavailable):
    code = "key_without_database"
    zh = "有签名密钥而无其数据库，拒绝启动"
    en = "a signing key without its database: refusing to start"


class DatabaseWithoutKey(Unavailable):
    code = "database_without_key"
    zh = "有数据库而无其签名密钥，拒绝启动"
    en = "a database without its signing key: refusing to start"


class KeyFileUnsafe(Unavailable):
    code = "key_file_unsafe"
    zh = "密钥文件 {path} 不可用：{reason}"
    en = "key file {path} cannot be used: {reason}"


class KeyMismatch(Unavailable):
    code = "key_mismatch"
    zh = "签名密钥不是该日志的密钥"
    en = "the signing key is not the one this log was opened with"


class DatabaseOlderThanLog(Unavailable):
    code = "database_older_than_log"
    zh = "数据库（{database}）早于已发布的日志（{published}），拒绝签名；请先恢复"
    en = (
        "the database (size {database}) is older than the published log (size {published}): "
        "nothing is signed until it is restored"
    )


class HeadOlderThanRemembered(Unavailable):
    code = "head_older_than_remembered"
    zh = (
        "数据库与日志（{database}）都早于 {path} 记住的日志头（{remembered}），拒绝签名；"
        "请用最新日志运行 mianjiao restore"
    )
    en = (
        "database and log (size {database}) are both older than the head that {path} remembers "
        "(size {remembered}): nothing is signed; run mianjiao restore with the newest log"
    )


class HighWaterMissing(Unavailable):
    code = "high_water_missing"
    zh = (
        "找不到记住日志头的文件 {path}，拒绝签名；请检查其磁盘，"
        "确认数据未被回退后运行 mianjiao log remember"
    )
    en = (
        "the file that remembers the head, {path}, is not there: nothing is signed; check its "
        "disk, or, once sure that nothing was rolled back, run mianjiao log remember"
    )


class HighWaterInvalid(Unavailable):
    code = "high_water_invalid"
    zh = "记住日志头的文件 {path} 不是本日志签名的检查点，拒绝签名"
    en = "{path} holds no checkpoint that this log signed: nothing is signed"


class HighWaterExists(Conflict):
    code = "high_water_exists"
    zh = "{path} 已存在，不会覆盖；它可能属于另一存储"
    en = "{path} is there already and is not replaced; it may be another store's"


class LogDiverged(Unavailable):
    code = "log_diverged"
    zh = "数据库与已发布的日志互相矛盾，拒绝签名：{reason}"
    en = "database and published log contradict each other, nothing is signed: {reason}"


class ShardEnded(Unavailable):
    code = "shard_ended"
    zh = "日志分片 {shard} 已封存，后续为 {successor}；请重新启动服务"
    en = "shard {shard} of the log has ended, {successor} follows: start this process again"


class ShardNameInvalid(InvalidInput):
    code = "shard_name_invalid"
    zh = "分片名 {shard} 不可用：{reason}"
    en = "{shard} cannot be the name of the next shard: {reason}"


class SuccessorNotTrusted(Conflict):
    code = "successor_not_trusted"
    zh = "见证策略尚未列出新分片的密钥；请先加入此行（并告知各见证人）：log {vkey}"
    en = (
        "the witness policy does not list the next shard's key; add this line first, and tell "
        "the witnesses: log {vkey}"
    )


class FinalDiffers(Corrupt):
    code = "final_checkpoint_differs"
    zh = "已封存分片 {shard} 的检查点与后续分片所记的不符"
    en = "the checkpoint of the closed shard {shard} is not the one that its successor names"


class SequencerBusy(Unavailable):
    code = "sequencer_busy"
    zh = "另一进程正在写日志"
    en = "another process is writing this log"


class SequencerLost(Unavailable):
    code = "sequencer_lost"
    zh = "日志写入权已失去（{step}），已停止"
    en = "another writer took over at step {step}: this one has stopped"


class ReadBackFailed(Unavailable):
    code = "read_back_failed"
    zh = "写入的日志分块读回不一致（{path}），未签名，已停止"
    en = "what was written at {path} does not read back: nothing was signed, the log stopped"


class LedgerStopped(Unavailable):
    code = "ledger_stopped"
    zh = "日志已停止：{reason}"
    en = "the log has stopped: {reason}"


class OutsideUnreachable(Unavailable):
    code = "outside_unreachable"
    zh = "记得本日志的各方（见证、链）均不可达，暂不签署检查点；照常受理，恢复后自动补全"
    en = (
        "nobody outside who remembers the log (witness, chain) can be reached: "
        "work is accepted, nothing is signed until one answers"
    )
