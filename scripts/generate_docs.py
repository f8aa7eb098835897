"""Writes the generated parts of docs/: lifecycle diagrams, settings, problem codes.

`make docs` writes them; a test compares what stands in the repository with what
would be written. A generated part stands between `<!-- generated: NAME -->` and
`<!-- end -->`.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from kernel.errors import CodedError
from license_service import lifecycle as license_lifecycle
from materials_api.back_files.manifest import PROBLEMS
from materials_api.lifecycles import DIAGRAMS
from runtime.metrics import Metrics
from runtime.problems import status_of
from runtime.settings import Settings, secrets, variable
from scripts import format_examples

ROOT = Path(__file__).parent.parent
ROOMS = (
    "kernel",
    "storage",
    "ledger",
    "parties",
    "license_service",
    "materials_api",
    "archive",
    "portal",
    "runtime",
    "migrations",
)
_PART = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def _fenced(diagram: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"```mermaid\n{diagram()}```\n"


def problem_codes() -> str:
    """One row per refusal that a client may meet, in the order of its code."""
    rows = [
        f"| `{error.code}` | {_status(error)} | {_cell(error.zh)} | {_cell(error.en)} |\n"
        for error in sorted(_errors(), key=lambda error: error.code)
    ]
    return "| code | status | 中文 | English |\n|---|---|---|---|\n" + "".join(rows)


def settings() -> str:
    """One row per setting: variable, default, range, and the sentences below it in the source."""
    source = ast.parse((ROOT / "runtime" / "settings.py").read_text(encoding="utf-8"))
    body = next(
        node.body
        for node in source.body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    )
    rows = []
    for field, sentence in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name = field.target.id
            assert isinstance(sentence, ast.Expr)  # noqa: S101 - each setting has a sentence
            assert isinstance(sentence.value, ast.Constant)  # noqa: S101
            meaning = " ".join(str(sentence.value.value).split())
            told = Settings.model_fields[name]
            default = "–" if told.default is None else f"`{told.default}`"
            shown = f"`{variable(name)}`" + (
                f" `{variable(name)}_FILE`" if name in secrets() else ""
            )
            rows.append(f"| {shown} | {default} | {_range(told)} | {_cell(meaning)} |\n")
    head = "| variable 变量 | default 默认 | range 范围 | meaning 含义 |\n|---|---|---|---|\n"
    return head + "".join(rows)


def _range(field: FieldInfo) -> str:
    """The bounds of a number, or the words that are allowed."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(field.annotation))
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"))
        if getattr(rule, name, None) is not None
    ]
    return ", ".join(bounds)


def metrics() -> str:
    """One row per metric of our own."""
    rows = [
        f"| `{one.name}{'_total' if one.kind == 'counter' else ''}` | {one.kind} "
        f"| {', '.join(f'`{label}`' for label in one.labels)} | {one.zh} / {one.en} |\n"
        for one in Metrics().described
    ]
    head = "| metric 指标 | kind | labels | meaning 含义 |\n|---|---|---|---|\n"
    return head + "".join(rows)


def manifest_problems() -> str:
    rows = [f"| `{code}` | {zh} | {en} |\n" for code, (zh, en) in PROBLEMS.items()]
    return "| code | 中文 | English |\n|---|---|---|\n" + "".join(rows)


PARTS: Mapping[str, Callable[[], str]] = {
    **{f"lifecycle-{name}": _fenced(diagram) for name, diagram in DIAGRAMS.items()},
    "lifecycle-license": _fenced(license_lifecycle.diagram),
    "problem-codes": problem_codes,
    "settings": settings,
    "metrics": metrics,
    "example-record": format_examples.record_part,
    "example-leaves": format_examples.leaves_part,
    "example-checkpoint": format_examples.checkpoint_part,
    "example-proof": format_examples.proof_part,
    "example-policy": format_examples.policy_part,
    "example-receipt": format_examples.receipt_part,
    "manifest-problems": manifest_problems,
}


def render(text: str) -> str:
    """The text with every generated part written anew. An unknown part is a `KeyError`."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{PARTS[match[1]]()}<!-- end -->"

    return _PART.sub(part, text)


def documents() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def _errors() -> Iterator[type[CodedError]]:
    """Every class with a code of its own, in all rooms."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if module.name.rpartition(".")[2] == "errors" or module.name.endswith("_errors"):
                importlib.import_module(module.name)
    waiting = list(CodedError.__subclasses__())
    while waiting:
        error = waiting.pop()
        waiting.extend(error.__subclasses__())
        if "code" in vars(error) and error.__module__.partition(".")[0] in ROOMS:
            yield error


def _status(error: type[CodedError]) -> int:
    # Not constructed: some need arguments, and the status hangs on class and code alone.
    return status_of(error.__new__(error))


def _cell(text: str) -> str:
    return re.sub(r"{(\w+)}", r"*\1*", text).replace("|", "\\|")


def main() -> None:
    for path in documents():
        text = path.read_text(encoding="utf-8")
        fresh = render(text)
        if fresh != text:
            path.write_text(fresh, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
