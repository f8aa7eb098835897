"""Refusals of the archive room."""

from kernel.errors import Conflict, Corrupt, InvalidInput, NotFound, TooLarge, Unavailable


class CaseNotExportable(Conflict):
    code = "case_not_exportable"
    zh = "只有已办结或已归档的案件才能导出归档包（当前状态：{state}）"
    en = "only a closed or filed case is exported (it is {state})"


class PackageIncomplete(Conflict):
    """`reasons` lists `code:subject` pairs; never names or titles."""

    code = "package_incomplete"
    zh = "归档材料不齐全，共 {count} 处：{reasons}"
    en = "the archive of this case is not complete, {count} reasons: {reasons}"


class TargetExists(Conflict):
    code = "export_target_exists"
    zh = "目标位置已存在，不会覆盖"
    en = "the target exists already and is not overwritten"


class TargetUnusable(InvalidInput):
    code = "export_target_unusable"
    zh = "目标位置无法写入（{reason}）"
    en = "the target cannot be written ({reason})"


class PackagePathRefused(InvalidInput):
    code = "package_path_refused"
    zh = "归档包内不允许的路径（{rule}）"
    en = "a path that a package may not hold ({rule})"


class EvidencePending(Unavailable):
    code = "export_evidence_pending"
    zh = "存证补全中，稍后再导出"
    en = "some records are not in a published checkpoint yet; export again shortly"


class PackageDefective(Corrupt):
    """Our own output failed its own check: nothing was recorded or delivered."""

    code = "package_defective"
    zh = "归档包自检未通过，未导出（{findings}）"
    en = "the package failed its own check and was not exported ({findings})"


class PackageTooLarge(TooLarge):
    code = "package_too_large"
    zh = "归档包超过上限（{limit} 字节）"
    en = "the package is over the limit of {limit} bytes"


class ExportUnknown(NotFound):
    code = "export_unknown"
    zh = "找不到该归档包"
    en = "no such export"


class PackageGone(Conflict):
    """The record of the export stays; the bytes were kept for a while only."""

    code = "package_gone"
    zh = "归档包暂存期已过，请重新导出"
    en = "the package is no longer kept here; export the case again"
