"""Reads the catalogue's files and says everything that is wrong with them at once.

Layout of the folder: `catalogue.yaml` (version, requirements common to all matters,
and which archive office keeps whose archives), `registers.yaml`,
`material_types.yaml`, and one file per matter in `matters/`.
This is the only part of the catalogue that touches files.
"""

import json
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from kernel.canonical import NotCanonical
from materials_api.catalogue.consistency import findings
from materials_api.catalogue.errors import CatalogueInvalid, Problem, ProblemCode
from materials_api.catalogue.fields import Strict, Version
from materials_api.catalogue.model import (
    ArchiveOffice,
    Catalogue,
    MaterialType,
    Matter,
    Register,
)
from materials_api.catalogue.requirements import Requirement
from materials_api.catalogue.yaml_reader import MAX_CHARACTERS, Document, Path, read

DEFAULT_FOLDER = FilePath(__file__).parent / "data"
MAX_MATTERS = 500
M = TypeVar("M", bound=Strict)


class _Head(Strict):
    version: Version
    common: tuple[Requirement, ...] = ()
    archives: tuple[ArchiveOffice, ...] = ()


class _Registers(Strict):
    registers: tuple[Register, ...] = Field(min_length=1)


class _Types(Strict):
    types: tuple[MaterialType, ...] = Field(min_length=1)


class _Collector:
    """Gathers problems while going on."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def document(self, name: str) -> Document | None:
        path = self.folder / name
        lost: tuple[ProblemCode, str, str] | None = None
        text = ""
        try:
            if path.stat().st_size > 4 * MAX_CHARACTERS:
                lost = (ProblemCode.FILE_TOO_LARGE, "文件过大", "the file is too large")
            else:
                text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            lost = (ProblemCode.FILE_MISSING, "缺少文件", "the file is missing")
        except (OSError, UnicodeDecodeError):
            lost = (ProblemCode.YAML_SYNTAX, "不是可读的 UTF-8 文件", "not a readable UTF-8 file")
        if lost is not None:
            self.note(lost[0], name, lost[1], lost[2])
            return None
        document, problems = read(name, text)
        self.problems += problems
        return document

    def note(self, code: ProblemCode, file: str, zh: str, en: str) -> None:
        self.problems.append(Problem(code, file, 0, "(root)", zh, en))

    def part(self, name: str, model: type[M]) -> tuple[M, Document] | None:
        document = self.document(name)
        if document is None:
            return None
        try:
            # JSON mode is strict and still reads lists as tuples and words as enums.
            return model.model_validate_json(json.dumps(document.value)), document
        except ValidationError as error:
            self.problems += problems_of(document, error.errors(include_url=False))
            return None


def load_catalogue(
    known_kinds: frozenset[str] | None = None, folder: FilePath = DEFAULT_FOLDER
) -> Catalogue:
    """Read and validate a catalogue folder; `CatalogueInvalid` with every problem.

    Without a folder: the catalogue that comes with the program.
    `known_kinds`: the licence kinds that exist, which licence routes and results
    may name. None leaves these references unchecked (tools, tests).
    """
    collector = _Collector(folder)
    head = collector.part("catalogue.yaml", _Head)
    registers = collector.part("registers.yaml", _Registers)
    types = collector.part("material_types.yaml", _Types)
    names = sorted(path.name for path in (folder / "matters").glob("*.yaml"))[: MAX_MATTERS + 1]
    if not 1 <= len(names) <= MAX_MATTERS:
        collector.note(
            ProblemCode.FILE_MISSING,
            "matters/",
            f"应有 1 至 {MAX_MATTERS} 个事项文件",
            f"between 1 and {MAX_MATTERS} matter files belong here",
        )
    own = [part for name in names if (part := collector.part(f"matters/{name}", Matter))]
    if collector.problems or head is None or registers is None or types is None:
        raise CatalogueInvalid(collector.problems)
    common = head[0].common
    catalogue = Catalogue(
        version=head[0].version,
        registers=registers[0].registers,
        types=types[0].types,
        matters=tuple(
            matter.model_copy(update={"requirements": matter.requirements + common})
            for matter, _ in own
        ),
        archives=head[0].archives,
    )
    documents = {"registers": registers[1], "types": types[1], "archives": head[1]}
    for finding in findings(catalogue, known_kinds):
        if finding.part == "matters":
            matter, document = own[finding.index]
            document, loc = _in_matter(finding.loc, matter, document, head[1])
        else:
            document, loc = documents[finding.part], (finding.part, finding.index, *finding.loc)
        line, key = document.place(loc)
        problem = Problem(finding.code, document.file, line, key, finding.zh, finding.en)
        if problem not in collector.problems:
            collector.problems.append(problem)
    try:
        hashed = bool(catalogue.sha256)
    except NotCanonical:
        hashed = False
    if not hashed:
        zh, en = "目录的规范形式超过 1 MiB", "the canonical form of the catalogue is over 1 MiB"
        collector.note(ProblemCode.FILE_TOO_LARGE, "catalogue.yaml", zh, en)
    if collector.problems:
        raise CatalogueInvalid(collector.problems)
    return catalogue


def _in_matter(
    loc: Path, matter: Matter, document: Document, head: Document
) -> tuple[Document, Path]:
    """A location in a matter, or in `common` when it is past the matter's own requirements."""
    own = len(matter.requirements)
    if len(loc) > 1 and loc[0] == "requirements" and isinstance(loc[1], int) and loc[1] >= own:
        return head, ("common", loc[1] - own, *loc[2:])
    return document, loc


_WRONG_TYPE = {
    "string_type": ("应为文字（数字编码须加引号）", "text belongs here (quote codes of digits)"),
    "int_type": ("应为整数", "an integer belongs here"),
    "bool_type": ("应为 true 或 false", "true or false belongs here"),
    "tuple_type": ("应为列表", "a list belongs here"),
    "model_type": ("应为键值表", "a mapping belongs here"),
    "model_attributes_type": ("应为键值表", "a mapping belongs here"),
}


def problems_of(document: Document, errors: Iterable[ErrorDetails]) -> list[Problem]:
    """Validation errors as problems, one per place."""
    found: dict[tuple[int, str], Problem] = {}
    for error in errors:
        line, key = document.place(error["loc"])
        code, zh, en = _wording(error)
        found.setdefault((line, key), Problem(code, document.file, line, key, zh, en))
    return list(found.values())


def _wording(error: ErrorDetails) -> tuple[ProblemCode, str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return ProblemCode.UNKNOWN_KEY, "不认识的键", "this key is not known"
    if kind in ("missing", "union_tag_not_found"):
        return ProblemCode.MISSING_KEY, "缺少必填项", "this key is required"
    if kind == "union_tag_invalid":
        known, given = context.get("expected_tags", ""), context.get("tag", "")
        return (
            ProblemCode.UNKNOWN_ROUTE,
            f"没有此途径：{given}（可选：{known}）",
            f"no such route: {given} (known: {known})",
        )
    if kind in ("enum", "literal_error"):
        known = context.get("expected", "")
        return ProblemCode.WRONG_VALUE, f"取值应为 {known}", f"one of these belongs here: {known}"
    if kind in _WRONG_TYPE:
        return (ProblemCode.WRONG_TYPE, *_WRONG_TYPE[kind])
    if kind in set(ProblemCode):
        return ProblemCode(kind), context["zh"], context["en"]
    return (
        ProblemCode.WRONG_VALUE,
        f"取值不符合要求：{error['msg']}",
        f"wrong value: {error['msg']}",
    )
