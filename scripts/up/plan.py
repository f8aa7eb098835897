"""Turns a service of the compose file into processes of this machine.

Names of hosts become ports on loopback, volumes and secrets become folders; what is
said about commands and settings stays as the file says it.
"""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.up import programs
from scripts.up.compose import Service

STORE, POSTGRES, MINIO, NGINX = (
    "mianjiao:latest",
    "postgres:18-trixie",
    "mianjiao-minio:latest",
    "nginxinc/nginx-unprivileged:1.28-alpine",
)
_SECRETS = "/run/secrets/"
_HOST = re.compile(r"([a-z-]+):(\d+)")
_RESOLVER = re.compile(r"^ *resolver .*;\n", re.MULTILINE)
_UPSTREAM = re.compile(r"server ([a-z-]+):\d+( [^;]*)?;")


@dataclass(frozen=True, slots=True)
class Process:
    """What is run for one replica of a service."""

    name: str
    service: Service
    command: list[str]
    health: str | list[str]
    """The page to ask, or the program to run."""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    address: str = ""


class Plan:
    """The processes of all services below one folder, each with its port."""

    def __init__(self, services: Mapping[str, Service], folder: Path, port: int) -> None:
        """`port`: of the proxy, the only one that others should know."""
        self.services = services
        self.folder = folder
        self.ports = {
            (name, replica): port if service.image == NGINX and port else _free_port()
            for name, service in services.items()
            for replica in range(1, service.replicas + 1)
        }
        self._programs: dict[str, Callable[[Service, int], Process]] = {
            STORE: self._store,
            POSTGRES: self._postgres,
            MINIO: self._minio,
            NGINX: self._nginx,
        }

    def processes(self, service: Service) -> list[Process]:
        make = self._programs[service.image]
        return [make(service, replica) for replica in range(1, service.replicas + 1)]

    def in_order(self) -> list[Service]:
        """The services that always run, each after those that it needs."""
        ordered: list[Service] = []
        waiting = [one for one in self.services.values() if not one.on_demand]
        while waiting:
            ready = [one for one in waiting if not {w.name for w in waiting} & set(one.after)]
            if not ready:
                raise ValueError("services of the compose file wait for each other")
            ordered += ready
            waiting = [one for one in waiting if one not in ready]
        return ordered

    def port(self, service: str, replica: int = 1) -> int:
        return self.ports[service, replica]

    def secret(self, name: str) -> Path:
        return self.folder / "secrets" / name

    def store_environment(self) -> dict[str, str]:
        """The settings of the store's processes, for commands too."""
        service = next(one for one in self.services.values() if one.image == STORE)
        return self._settings(service)

    # --- One kind of program each ---

    def _store(self, service: Service, replica: int) -> Process:
        port = str(self.port(service.name, replica))
        command = list(service.command)
        for at, word in enumerate(command):
            if word == "--host":
                command[at + 1] = "127.0.0.1"
            elif word == "--port":
                command[at + 1] = port
            elif word == "--data":
                command[at + 1] = str(self.folder / "store")
        return self._process(
            service,
            replica,
            [*programs.mianjiao(), *command],
            environment=self._settings(service),
        )

    def _postgres(self, service: Service, replica: int) -> Process:
        bin_folder, port = programs.postgres(self.folder), self.port(service.name)
        here = [
            "-D", str(self.folder / "rows"),
            "-c", "listen_addresses=127.0.0.1",
            "-c", f"port={port}",
            "-c", "unix_socket_directories=",
        ]  # fmt: skip
        return Process(
            name=f"{service.name}-{replica}",
            service=service,
            command=[str(bin_folder / service.command[0]), *service.command[1:], *here],
            health=[
                str(bin_folder / str((service.health or ())[0])),
                *(service.health or ())[1:],
                "--host=127.0.0.1",
                f"--port={port}",
            ],
            user=programs.unprivileged(),
            address=f"127.0.0.1:{port}",
        )

    def _minio(self, service: Service, replica: int) -> Process:
        address = f"127.0.0.1:{self.port(service.name)}"
        here = {"/data": str(self.folder / "objects"), ":9000": address}
        command = [here.get(word, word) for word in service.command]
        settings = {name: self._here(value) for name, value in service.environment.items()}
        return self._process(
            service,
            replica,
            [programs.minio(), *command],
            environment={**settings, "HOME": str(self.folder)},
        )

    def _nginx(self, service: Service, replica: int) -> Process:
        own = self.folder / "proxy"
        return self._process(
            service,
            replica,
            [
                programs.nginx(), "-p", str(own), "-c", str(own / "nginx.conf"), "-e", "stderr",
                "-g", "daemon off;" + (" user root;" if programs.unprivileged() else ""),
            ],
        )  # fmt: skip

    def proxy_settings(self, source: str, listens: int) -> str:
        """`nginx.conf` with upstreams, port and folders of this machine. `listens`: the
        port in the file."""
        own = str(self.folder / "proxy")
        text = _UPSTREAM.sub(self._upstreams, _RESOLVER.sub("", source))
        port = next(port for (name, _), port in self.ports.items() if self._is_proxy(name))
        return (
            text.replace(f"listen {listens};", f"listen 127.0.0.1:{port};")
            .replace("/etc/nginx/tls/", f"{own}/tls/")
            .replace("/tmp/", f"{own}/")  # noqa: S108 - the container's, which is replaced
        )

    def _is_proxy(self, name: str) -> bool:
        return self.services[name].image == NGINX

    def _upstreams(self, found: re.Match[str]) -> str:
        """One line for every replica, where a container's name resolves to all of them."""
        replicas = range(1, self.services[found[1]].replicas + 1)
        options = (found[2] or "").replace(" resolve", "")
        return " ".join(
            f"server 127.0.0.1:{self.port(found[1], replica)}{options};" for replica in replicas
        )

    # --- What they share ---

    def _process(
        self,
        service: Service,
        replica: int,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        address = f"127.0.0.1:{self.port(service.name, replica)}"
        page = service.health_page
        return Process(
            name=f"{service.name}-{replica}",
            service=service,
            command=command,
            health="" if page is None else f"http://{address}{page[1]}",
            environment=environment or {},
            address=address,
        )

    def _settings(self, service: Service) -> dict[str, str]:
        return {name: self._here(value) for name, value in service.environment.items()}

    def _here(self, value: str) -> str:
        if value.startswith(_SECRETS):
            return str(self.secret(value.removeprefix(_SECRETS)))
        host = _HOST.fullmatch(value)
        if host is not None and host[1] in self.services:
            return f"127.0.0.1:{self.port(host[1])}"
        return value


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
