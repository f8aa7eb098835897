"""A store whose Ed25519 key is in a PKCS#11 token: made, served, taken out, restored."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from runtime.demo.cast import issue_tokens
from tests.conftest import ROOT, mianjiao
from tests.kills.checks import policy_of
from tests.nursery import nursery
from tests.runtime.test_processes import Processes, ledgered, opened, until
from tests.servers.softhsm import PIN, Token

pytestmark = pytest.mark.timeout(300)

YEAR = str(datetime.now(UTC).year)


@pytest.fixture
def settings(token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of the token in the environment; the file with its PIN."""
    pin = tmp_path / "pin"
    pin.write_text(f"{PIN}\n")
    monkeypatch.setenv("MIANJIAO_PKCS11_MODULE", str(token.tokens.module))
    monkeypatch.setenv("MIANJIAO_PKCS11_PIN_FILE", str(pin))
    monkeypatch.setenv("MIANJIAO_PKCS11_TOKEN", token.label)
    return pin


@pytest.fixture
def data(settings: Path, tmp_path: Path) -> Path:
    mianjiao("init", "--data", tmp_path / "store", "--name", "token.example")
    return tmp_path / "store"


@pytest.fixture
def processes(data: Path, tmp_path: Path) -> Iterator[Processes]:
    made = Processes(data, tmp_path / "log.txt")
    made.tokens = {one.key: one.token for one in issue_tokens(data)}
    yield made
    made.stop()


def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODULE", "PIN_FILE", "TOKEN"):
        monkeypatch.delenv(f"MIANJIAO_PKCS11_{name}")


def refused(data: Path) -> str:
    """The code of the one line with which `serve` gives up."""
    done = nursery().run("serve", "--data", data, "--port", "0")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert PIN not in line
    return line.rpartition("[")[2].rstrip("]")


def test_init_makes_the_key_in_the_token_and_the_folder_cannot_sign(data: Path) -> None:
    folder = data / "keys"
    assert (folder / f"log-{YEAR}.key").read_text().startswith("pkcs11:token=mianjiao%20")
    assert (folder / f"log-{YEAR}.mldsa44.key").read_text().startswith("PRIVATE+KEY+")
    for path in folder.iterdir():
        assert PIN not in path.read_text()
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["problems"] == []


def test_it_is_served_by_workers_and_waits_for_a_token_that_was_taken_out(
    processes: Processes, token: Token
) -> None:
    policy = policy_of(processes.data)
    url, _ = processes.start("serve", "--workers", "2")
    caller = processes.caller(url)
    before = opened(caller)[1]
    until(lambda: ledgered(caller, before, policy) is not None, "nothing was logged")
    token.take_out()
    meanwhile = opened(caller)[1]  # the window goes on

    def named() -> bool:
        return "token_not_found" in httpx2.get(f"{url}/health/ready").text

    until(named, "not named")
    assert ledgered(caller, meanwhile, policy) is None
    token.put_back()
    until(lambda: ledgered(caller, meanwhile, policy) is not None, "not made up for")
    until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, "not ready again")
    processes.stop()
    assert processes.problems() == []


def test_readers_need_no_token_and_the_start_names_what_is_missing(
    data: Path, settings: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text("8642-wrong\n")
    assert refused(data) == "token_pin_refused"
    settings.write_text(f"{PIN}\n")
    token.take_out()
    assert refused(data) == "token_not_found"
    monkeypatch.setenv("MIANJIAO_PKCS11_MODULE", str(data / "nowhere.so"))
    assert refused(data) == "token_module_unusable"
    unset(monkeypatch)
    assert refused(data) == "token_not_configured"
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["problems"] == []
    assert mianjiao("log", "checkpoint", "--data", data).stdout.startswith("token.example/")


def test_without_the_extra_one_line_says_what_to_install(data: Path) -> None:
    program = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from runtime.cli import run\n"
        f"sys.exit(run(['serve', '--data', {str(data)!r}, '--port', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    assert "pip install 'mianjiao[pkcs11]'" in line
    assert line.endswith("[pkcs11_missing]")


def test_without_a_token_to_make_it_in_the_key_is_a_file(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIANJIAO_PKCS11_TOKEN")
    mianjiao("init", "--data", tmp_path / "plain")
    path = tmp_path / "plain" / "keys" / f"log-{YEAR}.key"
    assert path.read_text().startswith("PRIVATE+KEY+")


def test_it_is_backed_up_and_restored_without_the_token_and_signs_on_with_it(
    data: Path, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mianjiao("backup", "--data", data, "-o", tmp_path / "backup")
    saved = {name: os.environ[name] for name in os.environ if name.startswith("MIANJIAO_PKCS11")}
    unset(monkeypatch)
    token.take_out()
    restored = tmp_path / "restored"
    mianjiao(
        "restore", "--data", restored, "--from", tmp_path / "backup",
        "--keys", data / "keys", "--log", data / "log",
    )  # fmt: skip
    reference = f"keys/log-{YEAR}.key"
    assert (restored / reference).read_bytes() == (data / reference).read_bytes()
    assert refused(restored) == "token_not_configured"
    for name, value in saved.items():
        monkeypatch.setenv(name, value)
    token.put_back()
    token.tokens.library.close()
    processes = Processes(restored, tmp_path / "log.txt")
    processes.tokens = {one.key: one.token for one in issue_tokens(restored)}
    url, _ = processes.start("serve")
    caller = processes.caller(url)
    receipt = opened(caller)[1]
    policy = policy_of(restored)
    until(lambda: ledgered(caller, receipt, policy) is not None, "it does not sign on")
    processes.stop()
    assert processes.problems() == []
