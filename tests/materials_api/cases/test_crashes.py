"""The process is killed at every step of an upload and a registration: whole or absent."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from materials_api.tables import case_requirements, materials, uploads
from materials_api.uploads.incoming import release_uploads
from storage.objects.sweep import sweep
from storage.tables import objects

UPLOAD = "upl_" + "7" * 26

# One helper process imports everything once and forks a child per run: the child does
# the work, or is killed at it. `step` names a point between two calls; `event` counts
# what the interpreter does to files (open, link, remove), so that the kill also lands
# inside a call.
SCRIPT = textwrap.dedent(
    """
    import json, os, signal, sys
    from dataclasses import replace
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    import conftest as support
    from materials_api.catalogue.terms import Provenance
    from materials_api.uploads.content_types import sniff
    from materials_api.limits import ArchiveLimits
    from materials_api.materials.registration import register_material
    from materials_api.materials.checks import FileInput, RegisterMaterial
    from materials_api.uploads.incoming import begin_upload, keep_upload

    sniff(b"%PDF-1.4", 8, lambda a, b: b"", ArchiveLimits())  # load libmagic now

    def child(path, case_id, step, event, size):
        hall = support.build_hall(Path(path), support.FixedClock(support.NOON), create=False)
        window = replace(hall.window, subject="tok_" + "5" * 26)
        data = support.make_pdf("crash") + b"%" * size
        left = event

        def point(name):
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

        def hook(name, _args):
            nonlocal left
            if name in ("open", "os.link", "os.remove", "os.unlink", "os.rename"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        receiver = begin_upload(hall.room, window, {upload!r}, len(data))
        if left > 0:
            sys.addaudithook(hook)
        point("begun")
        receiver.write(data[: len(data) // 2])
        point("half")
        receiver.write(data[len(data) // 2 :])
        point("written")
        received = receiver.finish()
        point("durable")
        keep_upload(hall.room, hall.now, window, {upload!r}, received)
        point("kept")
        wanted = RegisterMaterial(
            type="lease_contract", title="t", provenance=Provenance.CERTIFIED_COPY,
            files=(FileInput({upload!r}, "a.pdf"),), requirement="lease_contract",
        )

        def work(tx):
            register_material(hall.room, tx, hall.now, window, case_id, wanted)
            point("registering")

        hall.write(work)
        point("registered")

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(*json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
)


@pytest.fixture(scope="module")
def killer() -> Iterator[subprocess.Popen[str]]:
    here = Path(__file__).resolve()
    script = SCRIPT.format(tests=str(here.parent), root=str(here.parents[3]), upload=UPLOAD)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(killer, hall, case_id: str, *, step: str = "-", event: int = 0, size: int = 100) -> int:
    """The exit code of one attempt; -9 when it was killed."""
    killer.stdin.write(json.dumps([str(hall.path), case_id, step, event, size]) + "\n")
    killer.stdin.flush()
    return int(killer.stdout.readline())


def whole_or_absent(hall) -> str:
    """Reopen, sweep, and look: how far it came. Anything in between fails."""
    again = hall.reopen()
    try:
        assert again.problems() == []
        again.advance(hours=1)
        sweep(
            again.room.database,
            again.room.objects.store,
            again.room.vault,
            again.now,
            older_than=timedelta(days=-3650),
            release=release_uploads,
        )
        with again.room.database.read() as tx:
            kept = tx.all(select(uploads))
            made = tx.all(select(materials))
            met = tx.all(select(case_requirements))
            known = {row["object_key"] for row in tx.all(select(objects))}
        stored = {key for key, _ in list(again.room.objects.store.keys())}
        assert stored == known
        assert len(made) == len(met)
        if made:
            facts = again.material(made[0]["material_id"])
            assert facts.agrees
            assert kept[0]["used_at"] is not None
            return "registered"
        return "kept" if kept else "absent"
    finally:
        again.room.database.close()


@pytest.fixture
def case_id(hall) -> str:
    """A case in a store that no process has open."""
    case = hall.open_case()
    hall.room.database.close()
    return case.case_id


@pytest.mark.parametrize(
    ("step", "size", "expected"),
    [
        ("begun", 100, "absent"),
        ("half", 3 << 20, "absent"),
        ("written", 3 << 20, "absent"),
        ("durable", 100, "absent"),
        ("durable", 3 << 20, "absent"),
        # Committed, but part of nothing: the sweep takes it, rows and bytes.
        ("kept", 100, "absent"),
        ("registering", 100, "absent"),
        ("registered", 100, "registered"),
    ],
)
def test_a_kill_between_steps_leaves_all_or_nothing(
    killer, hall, case_id, step, size, expected
) -> None:
    assert run(killer, hall, case_id, step=step, size=size) == -9
    assert whole_or_absent(hall) == expected


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_kill_at_any_file_operation_leaves_all_or_nothing(killer, hall, case_id, size) -> None:
    reached = []
    for event in range(1, 40):
        code = run(killer, hall, case_id, event=event, size=size)
        reached.append(whole_or_absent(hall))
        if code == 0:
            break
        assert code == -9
    else:
        pytest.fail("the process never came to its end")
    assert reached[-1] == "registered"
    assert set(reached[:-1]) <= {"absent", "registered"}
    assert len(reached) > 2


def test_the_retry_after_a_kill_succeeds(killer, hall, case_id) -> None:
    assert run(killer, hall, case_id, step="kept") == -9
    assert run(killer, hall, case_id) == 0
    assert whole_or_absent(hall) == "registered"
