"""Refusals of chain evidence."""

from kernel.errors import InvalidInput


class ChainEvidenceMalformed(InvalidInput):
    code = "chain_evidence_malformed"
    zh = "链上证据格式错误：{reason}"
    en = "malformed chain evidence: {reason}"


class ChainEvidenceInvalid(InvalidInput):
    code = "chain_evidence_invalid"
    zh = "链上证据不成立：{reason}"
    en = "the chain evidence does not hold: {reason}"


class ChainNotTrusted(InvalidInput):
    code = "chain_not_trusted"
    zh = "该区块不在核验方信任之列：{reason}"
    en = "the verifier does not trust this block: {reason}"
