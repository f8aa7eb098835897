"""Lints about modules: their size, and who may import the web framework."""

from collections.abc import Iterator

from lints.names import imported_modules
from lints.tree import ROOMS, Finding, Source, Tree

MAX_LINES = 500
_WEB = ("fastapi", "starlette", "uvicorn")


def module_size(tree: Tree) -> Iterator[Finding]:
    """No Python module is longer than 500 lines, tests included."""
    for source in tree.python():
        if len(source.lines) > MAX_LINES:
            yield Finding(
                source.path,
                len(source.lines),
                "module-size",
                f"{len(source.lines)} lines; a module stops at {MAX_LINES}: split it",
            )


def module_name(tree: Tree) -> Iterator[Finding]:
    """No module is called utils: a name says what a thing is for."""
    for source in tree.python():
        if source.path.rpartition("/")[2] in {"utils.py", "util.py", "helpers.py", "misc.py"}:
            yield Finding(source.path, 1, "module-name", "name the module after its domain word")


def web_imports(tree: Tree) -> Iterator[Finding]:
    """Only `*/http.py`, `*/http/`, `portal/` and `runtime/` import the web framework."""
    for source in tree.python(*ROOMS):
        if _may_serve(source):
            continue
        for line, name in imported_modules(source.module):
            if name.partition(".")[0] in _WEB:
                yield Finding(
                    source.path,
                    line,
                    "web-import",
                    f"{name} belongs into {source.room}/http.py, portal/ or runtime/",
                )


def _may_serve(source: Source) -> bool:
    parts = source.path.split("/")
    return parts[0] in {"portal", "runtime"} or parts[-1] == "http.py" or "http" in parts[1:-1]
