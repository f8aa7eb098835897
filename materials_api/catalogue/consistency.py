"""What must hold across the parts of a catalogue: unique codes, known references. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from materials_api.catalogue.errors import ProblemCode
from materials_api.catalogue.model import (
    ArchiveOffice,
    Catalogue,
    MaterialType,
    Matter,
    Register,
)
from materials_api.catalogue.requirements import DataCheckRoute, LicenseRoute, Requirement
from materials_api.catalogue.terms import Format, Route

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """`part`: registers, types, matters or archives; `index`: which of them; `loc`: inside it."""

    code: ProblemCode
    part: str
    index: int
    loc: Path
    zh: str
    en: str


def findings(catalogue: Catalogue, known_kinds: frozenset[str] | None = None) -> list[Finding]:
    """Every contradiction between the parts; empty when they fit together.

    `known_kinds`: the licence kinds that exist; None: not checked.
    """
    registers, types, matters = catalogue.registers, catalogue.types, catalogue.matters
    found: list[Finding] = []
    found += _twice("registers", "key", [register.key for register in registers])
    found += _twice("types", "key", [type_.key for type_ in types])
    found += _twice("matters", "key", [matter.key for matter in matters])
    found += _twice("matters", "code", [matter.code for matter in matters])
    found += _twice("archives", "body", [archive.body for archive in catalogue.archives])
    for index, archive in enumerate(catalogue.archives):
        for code, loc, zh, en in _kept(archive):
            found.append(Finding(code, "archives", index, loc, zh, en))
    for index, type_ in enumerate(types):
        if Format.ANY in type_.formats and len(type_.formats) > 1:
            found.append(
                Finding(
                    ProblemCode.CONTRADICTION,
                    "types",
                    index,
                    ("formats",),
                    "any 不与其他格式并列",
                    "any stands alone",
                )
            )
    known = _Known({register.key: register for register in registers}, types, known_kinds)
    for index, matter in enumerate(matters):
        for code, loc, zh, en in known.matter(matter):
            found.append(Finding(code, "matters", index, loc, zh, en))
    return found


def _twice(part: str, name: str, values: Sequence[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Finding(
                ProblemCode.DUPLICATE_CODE,
                part,
                index,
                (name,),
                f"编码重复：{value}",
                f"this code stands twice: {value}",
            )
        seen.add(value)


_Issue = tuple[ProblemCode, Path, str, str]


def _kept(archive: ArchiveOffice) -> Iterator[_Issue]:
    for at, body in enumerate(archive.keeps):
        if body in archive.keeps[:at]:
            yield _double(("keeps", at), body)
        if body == archive.body:
            yield (
                ProblemCode.CONTRADICTION,
                ("keeps", at),
                f"本机构的办件无须列出：{body}",
                f"its own cases need no line: {body}",
            )


class _Known:
    """What the parts of the catalogue may refer to."""

    def __init__(
        self,
        registers: dict[str, Register],
        types: Sequence[MaterialType],
        kinds: frozenset[str] | None,
    ) -> None:
        self._registers = registers
        self._types = {type_.key: type_ for type_ in types}
        self._kinds = kinds

    def matter(self, matter: Matter) -> Iterator[_Issue]:
        variants = [variant.key for variant in matter.variants]
        for at, key in enumerate(variants):
            if key in variants[:at]:
                yield _double(("variants", at, "key"), key)
        for key in dict.fromkeys(variants):
            keys = [requirement.key for requirement in matter.required(key)]
            for name in sorted({name for name in keys if keys.count(name) > 1}):
                at = max(i for i, rule in enumerate(matter.requirements) if rule.key == name)
                yield _double(("requirements", at, "key"), name)
            if not keys:
                yield (
                    ProblemCode.CONTRADICTION,
                    ("variants",),
                    f"业务情形没有任何要求：{key}",
                    f"the variant requires nothing: {key}",
                )
        if (
            matter.result is not None
            and self._kinds is not None
            and matter.result not in self._kinds
        ):
            yield _unknown(("result",), matter.result)
        for at, requirement in enumerate(matter.requirements):
            for code, loc, zh, en in self._requirement(requirement, variants):
                yield code, ("requirements", at, *loc), zh, en

    def _requirement(self, requirement: Requirement, variants: list[str]) -> Iterator[_Issue]:
        for name in requirement.variants:
            if name not in variants:
                yield _unknown(("variants",), name)
        type_ = self._types.get(requirement.type)
        if type_ is None:
            yield _unknown(("type",), requirement.type)
        for at, rule in enumerate(requirement.routes):
            loc: Path = ("routes", at)
            if isinstance(rule, DataCheckRoute):
                yield from self._data_check(rule, loc)
            elif isinstance(rule, LicenseRoute) and self._kinds is not None:
                for kind in rule.kinds:
                    if kind not in self._kinds:
                        yield _unknown((*loc, "kinds"), kind)
            elif rule.route is Route.HISTORIC_MATERIAL and type_ is not None and not type_.reusable:
                yield (
                    ProblemCode.CONTRADICTION,
                    (*loc, "route"),
                    "申请表单和一次性承诺不可复用",
                    "forms and one-off commitments are never reused",
                )

    def _data_check(self, rule: DataCheckRoute, loc: Path) -> Iterator[_Issue]:
        register = self._registers.get(rule.register_key)
        if register is None:
            yield _unknown((*loc, "register"), rule.register_key)
            return
        for name in rule.fields:
            if name not in register.fields:
                yield _unknown((*loc, "fields"), name)


def _double(loc: Path, key: str) -> _Issue:
    return ProblemCode.DUPLICATE_CODE, loc, f"编码重复：{key}", f"this code stands twice: {key}"


def _unknown(loc: Path, name: str) -> _Issue:
    return (
        ProblemCode.UNKNOWN_REFERENCE,
        loc,
        f"引用不存在：{name}",
        f"refers to something unknown: {name}",
    )
