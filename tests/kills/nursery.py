"""Forks servers and checks on demand, one at a time: see `hosts.ForkingHost`.

Reads `serve FOLDER`, `reap`, `check FOLDER`; writes a JSON line for each, and the
server's own line with its address in between.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import uvicorn  # noqa: F401 - loaded before the fork, as the rest

import runtime.app
import runtime.interpreter
import runtime.protocol  # noqa: F401
from ledger.problems import quiet
from runtime.commands.fsck import run_checks
from runtime.commands.serve import serve_store
from runtime.store import open_store


def problems(data: Path) -> list[str]:
    with open_store(data) as store:
        return [f"{one.code} {one.where}" for one in run_checks(store, quiet)]


def fork(work: Callable[[], None]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here, and says why
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return pid


def say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    serving = 0
    for line in sys.stdin:
        what, _, folder = line.rstrip("\n").partition(" ")
        data = Path(folder)
        if what == "serve":
            # The child may be ready before its number is told: hold it back until then.
            reading, writing = os.pipe()

            def serve(data: Path = data, reading: int = reading) -> None:
                os.read(reading, 1)
                serve_store(data, "127.0.0.1", 0, announce_json=True)

            serving = fork(serve)
            say({"pid": serving})
            os.write(writing, b"x")
            os.close(reading)
            os.close(writing)
        elif what == "reap":
            say({"ended": os.waitstatus_to_exitcode(os.waitpid(serving, 0)[1])})
        else:
            # In a child too: a fork must not inherit the threads of an open store.
            os.waitpid(fork(lambda data=data: say({"problems": problems(data)})), 0)


if __name__ == "__main__":
    main()
