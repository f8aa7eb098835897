"""The import contracts hold in fact, not only in the graph, and catch what is planted."""

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ConfigParser()
CONTRACTS.read(ROOT / ".importlinter", encoding="utf-8")
ROOMS = CONTRACTS["importlinter"]["root_packages"].split()
PURE = CONTRACTS["importlinter:contract:pure"]["source_modules"].split()


def test_importing_a_pure_module_loads_no_framework_and_no_database() -> None:
    # Packages run their `__init__` first, which the graph of imports does not show.
    # `parties` is left out: it names its registry there, for the rooms above it.
    names = [name for name in PURE if not name.startswith("parties.")]
    heavy = ("fastapi", "starlette", "sqlalchemy", "alembic", "minio", "sqlite3", "uvicorn")
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = [heavy for heavy in {heavy!r} if heavy in sys.modules]\n"
        "    if found:\n"
        "        sys.exit(f'{name} loads {found}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Empty modules of the names that the contracts know, and the contracts."""
    shutil.copy(ROOT / ".importlinter", tmp_path)
    listed = {
        name
        for section in CONTRACTS.sections()
        for key in ("source_modules", "forbidden_modules")
        for name in CONTRACTS[section].get(key, "").split()
    }
    for name in {*ROOMS, *(name for name in listed if name.partition(".")[0] in ROOMS)}:
        parts = name.split(".")
        for depth in range(1, len(parts)):
            package = tmp_path.joinpath(*parts[:depth])
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
        folder = tmp_path.joinpath(*parts)
        if ROOT.joinpath(*parts).is_dir():
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        else:
            folder.with_suffix(".py").touch()
    return tmp_path


def _contracts(tree: Path) -> tuple[int, str]:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_empty_tree_keeps_all_contracts(tree: Path) -> None:
    code, said = _contracts(tree)
    assert code == 0, said
    assert " 0 broken" in said


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("kernel/ids.py", "import storage"),
        ("storage/objects.py", "import ledger"),
        ("license_service/model.py", "import materials_api"),
        ("portal/http.py", "import runtime"),
        ("archive/export.py", "import portal"),
        ("migrations/env.py", "import portal"),
    ],
)
def test_an_import_against_the_direction_breaks_a_contract(
    tree: Path, module: str, line: str
) -> None:
    (tree / module).write_text(line + "\n")
    code, said = _contracts(tree)
    assert code == 1, said
    assert "Rooms import one way BROKEN" in said


@pytest.mark.parametrize("line", ["import sqlalchemy", "from pathlib import Path", "import time"])
def test_an_impure_import_of_a_pure_module_breaks_a_contract(tree: Path, line: str) -> None:
    # Two steps away: what a pure module imports counts as its own.
    (tree / "materials_api" / "facts.py").write_text(line + "\n")
    (tree / "materials_api" / "rules" / "reuse.py").write_text("import materials_api.facts\n")
    code, said = _contracts(tree)
    assert code == 1, said
    assert "BROKEN" in said
