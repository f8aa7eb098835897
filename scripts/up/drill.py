"""Runs docker-compose.yml in a container engine, breaks it, and removes it again:
`make drill [ARGS="--no-build"]`, `--build-arg NAME=VALUE` as for Docker.

What `make up` cannot show: the images themselves, the engine's names and networks, and
containers that are replaced. Wants Docker with Compose 2.24 or newer; the project is
called mianjiao-drill and has secrets, volumes and a port of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.up.compose import read_compose
from scripts.up.plan import STORE
from scripts.up.programs import ROOT

_PROJECT = "mianjiao-drill"
_COMPOSE = ROOT / "docker-compose.yml"
_API = "materials-api"

_LOOK_INSIDE = """
import importlib.util, json, os, shutil
def mine():
    for top, folders, files in os.walk("/"):
        if top in ("/", "/var/lib"):
            skipped = {"proc", "sys", "dev", "tmp", "run", "mianjiao"}
            folders[:] = [one for one in folders if one not in skipped]
        for one in folders + files:
            path = os.path.join(top, one)
            if os.access(path, os.W_OK) and not os.path.islink(path) and not oct(
                    os.stat(path).st_mode)[-4:].startswith("1"):
                yield path
print(json.dumps({
    "user": os.getuid(), "writable": list(mine()),
    "tools": [one for one in ("uv", "gcc", "cc", "git", "make") if shutil.which(one)],
    "packages": [one for one in ("pip", "pytest", "tests", "benchmarks", "lints", "scripts")
                 if one in os.listdir(os.path.dirname(importlib.util.find_spec("runtime")
                 .submodule_search_locations[0]))],
}))
"""
_TOKENS = """
import json, sys
from pathlib import Path
from runtime.demo.cast import issue_tokens
print(json.dumps({one.key: one.token for one in issue_tokens(Path("/var/lib/mianjiao"))}))
"""
_CASE = """
import json
from runtime.demo import people
print(json.dumps({"matter": people.FOOD_MATTER, "variant": "moved", "channel": "window",
                  "applicant": people.COMPANY.ref(), "acting": people.ACTS_FOR_COMPANY}))
