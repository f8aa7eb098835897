"""Refusals of anchoring. None of them ever reaches a window: they stand in status and health,
but for those of evidence that is asked for by digest."""

from kernel.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable


class NodeUnavailable(Unavailable):
    code = "chain_unavailable"
    zh = "链节点不可用（{reason}），稍后自动重试"
    en = "the chain's node cannot be reached ({reason}); it is tried again"


class NodeRefused(Unavailable):
    code = "chain_refused"
    zh = "链节点拒绝请求 {method}（{number}）：{message}"
    en = "the chain's node refused {method} ({number}): {message}"


class NodeAnswerInvalid(Unavailable):
    code = "chain_answer_invalid"
    zh = "链节点对 {method} 的应答无法理解：{reason}"
    en = "the chain's node gave an answer to {method} that makes no sense: {reason}"


class WrongChain(Unavailable):
    code = "chain_wrong"
    zh = "链节点属于另一条链（{found}，应为 {expected}）"
    en = "the node is one of another chain ({found}, not {expected})"


class WrongContract(Unavailable):
    code = "chain_contract_wrong"
    zh = "该地址上没有本程序的合约"
    en = "this program's contract does not stand at the address"


class NotAppointed(Unavailable):
    code = "chain_not_appointed"
    zh = "合约未授权本账户 {account} 为该日志存证"
    en = "the contract has not appointed the account {account} for this log"


class ChainDiverged(Conflict):
    code = "chain_diverged"
    zh = "链上记录与本日志矛盾（大小 {size}）：{reason}"
    en = "what the chain holds contradicts this log (size {size}): {reason}"


class GasPriceTooHigh(Unavailable):
    code = "chain_gas_price"
    zh = "燃料价格 {price} 超过上限 {limit}，暂缓存证"
    en = "the gas price {price} is over the limit {limit}: anchoring waits"


class AnchorKeyInvalid(InvalidInput):
    code = "anchor_key_invalid"
    zh = "锚定私钥不是 32 字节的十六进制数"
    en = "the anchoring key is not 32 bytes in hex"


class NotAnchoring(InvalidInput):
    code = "not_anchoring"
    zh = "未设置上链存证；见 docs/anchoring.md"
    en = "anchoring is not configured; see docs/anchoring.md"


class EvidenceUnknown(NotFound):
    code = "evidence_unknown"
    zh = "没有该摘要的外部证据"
    en = "there is no evidence with this digest"


class EvidenceDamaged(Corrupt):
    code = "evidence_damaged"
    zh = "所存外部证据与其摘要不符，不予提供"
    en = "the evidence that is kept does not have its digest, and is not served"
