"""A served portal with a store that the test describes, and a browser to look at it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from fastapi import FastAPI

from portal.http import routes
from portal.state import CheckpointState, StoreState
from runtime import problems

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--headless",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

STATE = StoreState(
    name="云间区示例库",
    materials=1027,
    licenses=6,
    cases=9,
    allowed=41,
    denied=12,
    counted_at=datetime(2026, 11, 24, 20, 20, 0, tzinfo=UTC),
    pending=0,
    checkpoint=CheckpointState(
        shard="2026",
        origin="example.org/yunjian/2026",
        size=1234,
        root=bytes(range(32)),
        at=datetime(2026, 11, 24, 20, 20, 21, tzinfo=UTC),
    ),
)


class DescribedState:
    """A `PortalState` that says what the test last put into `state`."""

    def __init__(self) -> None:
        self.state = STATE

    def snapshot(self) -> StoreState:
        return self.state

    def without_checkpoint(self) -> None:
        self.state = replace(self.state, checkpoint=None)


@pytest.fixture
def described() -> DescribedState:
    return DescribedState()


@pytest.fixture
def app(described: DescribedState) -> FastAPI:
    made = FastAPI(docs_url=None, redoc_url=None)
    made.include_router(routes(described))
    problems.install(made)
    return made


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The base address of the application, served on loopback by a real server."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # now, so that a visitor before the server waits instead of failing
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """Serves an application until the end of the test."""
    stops = []

    def start(app: FastAPI) -> str:
        server = serving(app)
        stops.append(server)
        return server.__enter__()

    yield start
    for server in stops:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium. Where there is none, tests of pages are skipped; under CI they fail."""
    from playwright.sync_api import sync_playwright

    if os.environ.get("CI") != "true":
        if not Path(CHROMIUM).exists():
            pytest.skip("no browser: apt install chromium fonts-noto-cjk")
        driver = [sys.executable, "-m", "playwright", "--version"]
        if subprocess.run(driver, capture_output=True).returncode != 0:
            pytest.skip("the browser's driver does not start: apt install libatomic1")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()