"""


class DrillFailed(Exception):
    """Says what was expected."""


class Drill:
    """One project in the engine; `override` gives it secrets and a port of its own."""

    def __init__(self, override: Path) -> None:
        self._files = ["-f", str(_COMPOSE), "-f", str(override)]
        self.url = ""

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - the engine's command
            ["docker", *arguments],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise DrillFailed(f"docker {' '.join(arguments[:8])}: {done.stderr[-1500:]}")
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.docker("compose", "-p", _PROJECT, *self._files, *arguments)

    def inside(self, program: str) -> Any:
        """What a Python program prints in one of the API's containers, as JSON."""
        return json.loads(self.compose("exec", "-T", _API, "python", "-c", program))

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def send(self, path: str, body: Any = None, token: str = "") -> tuple[int, str]:
        """POST if there is a body. Status 0: no answer."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    # --- What is looked at ---

    def look_into_the_image(self) -> None:
        arguments = ["run", "--rm", "--network", "none", "--entrypoint", "python", STORE]
        found = json.loads(self.docker(*arguments, "-c", _LOOK_INSIDE))
        user = _image_user()
        _expect(found["user"] == user, f"user {user}, not {found['user']}")
        for what in ("writable", "tools", "packages"):
            _expect(not found[what], f"nothing of {what}: {found[what][:5]}")

    def serve(self) -> dict[str, str]:
        """Make the store, start everything; the tokens of the demo's people."""
        self.compose("run", "--rm", "-T", "init")
        self.compose("up", "--detach", "--wait")
        self.url = "http://" + self.compose("port", "proxy", "8080").strip()
        _expect(self.send("/health/ready")[0] == 200, "ready")
        _expect(self.send("/metrics")[0] == 404, "no metrics outside")
        tokens: dict[str, str] = self.inside(_TOKENS)
        return tokens

    def replace(self, case: Any, token: str) -> str:
        """All API containers by others, at other addresses, while cases are opened."""
        old = self.containers(_API)
        count = len(old)
        statuses: Counter[int] = Counter()
        done = threading.Event()

        def load() -> None:
            while not done.is_set():
                statuses[self.send("/v1/cases", case, token)[0]] += 1
                time.sleep(0.05)

        thread = threading.Thread(target=load)
        thread.start()
        try:
            scale = f"{_API}={2 * count}"
            self.compose(
                "up", "--detach", "--wait", "--no-recreate", "--no-deps", "--scale", scale, _API
            )
            self.docker("stop", *old)
            self.docker("rm", *old)
            time.sleep(5)
        finally:
            done.set()
            thread.join()
        _expect(set(statuses) == {201}, f"every case opened: {dict(statuses)}")
        return f"{statuses[201]} cases"

    def lose(self, case: Any, token: str) -> str:
        """The API's containers killed, all of them: refused in words, and back by itself."""
        self.compose("kill", _API)
        status, body = self.send("/v1/cases", case, token)
        _expect(status == 503 and json.loads(body)["code"] == "unavailable", f"503, not {status}")
        began = time.monotonic()
        self.compose("up", "--detach", "--wait")
        while self.send("/v1/cases", case, token)[0] != 201:
            _expect(time.monotonic() - began < 60, "back")
            time.sleep(0.2)
        return f"{time.monotonic() - began:.0f} s"

    def check(self) -> None:
        found = json.loads(self.compose("exec", "-T", _API, "mianjiao", "fsck", "--json",
                                        "--data", "/var/lib/mianjiao"))  # fmt: skip
        _expect(found["problems"] == [], f"fsck: {found['problems'][:3]}")


def _image_user() -> int:
    """The user that the image says it has."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return int(next(one for one in lines if one.startswith("USER")).split()[1].partition(":")[0])


def _expect(held: object, what: str) -> None:
    if not held:
        raise DrillFailed(what)


@contextmanager
def _project(folder: Path) -> Iterator[Drill]:
    secrets = folder / "secrets"
    subprocess.run(  # noqa: S603 - our own script
        [str(ROOT / "scripts/secrets.sh"), str(secrets)], check=True, capture_output=True
    )
    lines = ["services:", "  proxy:", '    ports: !override ["127.0.0.1::8080"]', "secrets:"]
    names = sorted({name for one in read_compose(_COMPOSE).values() for name in one.secrets})
    lines += [f"  {name}: {{file: {json.dumps(str(secrets / name))}}}" for name in names]
    override = folder / "drill.yml"
    override.write_text("\n".join(lines) + "\n", encoding="utf-8")
    drill = Drill(override)
    try:
        yield drill
    finally:
        drill.compose("--profile", "init", "down", "--volumes", "--timeout", "30")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    told = parser.parse_args()

    def step(what: str, does: Callable[[], object]) -> None:
        began = time.monotonic()
        said = does()
        more = f"  {said}" if isinstance(said, str) and len(said) < 60 else ""
        print(f"  {what}  {time.monotonic() - began:.0f} s{more}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="mj-drill-") as place, _project(
            Path(place)
        ) as drill:  # fmt: skip
            if not told.no_build:
                arguments = [word for one in told.build_arg for word in ("--build-arg", one)]
                step("镜像 build", lambda: drill.compose("build", "--quiet", *arguments))
            step("镜像内容 image", drill.look_into_the_image)
            tokens: dict[str, str] = {}
            step("启动 start", lambda: tokens.update(drill.serve()))
            case, token = drill.inside(_CASE), tokens["window"]
            step("替换 replaced", lambda: drill.replace(case, token))
            step("丢失 lost", lambda: drill.lose(case, token))
            step("核对 fsck", drill.check)
    except (DrillFailed, FileNotFoundError) as error:
        print(f"drill: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
