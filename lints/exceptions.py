"""Lints about errors: nothing is swallowed, and every refusal has a code of its own."""

import ast
import re
import string
from collections.abc import Iterator
from typing import NamedTuple

from lints.tree import ROOMS, Finding, Source, Tree

# The second form is for a handler that raises again in some cases: ruff does not
# object to it, and a needless `noqa` is an error of its own.
_REASON = re.compile(r"#\s*(?:noqa:\s*BLE001|broad-except)\s+-\s+\S+")
_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def broad_except(tree: Tree) -> Iterator[Finding]:
    """No bare `except:`; no `except Exception` or `except BaseException` without a reason.

    Either ends with a bare `raise` (it only cleans up), or says why on its line:
    `# noqa: BLE001 - reason`. `suppress(Exception)` is the same thing in disguise.
    """
    for source in tree.python():
        for node in ast.walk(source.module):
            if isinstance(node, ast.ExceptHandler):
                yield from _handler(source, node)
            elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
                broad = {"Exception", "BaseException"} & {_last_name(item) for item in node.args}
                if broad:
                    yield _broad(source, node.lineno, f"suppress({broad.pop()})")


def _handler(source: Source, node: ast.ExceptHandler) -> Iterator[Finding]:
    if node.type is None:
        yield _broad(source, node.lineno, "bare except")
        return
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = {_last_name(item) for item in caught}
    broad = names & {"Exception", "BaseException"}
    if broad and not _raises_again(node) and not _REASON.search(source.line(node.lineno)):
        yield _broad(source, node.lineno, f"except {broad.pop()} without `noqa: BLE001 - reason`")


def _raises_again(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _broad(source: Source, line: int, what: str) -> Finding:
    return Finding(source.path, line, "broad-except", f"{what}: name the errors that are expected")


class _Coded(NamedTuple):
    source: Source
    node: ast.ClassDef
    code: str
    zh: str | None
    en: str | None


def error_codes(tree: Tree) -> Iterator[Finding]:
    """Every coded error has a code of its own and a sentence in both languages.

    The two sentences name the same details, and the Chinese one is Chinese.
    """
    seen: dict[str, str] = {}
    for coded in _coded_errors(tree):
        path, line = coded.source.path, coded.node.lineno
        if not _CODE.fullmatch(coded.code):
            yield Finding(path, line, "error-code", f"{coded.code!r} is not lower_snake_case")
        if coded.code in seen:
            yield Finding(
                path, line, "error-code", f"{coded.code!r} is already used by {seen[coded.code]}"
            )
        seen.setdefault(coded.code, f"{path}:{line}")
        if coded.zh is None or coded.en is None:
            yield Finding(path, line, "error-code", f"{coded.code!r} needs both zh and en")
            continue
        if not _CHINESE.search(coded.zh) or _CHINESE.search(coded.en):
            yield Finding(path, line, "error-code", f"{coded.code!r}: zh is Chinese, en is not")
        if _fields(coded.zh) != _fields(coded.en):
            yield Finding(
                path, line, "error-code", f"{coded.code!r}: zh and en name different details"
            )


def _coded_errors(tree: Tree) -> Iterator[_Coded]:
    for source in tree.python(*ROOMS):
        for node in ast.walk(source.module):
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            texts = _string_attributes(node)
            if "code" in texts and ("zh" in texts or "en" in texts):
                yield _Coded(source, node, texts["code"], texts.get("zh"), texts.get("en"))


def _string_attributes(node: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for item in node.body:
        if isinstance(item, ast.Assign) and len(item.targets) == 1:
            target, value = item.targets[0], item.value
        elif isinstance(item, ast.AnnAssign) and item.value is not None:
            target, value = item.target, item.value
        else:
            continue
        if (
            isinstance(target, ast.Name)
            and isinstance(value, ast.Constant)
            and isinstance(value.value, str)
        ):
            texts[target.id] = value.value
    return texts


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
