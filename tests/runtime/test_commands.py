"""The command line, run as a user would: init, token, import, log, verify, export, fsck, serve."""

import base64
import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import httpx2
import pytest

from ledger.policy import parse_policy
from materials_api.back_files.manifest import COLUMNS
from runtime.demo.server import running_server
from tests.conftest import ROOT, Played, mianjiao
from tests.nursery import nursery

HOLDER = "111:310199199207089155"
COMPANY = "001:91310199MA1Y7K2D1G"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    mianjiao("init", "--data", tmp_path / "store", "--name", "hall.example")
    return tmp_path / "store"


def shard_of(data: Path) -> Path:
    (shard,) = (data / "log").iterdir()
    return shard


def manifest(folder: Path, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    path = folder / "清单.csv"
    with path.open("w", encoding=encoding, newline="") as target:
        writer = csv.DictWriter(target, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(number: int, files: str, **more: str) -> dict[str, str]:
    return {
        "holder_type": "001",
        "holder_code": "91310199MA1Y7K2D1G",
        "holder_name": "上海云间禾味餐饮管理有限公司",
        "material_type": "other",
        "title": f"存量材料 {number}",
        "source_case": f"旧-{number}",
        "matter": "000131014000",
        "provenance": "back_scan",
        "issued_at": "2020-01-02",
        "files": files,
        **more,
    }


def test_help_names_every_command() -> None:
    text = mianjiao("--help").stdout
    for command in (
        "init", "serve", "demo", "import", "verify", "fsck", "export", "token", "log",
    ):  # fmt: skip
        assert command in text


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runtime.cli; "
        "print([m for m in ('sqlalchemy', 'fastapi', 'pydantic', 'reportlab', 'PIL',"
        " 'openpyxl', 'cryptography', 'uvicorn', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve"], ["token", "--data", "x"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert mianjiao(*arguments, expect=2).returncode == 2


def test_init_lays_out_the_store_and_never_twice(data: Path) -> None:
    shard = shard_of(data)
    assert (data / "mianjiao.sqlite3").is_file()
    assert (data / "objects").is_dir()
    assert (shard / "checkpoint").read_text().startswith(f"hall.example/{shard.name}\n")
    for key in (data / "keys").iterdir():
        assert key.stat().st_mode & 0o077 == 0
    before = (data / "keys" / "vault.json").read_bytes()
    assert "store_exists" in mianjiao("init", "--data", data, expect=1).stderr
    assert (data / "keys" / "vault.json").read_bytes() == before


def test_commands_on_no_store_say_what_to_do(tmp_path: Path) -> None:
    serve, token = ["serve", "--port", "0"], ["token", "--role", "auditor"]
    for arguments in (["fsck"], serve, token, ["log", "checkpoint"]):
        done = mianjiao(*arguments, "--data", tmp_path / "none", expect=1)
        assert "mianjiao init" in done.stderr
    assert not (tmp_path / "none").exists()


def test_fresh_store_is_clean(data: Path) -> None:
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["clean"] is True


def test_token_registers_holder_and_capacity_and_prints_the_secret_alone(data: Path) -> None:
    done = mianjiao(
        "token", "--data", data, "--role", "applicant", "--holder", HOLDER,
        "--for", COMPANY, "--capacity", "operator",
    )  # fmt: skip
    secret = done.stdout.strip()
    assert secret.startswith("mj_")
    with running_server(data) as server:
        request = urllib.request.Request(
            f"{server.url}/v1/uses", headers={"Authorization": f"Bearer {secret}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["items"] == []


def test_a_token_is_listed_until_it_is_ended_and_then_opens_nothing(data: Path) -> None:
    def made(officer: str) -> str:
        options = ["--role", "window", "--org", "12310199MB2Y080841", "--officer", officer]
        return mianjiao("token", "--data", data, *options).stdout.strip()

    def listed() -> dict[str, str]:
        told = json.loads(mianjiao("token", "list", "--data", data, "--json").stdout)["tokens"]
        return {one["officer"]: one["credential_id"] for one in told}

    leaves, leaked, stays = made("陈晓岚"), made("林知远"), made("周文博")
    assert list(listed()) == ["陈晓岚", "林知远", "周文博"]
    assert leaves not in mianjiao("token", "list", "--data", data).stdout
    with running_server(data) as server:

        def status(secret: str) -> int:
            headers = {"Authorization": f"Bearer {secret}"}
            return httpx2.get(f"{server.url}/v1/cases", headers=headers).status_code

        assert [status(one) for one in (leaves, leaked, stays)] == [200, 200, 200]
        mianjiao("token", "revoke", listed()["陈晓岚"], "--data", data)
        subprocess.run(
            [sys.executable, "-m", "runtime.cli", "token", "revoke", "--data", str(data)],
            input=leaked + "\n", text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        assert [status(one) for one in (leaves, leaked, stays)] == [401, 401, 200]
    assert list(listed()) == ["周文博"]
    for one in ("tok_" + "0" * 26, "陈晓岚"):
        refused = mianjiao("token", "revoke", one, "--data", data, expect=None)
        assert "credential_not_found" in refused.stderr
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["clean"] is True


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--role", "applicant", "--holder", "111-310199"], "holder_unreadable"),
        (["--role", "applicant", "--for", COMPANY, "--capacity", "agent"], "capacity_without"),
        (["--role", "applicant", "--holder", "111:310199199207089156"], "citizen"),
        (["--role", "window"], "credential_invalid"),
    ],
)
def test_token_refuses_what_means_nothing(data: Path, options: list[str], code: str) -> None:
    done = mianjiao("token", "--data", data, *options, expect=None)
    assert done.returncode in (1, 2)
    assert code in done.stderr
    assert "Traceback" not in done.stderr


def test_the_manifest_that_the_page_shows_is_imported(data: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/import.md").read_text(encoding="utf-8")
    shown = page.partition("```csv\n")[2].partition("```")[0]
    (tmp_path / "清单.csv").write_text(shown, encoding="utf-8")
    (tmp_path / "证").mkdir()
    (tmp_path / "租赁合同（2019）.pdf").write_bytes(b"%PDF-1.4\n1")
    for name in ("正面", "反面"):
        (tmp_path / "证" / f"{name}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + name.encode())
    done = mianjiao("import", "--data", data, tmp_path / "清单.csv", "--json")
    assert json.loads(done.stdout)["imported"] == 2
    for name in COLUMNS:
        assert f"`{name}`" in page


def test_import_is_resumable_and_reports_refused_rows(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "back files"
    folder.mkdir()
    for number in range(5):
        (folder / f"档 {number}.pdf").write_bytes(b"%PDF-1.4\n" + bytes([number]) * 3000)
    rows = [row(number, f"档 {number}.pdf") for number in range(5)]
    rows.append(row(5, "../secret.pdf"))
    rows.append(row(6, "档 0.pdf", holder_code="91310199MA1Y7K2D1H"))
    path = manifest(folder, rows, "gb18030")
    first = json.loads(mianjiao("import", "--data", data, path, "--json", expect=1).stdout)
    assert (first["imported"], first["known"]) == (5, 0)
    assert [(one["line"], one["code"]) for one in first["refused"]] == [
        (7, "row_path"),
        (8, "row_holder"),
    ]
    report = Path(first["report"]).read_text(encoding="utf-8-sig")
    assert "row_path" in report
    assert "91310199MA1Y7K2D1H" not in report
    again = json.loads(mianjiao("import", "--data", data, path, "--json", expect=1).stdout)
    assert (again["imported"], again["known"]) == (0, 5)
    assert mianjiao("fsck", "--data", data).returncode == 0


def test_import_beside_a_server_and_for_people(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    path = manifest(tmp_path, [row(1, "a.bin")])
    with running_server(data):
        text = mianjiao("import", "--data", data, path).stdout
    assert "新导入 1" in text
    assert "1 imported" in text


def test_import_of_something_else_is_a_plain_error(data: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    assert "manifest_unreadable" in mianjiao("import", "--data", data, wrong, expect=2).stderr
    done = mianjiao("import", "--data", data, tmp_path / "none.csv", expect=2)
    assert "manifest_unreadable" in done.stderr


def test_a_killed_import_goes_on_without_duplicates(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    rows = []
    for number in range(1000):
        (folder / f"{number}.bin").write_bytes(number.to_bytes(4, "big") * 500)
        rows.append(row(number, f"{number}.bin"))
    path = manifest(folder, rows)
    running = nursery().start("import", "--data", data, path)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and running.poll() is None:
        if sum(1 for one in (data / "objects").rglob("*") if one.is_file()) > 100:
            break
        time.sleep(0.01)
    running.kill()
    running.wait()
    done = json.loads(mianjiao("import", "--data", data, path, "--json").stdout)
    assert done["imported"] + done["known"] == 1000
    third = json.loads(mianjiao("import", "--data", data, path, "--json").stdout)
    assert (third["imported"], third["known"]) == (0, 1000)
    assert mianjiao("fsck", "--data", data).returncode == 0


@pytest.mark.xdist_group("played")
def test_log_prints_checkpoint_proof_and_consistency(played: Played) -> None:
    checkpoint = mianjiao("log", "checkpoint", "--data", played.data).stdout
    size = int(checkpoint.splitlines()[1])
    assert checkpoint.splitlines()[0] == played.summary["origin"]
    proof = mianjiao("log", "proof", "3", "--data", played.data).stdout
    assert proof.startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
    assert proof.endswith(checkpoint)
    lines = mianjiao("log", "consistency", "5", "--data", played.data).stdout.splitlines()
    hashes = [one for one in lines[: lines.index("")] if len(one) == 44]
    assert hashes
    assert all(len(base64.b64decode(one, validate=True)) == 32 for one in hashes)
    beyond = mianjiao("log", "proof", str(size), "--data", played.data, expect=None)
    assert "index_beyond_log" in beyond.stderr
    for arguments in (["proof", str(size)], ["consistency", str(size + 1)], ["proof", "-1"]):
        done = mianjiao("log", *arguments, "--data", played.data, expect=None)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr


@pytest.mark.xdist_group("played")
def test_verify_needs_only_receipt_file_and_policy(played: Played, tmp_path: Path) -> None:
    own = played.own_files / "嵌套 目录" / "图 1.bin"
    wanted = hashlib.sha256(own.read_bytes()).hexdigest()
    receipt = next(
        path for path in Path(played.summary["receipts"]).iterdir() if wanted in path.read_text()
    )
    elsewhere = tmp_path / "r.json"
    elsewhere.write_bytes(receipt.read_bytes())
    policy = played.summary["policy"]
    done = mianjiao("verify", elsewhere, "--policy", policy, "--file", own, "--json")
    assert json.loads(done.stdout)["outcome"] == "valid"
    other = tmp_path / "other.bin"
    other.write_bytes(own.read_bytes()[:-1] + b"!")
    mianjiao("verify", elsewhere, "--policy", policy, "--file", other, expect=1)
    mianjiao("verify", tmp_path / "none", "--policy", policy, expect=2)
    mianjiao("verify", elsewhere, "--policy", own, expect=2)
    stranger = tmp_path / "policy.txt"
    stranger.write_text(
        "log other.example/2026+5aa33fe5+AQX6Hl1RXWpQLYn2hTq3XSkfdiuoyyx9zyBTVSSwsTd6\n"
        "quorum none\n"
    )
    assert mianjiao("verify", elsewhere, "--policy", stranger, expect=None).returncode in (1, 2)


@pytest.mark.xdist_group("played")
def test_export_names_a_case_by_number_and_refuses_a_used_target(
    played: Played, tmp_path: Path
) -> None:
    case = Path(played.summary["packages"][0]).name
    description = json.loads((Path(played.summary["packages"][0]) / "case.json").read_text())
    assert case in json.dumps(description)
    data = played.copy(tmp_path / "store")
    target = tmp_path / "package"
    mianjiao("export", case, "--data", data, "-o", target)
    mianjiao("verify", target, "--policy", played.summary["policy"])
    mianjiao("export", case, "--data", data, "-o", target, expect=1)
    assert mianjiao("fsck", "--data", data).returncode == 0


@pytest.mark.xdist_group("played")
def test_fsck_names_a_flipped_byte(played: Played, tmp_path: Path) -> None:
    data = played.copy(tmp_path / "store")
    victim = max((data / "objects").rglob("*"), key=lambda path: path.stat().st_size)
    victim.chmod(0o600)
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 4
    victim.write_bytes(content)
    found = json.loads(mianjiao("fsck", "--data", data, "--json", expect=1).stdout)
    assert found["clean"] is False
    assert any(victim.name in one["where"] or "mat_" in one["where"] for one in found["problems"])


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert mianjiao("--version").stdout.strip() == project["version"]


def test_nobody_is_let_in_before_the_store_is_served(data: Path, tmp_path: Path) -> None:
    """A proxy that finds a container too early passes on to another at once."""
    config, port = tmp_path / "config.toml", free_port()
    os.mkfifo(config)  # whoever reads it waits: the start is held up
    command = ["serve", "--data", str(data), "--port", str(port), "--config", str(config)]
    with subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", *command], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            settings = held_up(config)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 10).close()
            os.close(settings)
            assert process.stdout is not None
            process.stdout.readline()
            assert httpx2.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def held_up(config: Path) -> int:
    """A descriptor to write to, once somebody reads."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(config, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_serve_on_a_used_port_is_one_line(data: Path) -> None:
    with running_server(data) as server:
        port = server.url.rsplit(":", 1)[1]
        done = mianjiao("serve", "--data", data, "--port", port, expect=1)
    assert "address_in_use" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_serve_on_an_address_that_is_not_ours_says_why(data: Path) -> None:
    for host in ("nosuch.invalid", "192.0.2.1", "x" * 70):
        done = mianjiao("serve", "--data", data, "--host", host, "--port", "0", expect=1)
        assert "address_refused" in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_serve_on_ipv6(data: Path) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    process = nursery().start("serve", "--data", data, "--host", "::1", "--port", "0", "--json")
    url = json.loads(process.stdout.readline())["url"]
    assert url.startswith("http://[::1]:")
    assert httpx2.get(f"{url}/health/ready").status_code == 200
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_a_second_server_on_one_store_stands_by(data: Path) -> None:
    with running_server(data), running_server(data) as second:
        answer = httpx2.get(f"{second.url}/health/ready")
        assert answer.json() == {"status": "ready"}


def test_a_wrong_setting_is_named(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli", "fsck", "--data", str(data)],
        cwd=ROOT,
        env={"MIANJIAO_BATCH_INTERVAL_MS": "soon", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "MIANJIAO_BATCH_INTERVAL_MS" in done.stderr


@pytest.mark.xdist_group("played")
def test_the_served_log_is_the_folder(played: Played, tmp_path: Path) -> None:
    data = played.copy(tmp_path / "store")
    shard = shard_of(data)
    with running_server(data) as server:
        for path in sorted(path for path in shard.rglob("*") if path.is_file()):
            name = path.relative_to(shard).as_posix()
            with urllib.request.urlopen(f"{server.url}/log/{shard.name}/{name}") as answer:
                assert answer.read() == path.read_bytes()
    assert parse_policy(Path(played.summary["policy"]).read_bytes())
