"""operations/nginx/nginx.conf itself, with the line that follows containers made anew."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from scripts.up import programs
from scripts.up.plan import NGINX
from tests.conftest import ROOT
from tests.up.names import Names

CONF = (ROOT / "operations/nginx/nginx.conf").read_text()
PATIENCE = 30.0
# Addresses of this computer, as containers have some of their own.
FIRST, SECOND, NOBODY, NOBODY_ELSE = "127.0.7.1", "127.0.7.2", "127.0.7.3", "127.0.7.4"
API = "materials-api"


class Api(ThreadingHTTPServer):
    """Says its address, and keeps what changing requests it got."""

    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        self.got: list[bytes] = []
        super().__init__((address, port), ApiHandler)


class ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_GET(self) -> None:
        said = str(self.server.server_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_POST(self) -> None:
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Proxy:
    """nginx with its names and the processes behind it."""

    names: Names
    http: httpx2.Client
    apis: dict[str, Api]

    def answers(self) -> str:
        """Who answers, or the status of a refusal."""
        answer = self.http.get("/v1/matters")
        return answer.text if answer.status_code == 200 else str(answer.status_code)

    def until(self, met: Callable[[str], bool], what: str) -> float:
        began = time.monotonic()
        while not met(self.answers()):
            assert time.monotonic() - began < PATIENCE, what
            time.sleep(0.05)
        return time.monotonic() - began

    def name(self, *addresses: str) -> None:
        self.names.addresses[API] = list(addresses)


def nginx() -> str:
    found = programs.resolving_nginx()
    if found is None:
        pytest.skip("no nginx of 1.27.3 or newer: make servers (wants cargo, gcc, libpcre2-dev)")
    return found


def placed(folder: Path, *, port: int, names: int, api: int) -> str:
    """The file with addresses and folders of this test, and nothing else of it changed."""
    here = {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "resolver 127.0.0.11 ": f"resolver 127.0.0.1:{names} ",
        ":8000 resolve ": f":{api} resolve ",
        "/etc/nginx/tls/": f"{folder}/tls/",
        "/tmp/": f"{folder}/",  # noqa: S108 - the container's, which is replaced
    }
    text = CONF
    for old, new in here.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def command(folder: Path, *more: str) -> list[str]:
    rights = " user root;" if os.geteuid() == 0 else ""
    settings = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return [nginx(), *settings, "-g", f"daemon off;{rights}", *more]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(folder: Path, text: str) -> Iterator[None]:
    (folder / "tls").mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(text)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command(folder), stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """One process answers, at FIRST and by that name; another at SECOND is not named yet."""
    nginx()
    names = Names({API: [FIRST], "license-service": [FIRST]})
    port, behind = free_port(), free_port()
    with ExitStack() as stack:
        apis = {}
        for address in (FIRST, SECOND):
            apis[address] = stack.enter_context(Api(address, behind))
            threading.Thread(target=apis[address].serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(apis[address].shutdown)
        text = placed(tmp_path, port=port, names=stack.enter_context(names.served()), api=behind)
        stack.enter_context(running(tmp_path, text))
        http = stack.enter_context(
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
        )
        made = Proxy(names, http, apis)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                http.get("/")
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
        made.until(lambda who: who == FIRST, "never served")
        yield made


def test_a_container_made_anew_is_followed(proxy: Proxy) -> None:
    """The old address answers still: only the name says that it is the wrong one."""
    proxy.name(SECOND)
    took = proxy.until(lambda who: who == SECOND, "the new address is not asked")
    assert took < 10, "`valid` is two seconds"
    assert [proxy.answers() for _ in range(20)] == [SECOND] * 20
    proxy.name(FIRST, SECOND)
    proxy.until(lambda who: who == FIRST, "the second of two is not asked")
    assert {proxy.answers() for _ in range(20)} == {FIRST, SECOND}


def test_nobody_is_told_of_addresses_that_do_not_serve_yet(proxy: Proxy) -> None:
    """While all are replaced there are twice as many, and half of them refuse."""
    proxy.name(SECOND, NOBODY, NOBODY_ELSE)
    proxy.until(lambda who: who == SECOND, "the new address is not asked")
    for number in range(30):
        sent = b"%d" % number
        assert proxy.http.post("/v1/cases", content=sent).text == SECOND
        assert proxy.http.put("/v1/uploads/upl_1", content=sent).text == SECOND
        assert proxy.answers() == SECOND
    got = proxy.apis[SECOND].got
    assert got == [b"%d" % (number // 2) for number in range(60)], "each once"


def test_without_any_address_the_proxy_refuses_in_the_words_of_the_api(proxy: Proxy) -> None:
    proxy.name()
    proxy.until(lambda who: who != FIRST, "an address that is gone is asked for ever")
    refused = proxy.http.post("/v1/cases", content=b"{}")
    assert (refused.status_code, refused.json()["status"]) == (503, 503)
    assert refused.json()["code"] == "unavailable"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    proxy.name(SECOND)
    proxy.until(lambda who: who == SECOND, "does not come back")


def test_tls_is_set_up_as_the_example_says(tmp_path: Path) -> None:
    tls = tmp_path / "tls"
    tls.mkdir()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=hall.example", "-keyout", tls / "key.pem",
            "-out", tls / "fullchain.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    example = (ROOT / "operations/nginx/tls.conf.example").read_text()
    (tls / "tls.conf").write_text(example.replace("/etc/nginx/tls", str(tls)))
    (tmp_path / "nginx.conf").write_text(placed(tmp_path, port=8080, names=53, api=8000))
    checked = subprocess.run(command(tmp_path, "-t"), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_nginx_that_is_built_is_the_one_that_is_deployed() -> None:
    script = (ROOT / "scripts/servers/nginx.sh").read_text()
    version = re.findall(r"^VERSION=\S+\+(\S+)$", script, re.MULTILINE)[0]
    assert version.startswith(f"{NGINX.partition(':')[2].partition('-')[0]}.")
