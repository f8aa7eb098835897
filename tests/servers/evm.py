"""Where `make servers` put the chain node and the Solidity compiler."""

import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}


def find_tools() -> Path | None:
    """The folder with `node_modules`, or None where `make servers` was not run."""
    found = subprocess.run(
        [str(ROOT / "scripts/servers/evm.sh"), "--path"], capture_output=True, text=True
    )
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def find_anvil() -> Path | None:
    """The node itself, not the wrapper: a signal must reach the process that runs the chain."""
    tools, machine = find_tools(), _MACHINE.get(platform.machine())
    if tools is None or machine is None:
        return None
    binary = tools / f"node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil"
    return binary if binary.is_file() else None
