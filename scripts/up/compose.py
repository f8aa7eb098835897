"""Reads docker-compose.yml: what each service runs, with which settings, after which others."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
_URL = re.compile(r"http://127\.0\.0\.1:(\d+)(/[^\"'\s]*)")


@dataclass(frozen=True, slots=True)
class Service:
    """One service, as the file says it."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    volumes: tuple[str, ...]
    networks: tuple[str, ...]
    after: tuple[str, ...]
    """Services that must be healthy before it starts."""
    health: tuple[str, ...] | None
    """The command that checks it."""
    replicas: int
    restarts: bool
    on_demand: bool
    """Run when asked for by name only (a profile)."""

    @property
    def health_page(self) -> tuple[int, str] | None:
        """Port and path that its check asks for; None: the check is another program."""
        found = _URL.search(" ".join(self.health or ()))
        return None if found is None else (int(found[1]), found[2])


def read_compose(path: Path) -> dict[str, Service]:
    """All services by name. `${NAME:-default}` comes from the environment."""
    document = yaml.safe_load(_VARIABLE.sub(_from_environment, path.read_text(encoding="utf-8")))
    return {name: _service(name, told) for name, told in document["services"].items()}


def _from_environment(found: re.Match[str]) -> str:
    return os.environ.get(found[1]) or found[2]


def _service(name: str, told: Mapping[str, Any]) -> Service:
    check = told.get("healthcheck", {})
    return Service(
        name=name,
        image=told["image"],
        command=tuple(map(str, told["command"])),
        environment={key: str(value) for key, value in told.get("environment", {}).items()},
        secrets=tuple(told.get("secrets", ())),
        volumes=tuple(told.get("volumes", ())),
        networks=tuple(told.get("networks", ())),
        after=tuple(told.get("depends_on", ())),
        health=None if check.get("disable") or not check else tuple(check["test"][1:]),
        replicas=told.get("deploy", {}).get("replicas", 1),
        restarts=told.get("restart") == "unless-stopped",
        on_demand=bool(told.get("profiles")),
    )
