"""What a package check finds: a stable code, the file concerned, both languages.

A code is never renamed or reused. The list is empty for a package that holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# code: (zh, en). `{detail}` is filled by the check.
_SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    # reading
    "not_a_file": ("不是普通文件或文件夹", "neither a regular file nor a folder"),
    "symlink": ("归档包内不得有符号链接", "a package holds no symbolic links"),
    "unreadable": ("无法读取", "cannot be read"),
    "too_many_files": (
        "文件数超过上限（{detail}）",
        "more files than the limit of {detail}",
    ),
    "too_deep": ("文件夹层级过深", "folders are nested too deep"),
    "text_too_large": (
        "说明性文件超过上限（{detail} 字节）",
        "a tag file is over the limit of {detail} bytes",
    ),
    "zip_invalid": ("ZIP 文件不合规范：{detail}", "the ZIP file is not acceptable: {detail}"),
    # names
    "path_refused": ("文件路径不允许：{detail}", "the path is not allowed: {detail}"),
    "name_collision": (
        "文件名重复，或仅大小写不同",
        "the name occurs twice, or differs from another by case alone",
    ),
    # bag (RFC 8493)
    "tag_file_missing": ("缺少必备文件", "a required file is missing"),
    "bag_declaration": (
        "bagit.txt 不是 BagIt 1.0 声明",
        "bagit.txt is not the declaration of BagIt 1.0",
    ),
    "bag_info": ("bag-info.txt 不合格式：{detail}", "bag-info.txt is malformed: {detail}"),
    "fetch_refused": ("不接受 fetch.txt", "fetch.txt is not accepted"),
    "oxum_mismatch": (
        "载荷的字节数或文件数与 Payload-Oxum 不一致",
        "bytes or number of payload files differ from Payload-Oxum",
    ),
    "manifest_malformed": (
        "清单第 {detail} 行不合格式",
        "line {detail} of the manifest is malformed",
    ),
    "manifest_duplicate": ("清单中重复列出", "listed twice in a manifest"),
    "manifest_disagree": (
        "只列于两份清单之一",
        "listed in one of the two manifests only",
    ),
    "manifest_scope": (
        "列在了不该列的清单中",
        "listed in a manifest of the wrong kind",
    ),
    "digest_mismatch": (
        "文件内容与清单摘要（{detail}）不一致",
        "the file does not have the {detail} digest of the manifest",
    ),
    "file_missing": ("清单列出的文件不存在", "a file listed in the manifest is missing"),
    "file_stray": ("多余文件，清单未列出", "a file that no manifest lists"),
    # case description
    "case_malformed": ("案件说明不合格式：{detail}", "the case description is malformed: {detail}"),
    "case_xml_differs": (
        "XML 与 JSON 内容不一致",
        "the XML and the JSON do not say the same",
    ),
    "case_record_differs": (
        "案件说明与存证记录不一致：{detail}",
        "the case description differs from the logged record: {detail}",
    ),
    # receipts and checkpoints
    "receipt_missing": ("缺少凭证", "a receipt is missing"),
    "receipt_stray": ("案件说明未列出的凭证", "a receipt that the case description does not list"),
    "receipt_invalid": ("凭证不成立：{detail}", "the receipt does not hold: {detail}"),
    "receipt_other_record": (
        "凭证的记录与案件说明所列不是同一条",
        "the receipt is of another record than the case description says",
    ),
    "checkpoint_missing": ("缺少检查点", "the checkpoint is missing"),
    "checkpoint_stray": ("多余的检查点", "a checkpoint that nothing refers to"),
    "checkpoint_invalid": ("检查点不成立：{detail}", "the checkpoint does not hold: {detail}"),
    "checkpoint_differs": (
        "凭证不是针对本包检查点的",
        "the receipt is not made against the checkpoint of this package",
    ),
    # files
    "content_mismatch": ("文件内容与存证不一致", "the file does not match what was logged"),
    "content_unaccounted": (
        "载荷文件不属于任何材料或文书",
        "a payload file belongs to no material and no document",
    ),
    # receipt of the export
    "export_receipt_invalid": (
        "归档凭证不成立：{detail}",
        "the receipt of the export does not hold: {detail}",
    ),
    "export_receipt_differs": (
        "归档凭证不是针对本包的",
        "the receipt of the export is for another package",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with the path inside the package where there is one."""

    code: str
    path: str | None
    zh: str
    en: str

    def as_json(self) -> dict[str, str | None]:
        return {"code": self.code, "path": self.path, "zh": self.zh, "en": self.en}


def finding(code: str, path: str | None = None, detail: str | int | None = None) -> Finding:
    """Build the finding `code`. An unknown code is a `KeyError`: a mistake of ours."""
    zh, en = _SENTENCES[code]
    shown = None if path is None else printable(path)
    text = "" if detail is None else str(detail)
    return Finding(code, shown, zh.format(detail=text), en.format(detail=text))


def printable(path: str) -> str:
    """A hostile name on one line, at most 200 characters."""
    text = path.encode("ascii", "backslashreplace").decode("ascii")
    text = "".join(char if " " <= char <= "~" else f"\\x{ord(char):02x}" for char in text)
    return text if len(text) <= 200 else text[:197] + "..."


CODES: Final = frozenset(_SENTENCES)
