"""Lint about what a file must not tell: on whose machine it was made."""

import re
from collections.abc import Iterator

from lints.tree import Finding, Tree

# Home folders and work folders, at the start of a path.
_PATH = re.compile(r"(?<![\w.\-/])/(?:home|root|work|Users)/[\w.\-]")
_VENDORED = "portal/static/vendor/"


def machine_paths(tree: Tree) -> Iterator[Finding]:
    """No tracked text file names a path of one machine."""
    for source in tree.files:
        if source.text is None or source.path.startswith(_VENDORED):
            continue
        for number, line in enumerate(source.lines, start=1):
            if _PATH.search(line):
                yield Finding(source.path, number, "machine-path", "a path of one machine")
