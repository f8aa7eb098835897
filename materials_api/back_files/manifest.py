"""The CSV manifest of `mianjiao import`: from text to checked rows. Pure.

One row is one material of a back file. Encoding is UTF-8 with or without a
byte order mark, or GB18030, which spreadsheets in China write. A row that is
wrong becomes a `RowProblem` with a code; the others go on. Problems name line
and field, never a value, because values are personal data.
"""

import codecs
import csv
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from kernel.clock import CHINA, china_date, china_midnight
from kernel.errors import CodedError
from kernel.identifiers import parse_holder
from materials_api.days import ends
from materials_api.errors import ManifestTooLarge, ManifestUnreadable
from materials_api.limits import ManifestLimits
from materials_api.texts import is_clean

COLUMNS: Final = (
    "holder_type",
    "holder_code",
    "holder_name",
    "material_type",
    "title",
    "source_case",
    "matter",
    "provenance",
    "certified_by",
    "certified_at",
    "issued_at",
    "valid_until",
    "files",
)
PROVENANCES: Final = (
    "unchecked_copy",
    "back_scan",
    "certified_copy",
    "data_checked",
    "authority_issued",
)

PROBLEMS: Final[Mapping[str, tuple[str, str]]] = {
    "row_columns": ("列数与表头不符", "the row has another number of columns than the header"),
    "row_blank": ("必填字段为空", "a required field is empty"),
    "row_text": ("字段过长或含不可见字符", "a field is too long or has invisible characters"),
    "row_holder": ("主体类型或号码不正确", "the holder's type or code is not valid"),
    "row_material_type": ("目录中没有该材料类型", "the catalogue has no such material type"),
    "row_matter": ("目录中没有该事项", "the catalogue has no such matter"),
    "row_case": ("办件编码格式不正确", "the case number is not valid"),
    "row_provenance": ("来源不是规定的取值", "the provenance is not one of the known values"),
    "row_certification": (
        "“与原件核对一致”须写明核对人和时间，二者须同时填写",
        "a certified copy names officer and time; one without the other is refused",
    ),
    "row_date": ("日期不存在或不可能", "a date does not exist or is impossible"),
    "row_files": ("文件为空、过多或重复", "no files, too many, or one twice"),
    "row_path": ("文件路径越出清单所在目录", "a file path leaves the manifest's folder"),
    "file_missing": ("找不到文件", "a file does not exist"),
    "file_kind": ("不是普通文件（目录、链接等）", "not a plain file (a folder, a link)"),
    "file_empty": ("文件为空", "a file is empty"),
    "file_too_large": ("文件超过上限", "a file is over the limit"),
    "file_content": ("内容格式不为该材料类型所接受", "the type does not accept this content"),
    "file_unreadable": ("文件无法读取", "a file cannot be read"),
    "holder_differs": (
        "主体姓名或名称与已登记的不一致，请人工核对",
        "the holder's name differs from the registered one; a person must look",
    ),
    "case_differs": (
        "同一办件编码已属于其他主体或事项",
        "this case number already belongs to another holder or matter",
    ),
    "row_changed": (
        "同一行此前已导入，但文件已变化",
        "this row was imported before, with other files",
    ),
}


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One checked row. `files` are relative paths with `/`, inside the manifest's folder.

    `valid_until` is the exclusive end of the last day that the document names.
    """

    line: int
    holder_type: str
    holder_code: str
    holder_name: str
    material_type: str
    title: str
    source_case: str
    matter: str
    provenance: str
    certified_by: str | None
    certified_at: datetime | None
    issued_at: datetime | None
    valid_until: datetime | None
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why the row that begins on `line` (1 is the header) is refused."""

    line: int
    code: str
    field: str | None = None

    @property
    def zh(self) -> str:
        return PROBLEMS[self.code][0]

    @property
    def en(self) -> str:
        return PROBLEMS[self.code][1]


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue knows. `matter`: the 12-digit code that a code of any length,
    or a key, stands for; None when there is no such matter."""

    material_types: Container[str]
    matter: Callable[[str], str | None]


class _Refused(Exception):
    def __init__(self, code: str, field: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.field = field


def detect_encoding(blocks: Callable[[], Iterable[bytes]], limits: ManifestLimits) -> str:
    """`utf-8-sig` or `gb18030`, by reading all bytes; the name suits `open`.

    `blocks` starts a fresh pass each time. `ManifestUnreadable` when neither
    fits, `ManifestTooLarge` over the limit.
    """
    total = 0
    for name in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(name)()
        total = 0
        try:
            for block in blocks():
                total += len(block)
                if total > limits.bytes:
                    raise ManifestTooLarge(limit=limits.bytes)
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return name
    raise ManifestUnreadable(
        problem="编码不是 UTF-8 或 GB18030", problem_en="it is neither UTF-8 nor GB18030"
    )


def parse_manifest(
    lines: Iterable[str], known: Known, now: datetime, limits: ManifestLimits
) -> Iterator[ManifestRow | RowProblem]:
    """Check row by row, lazily. `lines` keep their line ends (`open(newline="")`).

    A header without exactly the columns of `COLUMNS`, in any order, is
    `ManifestUnreadable`; blank rows are skipped.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
    except (StopIteration, csv.Error):
        raise ManifestUnreadable(problem="没有表头", problem_en="it has no header") from None
    if missing := [name for name in COLUMNS if name not in header]:
        names = ", ".join(missing)
        raise ManifestUnreadable(
            problem=f"表头缺少列 {names}（可以留空，列须齐全）",
            problem_en=f"the header lacks {names} (they may be empty, but must be there)",
        )
    if len(header) != len(COLUMNS):
        raise ManifestUnreadable(
            problem="表头有多余或重复的列", problem_en="the header has surplus or doubled columns"
        )
    rows = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # After a broken quote nothing says where the next row begins.
            raise ManifestUnreadable(
                problem=f"第 {line} 行引号有误", problem_en=f"broken quotes in line {line}"
            ) from error
        if not any(cell.strip() for cell in cells):
            continue
        rows += 1
        if rows > limits.rows:
            raise ManifestTooLarge(limit=limits.rows)
        try:
            if len(cells) != len(header):
                raise _Refused("row_columns")
            yield _row(line, dict(zip(header, cells, strict=True)), known, now, limits)
        except _Refused as refused:
            yield RowProblem(line, refused.code, refused.field)


