"""The tests' nursery has loaded what commands import: else each start costs seconds."""

import json
import subprocess
import sys
from pathlib import Path

from tests.nursery import ROOT

_COMMANDS = """
import contextlib, io, json, sys
from runtime.cli import run
from tests import nursery
nursery._load()
loaded = set(sys.modules)
for command in (["init"], ["fsck"], ["scrub", "--jobs", "1"], ["keys", "rotate"]):
    with contextlib.redirect_stdout(io.StringIO()):
        assert run([*command, "--data", sys.argv[1]]) == 0, command
print(json.dumps([len(loaded), sorted(set(sys.modules) - loaded)]))
"""


def test_a_command_loads_no_module_of_ours_anew(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, str(tmp_path / "store")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    loaded, anew = json.loads(done.stdout)
    assert loaded > 1_000
    rooms = {
        "archive", "kernel", "ledger", "license_service", "materials_api", "migrations",
        "parties", "portal", "runtime", "storage",
    }  # fmt: skip
    ours = [one for one in anew if one.partition(".")[0] in rooms]
    assert ours == []
