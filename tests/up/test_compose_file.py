"""Compose file, image, proxy and the processes of `make up` say the same thing."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from runtime.app import build_app
from runtime.cli import app as command_line
from runtime.openapi import described
from runtime.problems import FRAMEWORK, problem
from runtime.rooms import Room, parse_rooms
from runtime.settings import PREFIX, Settings, secrets, variable
from runtime.store import create_store, open_store
from scripts.up import programs
from scripts.up.compose import Service, read_compose
from scripts.up.plan import MINIO, NGINX, POSTGRES, STORE, Plan
from tests.conftest import ROOT

COMPOSE = ROOT / "docker-compose.yml"
DOCUMENT = yaml.safe_load(COMPOSE.read_text())
SERVICES = read_compose(COMPOSE)
NGINX_CONF = (ROOT / "operations/nginx/nginx.conf").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def of(image: str) -> list[Service]:
    return [one for one in SERVICES.values() if one.image == image]


def rooms_of(service: Service) -> frozenset[Room]:
    if service.command[0] == "sequencer":
        return frozenset({Room.SEQUENCER})
    return parse_rooms(service.command[service.command.index("--rooms") + 1])


def test_the_services_are_those_of_the_design() -> None:
    assert {one.name for one in SERVICES.values() if not one.on_demand} == {
        "postgres",
        "minio",
        "materials-api",
        "license-service",
        "sequencer",
        "proxy",
    }
    assert SERVICES["materials-api"].replicas == 2
    assert {one.image for one in SERVICES.values()} == {STORE, POSTGRES, MINIO, NGINX}


def test_every_room_is_served_once_and_the_log_is_written() -> None:
    served = [room for one in of(STORE) if not one.on_demand for room in rooms_of(one)]
    assert sorted(served) == sorted(Room)


@pytest.mark.parametrize("service", of(STORE), ids=lambda one: one.name)
def test_commands_of_the_file_are_commands_of_the_program(service: Service) -> None:
    _, bound, _ = command_line.parse_args(
        list(service.command), print_error=False, exit_on_error=False
    )
    assert bound.arguments["data"] == Path("/var/lib/mianjiao")


@pytest.mark.parametrize("service", of(STORE), ids=lambda one: one.name)
def test_settings_of_the_file_are_settings_of_the_program(service: Service) -> None:
    known = {variable(name) for name in Settings.model_fields}
    known |= {variable(f"{name}_file") for name in secrets()}
    told = set(service.environment)
    assert told
    assert told <= known
    assert all(name.startswith(PREFIX) for name in told)
    for name, value in service.environment.items():
        if name.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service.secrets


def test_every_secret_is_made_by_the_script(tmp_path: Path) -> None:
    script = [str(ROOT / "scripts/secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    named = {Path(one["file"]).name for one in DOCUMENT["secrets"].values()}
    assert set(made) == named == set(DOCUMENT["secrets"])
    assert made["postgres_password"] in made["database_url"]
    assert made["database_url"].endswith(
        f"@postgres:5432/{SERVICES['postgres'].environment['POSTGRES_DB']}"
    )
    subprocess.run(script, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made


def test_containers_have_few_rights() -> None:
    for name, told in DOCUMENT["services"].items():
        assert told["read_only"] is True, name
        assert told["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in told["security_opt"], name
        assert name in ("proxy",) or told["user"] not in ("root", "0", "0:0"), name
        assert not told.get("privileged"), name
    # Only the proxy is reachable, and only from this machine.
    ports = {name: told["ports"] for name, told in DOCUMENT["services"].items() if "ports" in told}
    assert ports == {"proxy": ["127.0.0.1:8080:8080"]}
    assert DOCUMENT["networks"]["inside"]["internal"] is True
    outside = [name for name, one in SERVICES.items() if "outside" in one.networks]
    assert outside == ["proxy"]


def test_whatever_is_kept_lies_on_a_volume() -> None:
    for one in SERVICES.values():
        for volume in one.volumes:
            source = volume.partition(":")[0]
            assert source in DOCUMENT["volumes"] or (ROOT / source).exists(), volume
    assert "store:/var/lib/mianjiao" in SERVICES["sequencer"].volumes


def test_everything_but_the_first_start_is_checked_and_started_again() -> None:
    for one in SERVICES.values():
        assert one.on_demand or (one.restarts and one.health), one.name


def test_the_image_holds_every_package_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["uv"]["build-backend"]["module-name"])
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == packages
    ignore = (ROOT / ".dockerignore").read_text().split()
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    assert packages <= let_in
    assert ignore[0] == "*"
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert set(source.split()) <= let_in | {"scripts/uv-requirements.txt"}, source


def test_the_image_installs_by_hash_and_runs_without_rights() -> None:
    assert "uv export --quiet --locked" in DOCKERFILE
    installs = re.findall(r"pip install (.*)", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--offline" in one for one in installs)
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == [DOCUMENT["x-store"]["user"]]
    assert 'ENTRYPOINT ["mianjiao"]' in DOCKERFILE
    command = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]
    command_line.parse_args(yaml.safe_load(command), print_error=False, exit_on_error=False)


def test_minio_is_the_one_that_tests_run_against() -> None:
    dockerfile = (ROOT / "operations/minio/Dockerfile").read_text()
    version = re.findall(r"^ARG VERSION=(\S+)$", dockerfile, re.MULTILINE)
    script = (ROOT / "scripts/servers/minio.sh").read_text()
    assert version[0] in re.findall(r'^VERSIONS="(.*)"$', script, re.MULTILINE)[0].split()
    found = programs.minio()
    assert version[0] in found, "the tests run against another version"


def test_postgres_is_of_the_version_that_tests_run_against(tmp_path: Path) -> None:
    major = POSTGRES.partition(":")[2].partition("-")[0]
    said = subprocess.run(
        [str(programs.postgres(tmp_path) / "postgres"), "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"(PostgreSQL) {major}." in said.stdout


def test_the_proxy_listens_where_the_file_says() -> None:
    assert re.findall(r"^ +listen (\S+);$", NGINX_CONF, re.MULTILINE) == ["8080"]
    upstreams = dict(re.findall(r"upstream ([a-z-]+) \{[^}]*?server (\S+) ", NGINX_CONF))
    assert upstreams == {
        name: f"{name}:{one.command[one.command.index('--port') + 1]}"
        for name, one in SERVICES.items()
        if name in ("materials-api", "license-service")
    }
    needs = set(SERVICES["proxy"].after)
    assert set(upstreams) <= needs


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, set[str]]:
    """Paths of each upstream's application."""
    create_store(tmp_path / "store", "compose.example")
    with open_store(tmp_path / "store") as store:
        return {
            name: set(
                described(build_app(store, store.settings, rooms_of(SERVICES[name])))["paths"]
            )
            for name in ("materials-api", "license-service")
        }