def safe_path(text: str, limits: ManifestLimits) -> str | None:
    """A relative path in its one form, or None if it could leave its folder.

    `\\` separates too, as on the machines where such lists are written.
    """
    path = text.strip().replace("\\", "/")
    parts = path.split("/")
    if len(path) > limits.path_chars or not is_clean(path):
        return None
    if path.startswith("/") or ".." in parts or "" in parts or re.match(r"[A-Za-z]:", path):
        return None
    kept = [part for part in parts if part != "."]
    return "/".join(kept) or None


def _row(
    line: int, cells: Mapping[str, str], known: Known, now: datetime, limits: ManifestLimits
) -> ManifestRow:
    text = {name: cells[name].strip() for name in COLUMNS}
    for name in COLUMNS:
        if len(text[name]) > limits.cell_chars or not is_clean(text[name]):
            raise _Refused("row_text", name)
    for name in ("holder_type", "holder_code", "holder_name", "material_type", "title"):
        _required(text, name)
    for name in ("source_case", "matter", "provenance", "files"):
        _required(text, name)
    for name in ("holder_name", "title", "certified_by"):
        if len(text[name]) > 200:
            raise _Refused("row_text", name)
    try:
        holder = parse_holder(text["holder_type"], text["holder_code"], china_date(now))
    except CodedError:
        raise _Refused("row_holder", "holder_code") from None
    if text["material_type"] not in known.material_types:
        raise _Refused("row_material_type", "material_type")
    if not re.fullmatch(r"[\w\-./〔〕（）()]{1,64}", text["source_case"]):
        raise _Refused("row_case", "source_case")
    if text["provenance"] not in PROVENANCES:
        raise _Refused("row_provenance", "provenance")
    certified_at = _moment(text, "certified_at", now)
    if bool(text["certified_by"]) != bool(certified_at) or (
        text["provenance"] == "certified_copy" and certified_at is None
    ):
        raise _Refused("row_certification", "certified_by")
    issued = _day(text, "issued_at")
    until = _day(text, "valid_until")
    if issued is not None and issued > china_date(now):
        raise _Refused("row_date", "issued_at")
    if issued is not None and until is not None and until < issued:
        raise _Refused("row_date", "valid_until")
    return ManifestRow(
        line=line,
        holder_type=holder.type.value,
        holder_code=holder.code,
        holder_name=text["holder_name"],
        material_type=text["material_type"],
        title=text["title"],
        source_case=text["source_case"],
        matter=_matter(text["matter"], known),
        provenance=text["provenance"],
        certified_by=text["certified_by"] or None,
        certified_at=certified_at,
        issued_at=china_midnight(issued) if issued else None,
        valid_until=ends(until) if until else None,
        files=_files(text["files"], limits),
    )


def _required(text: Mapping[str, str], name: str) -> None:
    if not text[name]:
        raise _Refused("row_blank", name)


def _matter(text: str, known: Known) -> str:
    code = known.matter(text)
    if code is None:
        raise _Refused("row_matter", "matter")
    return code


def _files(text: str, limits: ManifestLimits) -> tuple[str, ...]:
    wanted = [part for part in text.split("|") if part.strip()]
    if not wanted or len(wanted) > limits.files_per_row:
        raise _Refused("row_files", "files")
    paths = [safe_path(part, limits) for part in wanted]
    good = tuple(path for path in paths if path is not None)
    if len(good) != len(paths):
        raise _Refused("row_path", "files")
    if len(set(good)) != len(good):
        raise _Refused("row_files", "files")
    return good


# Spreadsheets rewrite 2024-03-05 as 2024/3/5: both are read, nothing else.
_DAY = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})")


def _day(text: Mapping[str, str], name: str) -> date | None:
    if not text[name]:
        return None
    found = _DAY.fullmatch(text[name])
    try:
        if found is None:
            raise ValueError
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        raise _Refused("row_date", name) from None


def _moment(text: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    """A day, or a time in ISO form; without a zone it is Chinese time. Not after `now`."""
    if not text[name]:
        return None
    if _DAY.fullmatch(text[name]):
        day = _day(text, name)
        moment = china_midnight(day) if day else None
    else:
        try:
            moment = datetime.fromisoformat(text[name])
        except ValueError:
            raise _Refused("row_date", name) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
    if moment is None or moment > now:
        raise _Refused("row_date", name)
    return moment
