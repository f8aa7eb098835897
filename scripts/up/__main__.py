"""Runs the services until Ctrl-C: `python -m scripts.up [--dir DIR] [--port PORT]`."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from scripts.up.programs import ProgramMissing
from scripts.up.services import FolderClosed, ServiceFailed, Services


def main() -> int:
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(".up"))
    parser.add_argument("--port", type=int, default=8080)
    told = parser.parse_args()
    folder = told.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _end)
    services = Services(folder, told.port, lambda line: print(f"  {line}", flush=True))
    try:
        print(f"免交 Mianjiao · {folder}")
        services.start()
        print(_guide(services))
        while True:
            time.sleep(0.5)
            services.look()
    except KeyboardInterrupt:
        print("  停止 stopping")
        return 0
    except (ServiceFailed, ProgramMissing) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    except FolderClosed as error:
        print(
            f"make up: PostgreSQL 以 nobody 运行，不能进入 {error}；请用 DIR= 另选目录\n"
            f"         PostgreSQL runs as nobody, who may not enter {error}: choose another DIR=",
            file=sys.stderr,
        )
        return 1
    finally:
        services.stop()


def _guide(services: Services) -> str:
    folder = services.folder
    return (
        f"  首页 page       {services.url}/\n"
        f"  日志 logs       {folder}/logs/\n"
        f"  命令 commands   . {folder}/environment\n"
        f"                  mianjiao token --role operator --data {folder}/store\n"
        f"                  mianjiao fsck --data {folder}/store\n"
        "  停止 stop       Ctrl-C"
    )


def _end(_sign: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
