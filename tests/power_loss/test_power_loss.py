"""What was acknowledged is there after a power cut, and no fsync is missing.

SQLite's files are SQLite's: that its commits last rests on `synchronous=FULL`, which
`tests/storage` asserts on every connection; no cut inside of it is simulated here.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from tests.power_loss.cuts import Recorded, Scenario, cut_everywhere, record
from tests.power_loss.disk import Recorder
from tests.power_loss.scenarios import SCENARIOS, Birth

# An fsync that no state after a cut needs, and why it stays.
REDUNDANT = {
    "storage/objects/durable_file.py DurableFile._compare: os.fsync(descriptor)": "whoever gave "
    "the file its name had synced its bytes before; it costs little and trusts nobody",
    "ledger/tilestore.py FilesystemTiles._link: _sync_file(Path(target))": "likewise",
}


@cache
def played(scenario: Scenario, folder: Path) -> Recorded:
    return record(scenario, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("power")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_what_was_acknowledged_survives_a_cut_anywhere(scenario: Scenario, folder: Path) -> None:
    recorded = played(scenario, folder / scenario.name)
    cuts = cut_everywhere(recorded, folder / scenario.name, several=1)
    assert cuts.loss is None
    assert cuts.states >= 4


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_an_fsync_that_is_left_out_is_missed(scenario: Scenario, folder: Path) -> None:
    recorded = played(scenario, folder / scenario.name)
    assert recorded.sites
    unseen = {
        site
        for site in recorded.sites
        if cut_everywhere(recorded, folder / "without", several=1, without=site).loss is None
    }
    assert unseen == recorded.sites & REDUNDANT.keys()


def test_every_fsync_that_is_listed_as_redundant_is_played(folder: Path) -> None:
    sites = set()
    for scenario in SCENARIOS:
        sites |= played(scenario, folder / scenario.name).sites
    assert sites >= REDUNDANT.keys()


def test_threads_that_work_elsewhere_are_neither_recorded_nor_made_to_fail(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stopping = threading.Event()
    turns = []

    def work() -> None:
        while not stopping.is_set():
            file = elsewhere / "new"
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, b"x")
            os.fsync(descriptor)
            os.close(descriptor)
            file.rename(elsewhere / "old")
            turns.append(1)

    root = tmp_path / "disk"
    root.mkdir()
    with ThreadPoolExecutor(1) as pool, Recorder(root).recording() as recorder:
        recorder.fail = lambda _: pytest.fail("another thread was made to fail")
        other = pool.submit(work)
        while len(turns) < 50 and not other.done():
            (root / "a").mkdir(exist_ok=True)
        stopping.set()
        other.result(30)
    assert {one.path for one in recorder.log} == {"a"}


def test_a_store_that_init_made_survives_a_cut(tmp_path: Path) -> None:
    recorded = record(Birth(), tmp_path)
    cuts = cut_everywhere(recorded, tmp_path, several=4)
    assert cuts.loss is None