def upstream_of(path: str) -> str:
    """By the proxy's own rules: the first pattern that matches, else the rest."""
    exact = re.findall(r"location = (\S+) \{\s*return 404", NGINX_CONF)
    if path in exact:
        return "nobody"
    for pattern, body in re.findall(r"location ~ (\S+) \{(.*?)\n        \}", NGINX_CONF, re.DOTALL):
        if re.search(pattern, path):
            return str(re.search(r"proxy_pass http://([a-z-]+);", body)[1])  # type: ignore[index]
    return "materials-api"


def test_the_proxy_asks_whoever_has_the_route(paths: dict[str, set[str]]) -> None:
    own = {name: found - (paths[other]) for name, other, found in (
        ("materials-api", "license-service", paths["materials-api"]),
        ("license-service", "materials-api", paths["license-service"]),
    )}  # fmt: skip
    assert len(own["materials-api"]) > 40
    assert len(own["license-service"]) > 3
    for name, found in own.items():
        for path in found:
            assert upstream_of(re.sub(r"\{[^}]+\}", "x1", path)) == name, path
    assert upstream_of("/metrics") == "nobody"


def test_make_up_runs_every_service_of_the_file(tmp_path: Path) -> None:
    plan = Plan(SERVICES, tmp_path, 8080)
    ordered = [one.name for one in plan.in_order()]
    assert set(ordered) == {name for name, one in SERVICES.items() if not one.on_demand}
    for name in ordered:
        assert all(ordered.index(other) < ordered.index(name) for other in SERVICES[name].after)
    materials = plan.processes(SERVICES["materials-api"])
    assert len(materials) == 2
    assert len({one.address for one in materials}) == 2
    for one in materials:
        assert one.command[3:] == [
            "serve", "--data", str(tmp_path / "store"), "--rooms", "materials,archive,log",
            "--host", "127.0.0.1", "--port", one.address.partition(":")[2],
        ]  # fmt: skip
        assert set(one.environment) == set(SERVICES["materials-api"].environment)
        assert not [value for value in one.environment.values() if "/run/secrets" in value]
    told = plan.proxy_settings(NGINX_CONF, 8080)
    assert "listen 127.0.0.1:8080;" in told
    assert all(f"server {one.address}" in told for one in materials)
    assert "materials-api:8000" not in told


@pytest.mark.parametrize("status", [404, 408, 413, 503])
def test_the_proxy_refuses_in_the_words_of_the_api(status: int) -> None:
    bodies = [json.loads(one) for one in re.findall(r"default '(\{.*\})';", NGINX_CONF)]
    assert len(bodies) == 4
    (body,) = [one for one in bodies if one["status"] == status]
    assert body == json.loads(bytes(problem(status, *FRAMEWORK[status], "$safe_request_id").body))
