"""`python -m lints [ROOT]`: run every lint, print findings, exit 1 if there is any."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lints.ambient import clock, commit, environment
from lints.assertions import tests_can_fail
from lints.exceptions import broad_except, error_codes
from lints.machine_paths import machine_paths
from lints.modules import module_name, module_size, web_imports
from lints.tree import Finding, Tree

LINTS: tuple[Callable[[Tree], Iterator[Finding]], ...] = (
    module_size,
    module_name,
    web_imports,
    clock,
    environment,
    commit,
    broad_except,
    error_codes,
    tests_can_fail,
    machine_paths,
)


def findings(root: Path) -> list[Finding]:
    """All findings below `root`, in the order of path and line."""
    tree = Tree(root)
    found = [finding for lint in LINTS for finding in lint(tree)]
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.lint))


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path.cwd()
    found = findings(root)
    for finding in found:
        print(finding)
    print(f"lints: {len(found)} findings" if found else f"lints: {len(LINTS)} lints passed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
