"""What was acknowledged is there after a power cut, and no fsync is missing.

SQLite's files are SQLite's: that its commits last rests on `synchronous=FULL`, which
`tests/storage` asserts on every connection; no cut inside of it is simulated here.
"""

from functools import cache
from pathlib import Path

import pytest

from tests.power_loss.cuts import Recorded, Scenario, cut_everywhere, record
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


def test_a_store_that_init_made_survives_a_cut(tmp_path: Path) -> None:
    recorded = record(Birth(), tmp_path)
    cuts = cut_everywhere(recorded, tmp_path, several=4)
    assert cuts.loss is None
