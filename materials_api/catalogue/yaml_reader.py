"""A small, strict part of YAML with line numbers. Text in, plain values out; no file.

Only mappings with text keys, lists, texts, integers, booleans and null. Anchors,
aliases, tags and merge keys are refused, and so are duplicate keys, which PyYAML
would accept. Plain `0123` stays text, `no` is the word no: as in YAML 1.2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from materials_api.catalogue.errors import Problem, ProblemCode

YamlValue: TypeAlias = "dict[str, YamlValue] | list[YamlValue] | str | int | bool | None"
Path: TypeAlias = tuple[str | int, ...]

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 24
# The C parser is ten times faster; libyaml stands in the wheels, but not everywhere.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED = ("'", '"', "|", ">")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_WORDS: Mapping[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}


@dataclass(frozen=True, slots=True)
class Document:
    """One file's value. `lines`: for each path inside it, the line it starts on."""

    file: str
    value: YamlValue
    lines: Mapping[Path, int]

    def place(self, loc: Path) -> tuple[int, str]:
        """The line and the readable key of a location.

        Steps that are not in the file, such as a union's tag, are left out; the
        last step is kept, because it may be the key that is missing.
        """
        known: Path = ()
        shown: list[str] = []
        for position, step in enumerate(loc):
            if (*known, step) in self.lines:
                known = (*known, step)
                shown.append(str(step))
            elif position == len(loc) - 1 and isinstance(self._at(known), dict):
                shown.append(str(step))
        return self.lines.get(known, 1), ".".join(shown) or "(root)"

    def _at(self, path: Path) -> YamlValue:
        value = self.value
        for step in path:
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int):
                value = value[step]
            else:
                return None
        return value


@dataclass(slots=True)
class _Reader:
    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def note(self, code: ProblemCode, line: int, path: Path, zh: str, en: str) -> None:
        key = ".".join(map(str, path)) or "(root)"
        self.problems.append(Problem(code, self.file, line, key, zh, en))

    def value(self, node: Node, path: Path) -> YamlValue:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            self.note(ProblemCode.YAML_FEATURE, line, path, "嵌套过深", "nested too deep")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, at)) for at, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: Path) -> YamlValue:
        found: dict[str, YamlValue] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str) or key == "<<" or not key.isascii():
                self.note(
                    ProblemCode.YAML_FEATURE,
                    line,
                    path,
                    "键应为 ASCII 文字，且不支持合并键",
                    "keys are ASCII words, and merge keys are not supported",
                )
                continue
            if key in found:
                self.note(
                    ProblemCode.DUPLICATE_KEY,
                    line,
                    (*path, key),
                    "同一个键写了两次",
                    "this key stands twice",
                )
                continue
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key))
        return found


def _scalar(node: Node) -> YamlValue:
    text: str = node.value
    if not isinstance(node, ScalarNode) or node.style in _QUOTED:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text


def read(file: str, text: str) -> tuple[Document | None, list[Problem]]:
    """Parse one file's text. The document is None when a problem was found."""
    if len(text) > MAX_CHARACTERS:
        zh, en = "文件过大（上限 1 MiB）", "the file is over 1 MiB"
        return None, [Problem(ProblemCode.FILE_TOO_LARGE, file, 0, "(root)", zh, en)]
    reader = _Reader(file)
    if _nesting(text) > 8 * MAX_DEPTH:
        reader.note(ProblemCode.YAML_FEATURE, 0, (), "嵌套过深", "nested too deep")
        return None, reader.problems
    try:
        _refuse_features(reader, text)
        if reader.problems:
            return None, reader.problems
        node = yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        detail = getattr(error, "problem", None) or "unreadable"
        reader.note(
            ProblemCode.YAML_SYNTAX, line, (), f"YAML 语法错误：{detail}", f"YAML syntax: {detail}"
        )
        return None, reader.problems
    if node is None:
        reader.note(ProblemCode.YAML_SYNTAX, 0, (), "文件是空的", "the file is empty")
        return None, reader.problems
    value = reader.value(node, ())
    if reader.problems:
        return None, reader.problems
    return Document(file, value, reader.lines), []


def _nesting(text: str) -> int:
    """How deep brackets nest, wherever they stand. The parser's time grows with its square."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_features(reader: _Reader, text: str) -> None:
    # Looked for in the events, before any node is built: an alias bomb never grows.
    for event in yaml.parse(text, Loader=_LOADER):
        anchored = getattr(event, "anchor", None) is not None
        if isinstance(event, AliasEvent) or anchored or getattr(event, "tag", None) is not None:
            mark = event.start_mark
            line = mark.line + 1 if mark is not None else 0
            reader.note(
                ProblemCode.YAML_FEATURE,
                line,
                (),
                "不支持锚点、别名和标签",
                "anchors, aliases and tags are not supported",
            )
