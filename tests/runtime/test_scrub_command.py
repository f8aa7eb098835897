"""`mianjiao scrub` as a person or cron meets it: killed and resumed, exit codes, a cluster."""

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from materials_api.back_files.manifest import COLUMNS
from runtime.demo.people import COMPANY
from runtime.scrub.progress import load
from tests.conftest import mianjiao
from tests.engines import Engine
from tests.nursery import nursery

MIB = 1 << 20
FILES = 8


@pytest.fixture
def data(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with eight back files of 1 MiB."""
    engine.place(tmp_path / "database", empty=True)
    for name, value in engine.environment(tmp_path / "database").items():
        monkeypatch.setenv(name, value)
    names = [f"{number}.bin" for number in range(FILES)]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(MIB))
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for name in names:
            writer.writerow(
                [
                    COMPANY.type, COMPANY.code, COMPANY.name, "other", name, "CASE-1",
                    "000131014000", "back_scan", "", "", "2024-03-01", "", name,
                ]
            )  # fmt: skip
    data = tmp_path / "store"
    mianjiao("init", "--data", data)
    mianjiao("import", "--data", data, tmp_path / "manifest.csv")
    return data


def objects_in_order(data: Path) -> list[Path]:
    return sorted(
        (one for one in (data / "objects").rglob("*") if one.is_file()), key=lambda one: one.name
    )


def until(met: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    """The processes that this one started, and theirs (Linux)."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(one) for one in found} | {
        more for one in found if Path(f"/proc/{one}").exists() for more in children(int(one))
    }


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_a_killed_scrub_goes_on_where_it_stopped(data: Path) -> None:
    """What it had done is not done again, what it had found is not forgotten."""
    objects = objects_in_order(data)
    damage(objects[0])
    killed = nursery().start("scrub", "--data", data, "--jobs", "1", "--max-mb-per-second", "1")
    try:
        until(lambda: (now := load(data)) is not None and now.objects >= 1)
        below = children(killed.pid)
        assert below
    finally:
        killed.kill()
        killed.wait()
    until(lambda: not any(alive(pid) for pid in below))
    left = load(data)
    assert left is not None
    assert left.finished is None
    assert 1 <= left.objects < FILES
    # Damage behind the mark is for the next scrub, damage before it for this one.
    behind = objects[left.objects - 1]
    if left.objects > 1:
        damage(behind)
    damage(objects[-1])
    done = mianjiao("scrub", "--data", data, "--json", expect=1)
    told = json.loads(done.stdout)
    assert told["resumed"]
    assert told["objects"] == FILES, "each was read once, by one or the other"
    named = {one["where"].split()[-1] for one in told["problems"]}
    assert named == {objects[0].name, objects[-1].name}
    assert {one["code"] for one in told["problems"]} == {"object_corrupt"}
    again = json.loads(mianjiao("scrub", "--data", data, "--json", expect=1).stdout)
    assert not again["resumed"]
    expected = named | ({behind.name} if left.objects > 1 else set())
    assert {one["where"].split()[-1] for one in again["problems"]} == expected


@pytest.mark.both_engines
def test_what_cron_gets(data: Path, tmp_path: Path) -> None:
    """Exit codes 0, 1, 2; plain lines without a terminal; one JSON object if asked."""
    done = mianjiao("scrub", "--data", data, "--jobs", "2")
    assert done.stdout.startswith("未发现问题 / clean: mianjiao.example/")
    assert f"内容 objects {FILES}/{FILES}" in done.stderr
    told = json.loads(mianjiao("scrub", "--data", data, "--jobs", "1", "--json").stdout)
    assert told["clean"]
    assert (told["problems"], told["objects"], told["resumed"]) == ([], FILES, False)
    assert told["entries"] > FILES
    assert told["bytes"] > FILES * MIB
    damage(objects_in_order(data)[2])
    done = mianjiao("scrub", "--data", data, expect=1)
    assert "[object_corrupt]" in done.stdout
    progress = load(data)
    assert progress is not None
    assert progress.finished is not None
    assert len(progress.problems) == 1
    assert "store_missing" in mianjiao("scrub", "--data", tmp_path / "none", expect=2).stderr
    for wrong in (("--jobs", "0"), ("--max-mb-per-second", "0"), ("--max-mb-per-second", "x")):
        mianjiao("scrub", "--data", data, *wrong, expect=2)


def test_the_same_work_runs_on_a_ray_cluster(data: Path) -> None:
    """A real local one of two processors, which this command starts and ends."""
    told = json.loads(mianjiao("scrub", "--data", data, "--ray", "local", "--json").stdout)
    assert told["clean"]
    assert told["objects"] == FILES
    damage(objects_in_order(data)[3])
    told = json.loads(
        mianjiao("scrub", "--data", data, "--ray", "local", "--json", expect=1).stdout
    )
    assert {one["code"] for one in told["problems"]} == {"object_corrupt"}


def test_a_cluster_that_does_not_answer_is_named(data: Path) -> None:
    done = mianjiao("scrub", "--data", data, "--ray", "127.0.0.1:1", expect=2)
    assert "ray_unreachable" in done.stderr


@pytest.mark.parametrize("command", ["fsck", "scrub"])
@pytest.mark.parametrize("jobs", ["0", "-1", "65", "1000000"])
def test_no_more_processes_are_started_than_a_machine_can_bear(
    tmp_path: Path, command: str, jobs: str
) -> None:
    done = mianjiao(command, "--data", tmp_path, "--jobs", jobs, expect=2)
    assert done.stderr.count("\n") == 1
    assert "必须是 1 到 64 的整数" in done.stderr
    assert "from 1 to 64" in done.stderr
    assert not list(tmp_path.iterdir())
