"""`mianjiao scrub`: every stored byte and every commitment, in parallel, resumable."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kernel.errors import CodedError
from runtime.commands.fsck import NAMES, SHOWN, lines
from runtime.pool.pools import MOST, check_processes
from runtime.scrub.progress import ScrubProgress, alone, load
from runtime.scrub.scrubbing import Tell, scrub
from runtime.store import open_store

MB = 1_000_000
CLEAN, PROBLEMS, NOT_DONE = 0, 1, 2
_LINE_SECONDS = 10.0  # between lines where there is no terminal


def scrub_store(
    data: Path,
    *,
    jobs: int | None,
    max_mb_per_second: float | None,
    ray: str | None,
    restart: bool,
    as_json: bool,
) -> int:
    """0: all was looked at and is well; 1: all was looked at, with every problem named;
    2: it could not be done to its end. The next call goes on where this one stopped.
    """
    jobs = min(os.cpu_count() or 1, MOST) if jobs is None else jobs
    check_processes(jobs)
    console = Console(stderr=True)
    try:
        with open_store(data) as store, alone(store.data):
            last = None if restart else load(store.data)
            resumed = last is not None and last.finished is None
            progress = last if last is not None and resumed else None
            progress = progress or ScrubProgress(began=store.clock.now().timestamp())
            if resumed:
                console.print("从上次中断处继续 / going on where the last scrub stopped")
            with _telling(console) as tell:
                scrub(
                    store,
                    progress,
                    jobs=jobs,
                    bytes_per_second=max_mb_per_second * MB if max_mb_per_second else None,
                    ray=ray,
                    tell=tell,
                )
            origin = store.ledger.origin
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        return NOT_DONE
    if as_json:
        print(json.dumps(_summary(progress, origin, resumed=resumed), ensure_ascii=False))
    else:
        for line in lines(progress.problems, origin, SHOWN if sys.stdout.isatty() else None):
            print(line)
        print(
            f"条目 {progress.entries}，内容 {progress.objects}（{progress.bytes / MB:.1f} MB），"
            f"{progress.seconds:.1f} 秒 / {progress.entries} entries, {progress.objects} objects"
        )
    return PROBLEMS if progress.problems else CLEAN


def _summary(progress: ScrubProgress, origin: str, *, resumed: bool) -> dict[str, object]:
    return {
        "clean": not progress.problems,
        "origin": origin,
        "problems": [
            {"code": one.code, "where": one.where, "zh": one.zh, "en": one.en}
            for one in progress.problems
        ],
        "entries": progress.entries,
        "objects": progress.objects,
        "bytes": progress.bytes,
        "seconds": round(progress.seconds, 3),
        "resumed": resumed,
    }


@contextmanager
def _telling(console: Console) -> Iterator[Tell]:
    """A bar on a terminal; a line now and then anywhere else."""
    if not console.is_terminal:
        yield _liner(lambda line: print(line, file=sys.stderr, flush=True))
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[read]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        tasks = {
            what: bar.add_task(NAMES[what], total=None, visible=False, read="")
            for what in ("ledger", "objects")
        }

        def tell(what: str, done: int, total: int, read: int) -> None:
            text = f"{read / MB:.1f} MB" if what == "objects" else ""
            bar.update(tasks[what], completed=done, total=total, visible=True, read=text)

        yield tell


def _liner(write: Callable[[str], None], elapsed: Callable[[], float] = time.monotonic) -> Tell:
    last: dict[str, float] = {}

    def tell(what: str, done: int, total: int, read: int) -> None:
        now = elapsed()
        if done < total and what in last and now - last[what] < _LINE_SECONDS:
            return
        last[what] = now
        write(f"{NAMES[what]} {done}/{total}  {read / MB:.1f} MB")

    return tell
