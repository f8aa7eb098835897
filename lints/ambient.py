"""Lints about what a rule must not reach for by itself: clock, environment, commit."""

import ast
from collections.abc import Iterator

from lints.names import full_name, imported_names
from lints.tree import ROOMS, Finding, Tree

_CLOCK = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.ctime",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "uuid.uuid1",
}
_ENVIRONMENT = {
    "os.environ",
    "os.environb",
    "os.getenv",
    "os.getenvb",
    "os.putenv",
    "os.unsetenv",
    "os.path.expanduser",
    "os.path.expandvars",
    "pathlib.Path.home",
}
_AMBIENT_ROOMS = ("kernel", "runtime")


def clock(tree: Tree) -> Iterator[Finding]:
    """The time is an argument: only kernel and runtime read the clock."""
    yield from _uses(tree, _CLOCK, "clock", "take the time as an argument")


def environment(tree: Tree) -> Iterator[Finding]:
    """Only kernel and runtime read the environment."""
    yield from _uses(tree, _ENVIRONMENT, "environment", "settings come from runtime")


def commit(tree: Tree) -> Iterator[Finding]:
    """`Database.write` commits; nobody outside of storage calls `something.commit()`.

    A use case is a function of a transaction, so that nobody can answer before
    the commit is durable.
    """
    for source in tree.python(*ROOMS):
        if source.room == "storage":
            continue
        for node in ast.walk(source.module):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "commit"
                and not node.args
                and not node.keywords
            ):
                yield Finding(
                    source.path,
                    node.lineno,
                    "commit",
                    "only storage commits: pass the work to Database.write",
                )


def _uses(tree: Tree, forbidden: set[str], lint: str, advice: str) -> Iterator[Finding]:
    for source in tree.python(*ROOMS):
        if source.room in _AMBIENT_ROOMS:
            continue
        names = imported_names(source.module)
        for node in ast.walk(source.module):
            # References count like calls: `default_factory=datetime.now` reads the clock too.
            if isinstance(node, ast.Name | ast.Attribute):
                name = full_name(node, names)
                if name in forbidden:
                    yield Finding(
                        source.path,
                        node.lineno,
                        lint,
                        f"{name} outside {' and '.join(_AMBIENT_ROOMS)}: {advice}",
                    )
