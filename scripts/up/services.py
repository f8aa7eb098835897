"""Starts the processes in order, keeps them running, and stops them in order."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from scripts.up import programs
from scripts.up.compose import read_compose
from scripts.up.plan import NGINX, POSTGRES, STORE, Plan, Process

ROOT = programs.ROOT
HEALTHY_SECONDS = 90.0
STOP_SECONDS = 30.0
_LOOK = 0.1
_PROXY_LISTENS = 8080


class ServiceFailed(Exception):
    """A service did not come up; the end of its log says why."""


class FolderClosed(Exception):
    """PostgreSQL runs as another user, who cannot reach the folder."""


class Services:
    """The running processes of one folder, by name. Tells `tell` what happens."""

    def __init__(
        self, folder: Path, port: int = 0, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """`port`: of the proxy; 0: a free one."""
        self.folder = folder
        self.plan = Plan(read_compose(ROOT / "docker-compose.yml"), folder, port)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._processes: dict[str, Process] = {}
        self._tell = tell

    @property
    def url(self) -> str:
        proxy = next(one for one in self.plan.services.values() if one.image == NGINX)
        return f"http://127.0.0.1:{self.plan.port(proxy.name)}"

    def address(self, name: str) -> str:
        """Where a process listens, `materials-api-1` say."""
        return self._processes[name].address

    def start(self) -> None:
        """All services, each once those before it are healthy; the store is made if there
        is none. `ServiceFailed`, `FolderClosed`, `ProgramMissing`."""
        self._prepare()
        for service in self.plan.in_order():
            if service.image == STORE and not (self.folder / "store").exists():
                self._make_store()
            for process in self.plan.processes(service):
                self._processes[process.name] = process
                self._start(process)
            for process in self.plan.processes(service):
                self._wait_healthy(process)

    def _prepare(self) -> None:
        for name in ("logs", "objects", "proxy/tls"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        secrets = str(ROOT / "scripts/secrets.sh")
        subprocess.run([secrets, str(self.folder / "secrets")], check=True, capture_output=True)  # noqa: S603
        self._point_database_url()
        for service in self.plan.services.values():
            if service.image == POSTGRES:
                self._make_cluster(service.environment)
        source = (ROOT / "operations/nginx/nginx.conf").read_text(encoding="utf-8")
        told = self.plan.proxy_settings(source, _PROXY_LISTENS)
        (self.folder / "proxy/nginx.conf").write_text(told, encoding="utf-8")
        lines = [f"export {name}={value}" for name, value in self._settings().items()]
        (self.folder / "environment").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _settings(self) -> dict[str, str]:
        return self.plan.store_environment()

    def _point_database_url(self) -> None:
        """The secret names the container; here it is a port, another one at every start."""
        secret = self.plan.secret("database_url")
        port = next(
            self.plan.port(one.name) for one in self.plan.services.values() if one.image == POSTGRES
        )
        here = re.sub(r"@[^/@]+/", f"@127.0.0.1:{port}/", secret.read_text(encoding="utf-8"))
        secret.unlink()
        secret.write_text(here, encoding="utf-8")
        secret.chmod(0o400)

    def _make_cluster(self, settings: Mapping[str, str]) -> None:
        """What the image's entry point does: `initdb`, and the database."""
        rows, user = self.folder / "rows", programs.unprivileged()
        if (rows / "PG_VERSION").exists():
            return
        rows.mkdir(mode=0o700, exist_ok=True)
        password = self.folder / "initdb-password"
        shutil.copyfile(self.plan.secret("postgres_password"), password)
        if user is not None:
            closed = [one for one in rows.parents if not one.stat().st_mode & 0o001]
            if closed:
                raise FolderClosed(str(closed[0]))
            os.chown(rows, user, -1)
            os.chown(password, user, -1)
        bin_folder = programs.postgres(self.folder)
        self._once(
            [
                str(bin_folder / "initdb"), "-D", str(rows), "-U", settings["POSTGRES_USER"],
                f"--pwfile={password}", *settings["POSTGRES_INITDB_ARGS"].split(),
            ],
            user,
        )  # fmt: skip
        password.unlink()
        self._once(
            [str(bin_folder / "postgres"), "--single", "-D", str(rows), "postgres"],
            user,
            f'CREATE DATABASE "{settings["POSTGRES_DB"]}"\n',
        )

    def _once(self, command: list[str], user: int | None, given: str | None = None) -> None:
        done = subprocess.run(  # noqa: S603 - programs of the plan, no shell
            command, user=user, cwd="/", input=given, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise ServiceFailed(f"{Path(command[0]).name}: {done.stderr[-1000:]}")

    def _make_store(self) -> None:
        init = next(one for one in self.plan.services.values() if one.command[0] == "init")
        (process,) = self.plan.processes(init)
        with (self.folder / "logs/init.log").open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own command
                process.command,
                env={**os.environ, **process.environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        if done.returncode != 0:
            raise ServiceFailed(self._log_end("init"))
        self._tell("init")

    def _start(self, process: Process) -> None:
        with (self.folder / f"logs/{process.name}.log").open("ab") as log:
            self.running[process.name] = subprocess.Popen(  # noqa: S603 - as above
                process.command,
                env={**os.environ, **process.environment},
                cwd=ROOT if process.service.image == STORE else "/",
                user=process.user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches us alone: they are stopped in order.
                start_new_session=True,
            )

    def _wait_healthy(self, process: Process) -> None:
        began = time.monotonic()
        while not self.healthy(process.name):
            if self.running[process.name].poll() is not None:
                raise ServiceFailed(self._log_end(process.name))
            if time.monotonic() - began > HEALTHY_SECONDS:
                raise ServiceFailed(f"{process.name}: {HEALTHY_SECONDS:.0f} s")
            time.sleep(_LOOK)
        self._tell(f"{process.name:<20} {process.address}")

    def healthy(self, name: str) -> bool:
        """What the compose file's check would say."""
        health = self._processes[name].health
        if isinstance(health, list):
            return subprocess.run(health, capture_output=True).returncode == 0  # noqa: S603
        try:
            with urllib.request.urlopen(health, timeout=3) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _log_end(self, name: str) -> str:
        text = (self.folder / f"logs/{name}.log").read_text(encoding="utf-8", errors="replace")
        return f"{name}: {text[-2000:]}"

    def look(self) -> None:
        """Start again what ended, as `restart: unless-stopped` does."""
        for name, process in list(self.running.items()):
            status = process.poll()
            if status is not None and self._processes[name].service.restarts:
                self._tell(f"{name} ended ({status}), starting it again")
                self._start(self._processes[name])

    def stop(self) -> None:
        """The last that was started first. What does not end is killed."""
        for name in reversed(list(self.running)):
            process = self.running.pop(name)
            with suppress(ProcessLookupError):
                # PostgreSQL's word for: break off sessions, but close cleanly.
                fast = self._processes[name].service.image == POSTGRES
                process.send_signal(signal.SIGINT if fast else signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
