"""What tests of more than one room share: a store, and a store in which the story was played.

Nothing is mocked: stores lie on a temporary folder, the story is played by the
real command against a real server.
"""

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import FixedClock
from runtime.cli import run
from tests.servers.anvil import Anvil
from tests.servers.evm import find_anvil
from tests.servers.fault_proxy import FaultProxy
from tests.servers.minio import MinioServer, find_minio
from tests.servers.radosgw import RadosGateway, lacks_radosgw
from tests.servers.softhsm import SoftHsm, Token

# Entries that come by themselves would be counted among those of a test.
os.environ["MIANJIAO_CANARY_SECONDS"] = "0"
from runtime.store import DATABASE, Store, create_store, open_store
from tests.engines import Engine, Servers, chosen

START = datetime(2026, 11, 24, 4, 20, 21, tzinfo=UTC)
ROOT = Path(__file__).parent.parent
OWN = "own 文件"  # folder of the files that a user adds to the story


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("sqlite", "postgresql", "both"),
        default="both",
        help="engine of the tests' databases; both: tests marked both_engines on each",
    )


def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto` one worker more than processors: tests of real servers wait for disks and
    processes. None: as the environment says."""
    given = "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ
    return None if given else len(os.sched_getaffinity(0)) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        names = chosen(metafunc.config.getoption("engine"), marks)
        metafunc.parametrize("engine", names, indirect=True, scope="session")


NAMED_BY_CONTENT = 40  # bytes


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A file's name in the list of tests is its argument's, with pytest's number, not its bytes.

    Made files hold their own time (a ZIP's members count two seconds), and workers that
    collected different names run nothing.
    """
    return argname if isinstance(val, bytes) and len(val) > NAMED_BY_CONTENT else None


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The PostgreSQL of this worker: `DATABASE_URL`, or one that is started."""
    made = Servers()
    yield made
    made.close()


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, servers: Servers) -> Engine:
    """Where databases lie: on SQLite or PostgreSQL (`tests.engines`)."""
    return Engine(request.param, servers)


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def mianjiao(*arguments: str | Path, expect: int | None = 0) -> Done:
    """Run the command line in this process: a new one takes a second to load."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(one) for one in arguments])
    if expect is not None:
        assert code == expect, out.getvalue() + err.getvalue()
    return Done(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Played:
    """A store after the demo story: its folder, the `--json` answer, tokens by person, and
    what was written to standard error with everything logged."""

    data: Path
    results: Path
    own_files: Path
    summary: dict[str, Any]
    tokens: dict[str, str]
    log: str

    def copy(self, target: Path) -> Path:
        """A copy of the store's folder, to be damaged at will."""
        return Path(shutil.copytree(self.data, target))


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The story, played once a run with files of the user's own. Not to be changed: the
    tests of one process share it, and those of others have copies."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    stage = shared / "stage"
    with (shared / "stage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stage / "told.json").exists():
            _play(stage)
    folder = tmp_path_factory.mktemp("played")
    shutil.copytree(stage, folder, dirs_exist_ok=True)
    data, results = folder / "store", folder / "store-demo"
    told = (folder / "told.json").read_text(encoding="utf-8").replace(str(stage), str(folder))
    tokens = json.loads((results / "tokens.json").read_text(encoding="utf-8"))
    return Played(
        data,
        results,
        folder / OWN,
        json.loads(told),
        {one["key"]: one["token"] for one in tokens},
        (folder / "log.txt").read_text(encoding="utf-8"),
    )


def _play(stage: Path) -> None:
    shutil.rmtree(stage, ignore_errors=True)  # where it failed before
    own = stage / OWN
    (own / "嵌套 目录").mkdir(parents=True)
    (own / "说明 readme.txt").write_text("任意内容\n", encoding="utf-8")
    (own / "嵌套 目录" / "图 1.bin").write_bytes(bytes(range(256)) * 5)
    (own / "空.txt").touch()
    done = subprocess.run(
        [
            sys.executable, "-m", "runtime.cli",
            "demo", "--data", str(stage / "store"), "--files", str(own), "--json",
        ],
        cwd=ROOT,
        env={**os.environ, "MIANJIAO_LOG_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (stage / "log.txt").write_text(done.stderr, encoding="utf-8")
    (stage / "told.json").write_text(done.stdout, encoding="utf-8")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock, engine: Engine) -> Iterator[Store]:
    """A fresh store with a clock that stands still; its log is not started."""
    settings = engine.settings(tmp_path / "store" / DATABASE)
    create_store(tmp_path / "store", "test.example", clock, settings)
    with open_store(tmp_path / "store", settings, clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A real MinIO, one for each process of the test run. Leave it running."""
    binary = find_minio()
    if binary is None:
        pytest.skip("no MinIO server here: `make servers` builds one")
    server = MinioServer(binary, tmp_path_factory.mktemp("minio"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadosGateway]:
    """A real Ceph gateway. It takes long to start: its tests are of one group."""
    lacking = lacks_radosgw()
    assert not lacking or os.environ.get("CI") != "true", "CI=true, and no radosgw was installed"
    if lacking:
        pytest.skip("no Ceph gateway: apt install ceph-mon ceph-osd radosgw")
    gateway = RadosGateway(tmp_path_factory.mktemp("radosgw"))
    yield gateway
    gateway.stop()


@pytest.fixture
def fault_proxy(minio: MinioServer) -> Iterator[FaultProxy]:
    """A way to MinIO that does harm when told to."""
    proxy = FaultProxy(minio.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A folder of real PKCS#11 tokens, one for each process of the test run."""
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    """A PKCS#11 token of the test's own, empty."""
    return softhsm.token()


@pytest.fixture(scope="session")
def anvil_binary() -> Path:
    found = find_anvil()
    assert found or os.environ.get("CI") != "true", "CI=true, and `make servers` installed no anvil"
    if found is None:
        pytest.skip("no chain node: make servers")
    return found


@pytest.fixture
def start_anvil(anvil_binary: Path, tmp_path: Path) -> Iterator[Callable[..., Anvil]]:
    made: list[Anvil] = []

    def start(**options: bool) -> Anvil:
        made.append(Anvil(anvil_binary, tmp_path, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()
