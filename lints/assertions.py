"""Lint about tests: each can fail."""

import ast
from collections.abc import Iterator

from lints.tree import Finding, Tree

# pytest's own, Schemathesis' and Playwright's ways to assert.
_RAISING = {"raises", "warns", "fail", "call_and_validate", "validate_response", "expect"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def tests_can_fail(tree: Tree) -> Iterator[Finding]:
    """Every `test_…` function asserts something, itself or through a helper.

    A helper counts when its own body asserts; helpers are looked for in the same
    file and in every `conftest.py`. A state machine counts when any of its
    methods asserts.
    """
    shared: set[str] = set()
    for source in tree.python("tests"):
        if source.path.endswith("conftest.py"):
            shared |= _asserting_functions(source.module, set())
    for source in tree.python("tests"):
        known = _asserting_functions(source.module, shared)
        for node in ast.walk(source.module):
            if (
                isinstance(node, _Function)
                and node.name.startswith("test_")
                and not _asserts(node, known)
                and not _takes(node, known)
            ):
                yield Finding(source.path, node.lineno, "no-assertion", f"{node.name} cannot fail")
            if isinstance(node, ast.ClassDef) and _is_machine(node) and not _asserts(node, known):
                yield Finding(source.path, node.lineno, "no-assertion", f"{node.name} cannot fail")


def _asserting_functions(module: ast.Module, known: set[str]) -> set[str]:
    """Names of the functions that assert, also through one another."""
    functions = [node for node in ast.walk(module) if isinstance(node, _Function)]
    found = set(known)
    while True:
        more = {node.name for node in functions if _asserts(node, found)} - found
        if not more:
            return found
        found |= more


def _asserts(node: ast.AST, known: set[str]) -> bool:
    for item in ast.walk(node):
        if isinstance(item, ast.Assert):
            return True
        if isinstance(item, ast.Call):
            name = _called(item)
            if name in _RAISING or name in known or name.startswith("assert"):
                return True
    return False


def _takes(node: _Function, known: set[str]) -> bool:
    """Whether a fixture that asserts is among the arguments."""
    return any(argument.arg in known for argument in node.args.args)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_machine(node: ast.ClassDef) -> bool:
    return any(
        (isinstance(base, ast.Name) and base.id == "RuleBasedStateMachine")
        or (isinstance(base, ast.Attribute) and base.attr == "RuleBasedStateMachine")
        for base in node.bases
    )
