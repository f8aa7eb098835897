"""Anchoring as an operator has it: commands, settings, the service, and a chain that is down."""

import base64
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from kernel.ids import IdKind, new_id
from ledger.anchoring.node import ChainNode
from ledger.anchoring.rpc import JsonRpc
from ledger.anchoring.signing import AnchorKey
from ledger.demands import parse_demands
from ledger.errors import DatabaseOlderThanLog, DemandsMalformed
from ledger.evm.headers import parse_header
from ledger.stamps.errors import AuthoritiesInvalid
from runtime.app import build_app
from runtime.errors import SettingInvalid
from runtime.settings import Settings
from runtime.store import Store, create_store, open_store
from tests.conftest import mianjiao
from tests.runtime.test_canary import value
from tests.servers.anvil import CHAIN_ID, COLD, HOT, Anvil
from tests.servers.stamp_authority import StampAuthority

COLD_TEXT = "0x" + COLD.hex()
SECONDS = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", "test.example")
    return tmp_path / "store"


@pytest.fixture
def chain(start_anvil: Callable[..., Anvil]) -> Anvil:
    made = start_anvil()
    made.give(AnchorKey(HOT).address)
    return made


@pytest.fixture
def config(tmp_path: Path, chain: Anvil) -> Path:
    """A file of settings for the chain, the key in a file of its own, without a contract."""
    key = tmp_path / "anchor.key"
    key.write_text(HOT + "\n")
    path = tmp_path / "mianjiao.toml"
    path.write_text(
        f'anchor_url = "{chain.url}"\n'
        f"anchor_chain_id = {CHAIN_ID}\n"
        f'anchor_key_file = "{key}"\n'
        'anchor_finality = "1"\nanchor_interval_seconds = 1\nanchor_timeout_seconds = 1\n'
    )
    return path


def deployed(data: Path, config: Path) -> str:
    """The contract's address, also put into the settings."""
    done = mianjiao(
        "anchor", "deploy", "--data", data, "--config", config, "--registrar", COLD_TEXT
    )
    address = done.stdout.split("MIANJIAO_ANCHOR_CONTRACT=")[1].strip()
    config.write_text(config.read_text() + f'anchor_contract = "{address}"\n')
    return address


def settings_for(url: str, contract: str = "0x" + "ab" * 20) -> Settings:
    return Settings(
        anchor_url=SecretStr(url),
        anchor_chain_id=CHAIN_ID,
        anchor_contract=contract,
        anchor_key=SecretStr(HOT),
        anchor_finality="1",
        anchor_interval_seconds=1,
        anchor_timeout_seconds=0.5,
    )


@pytest.fixture
def mining(chain: Anvil) -> Iterator[None]:
    """A block every tenth of a second, as a chain has them."""
    done = threading.Event()

    def mine() -> None:
        with closing(httpx2.Client(trust_env=False)) as client:
            while not done.wait(0.1):
                asked = {"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []}
                client.post(chain.url, json=asked)

    thread = threading.Thread(target=mine)
    thread.start()
    yield
    done.set()
    thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_next_shard_is_appointed_by_the_registrar(
    data: Path, config: Path, chain: Anvil
) -> None:
    address = deployed(data, config)
    told = mianjiao("anchor", "appointment", "2027", "--data", data, "--config", config).stdout
    call = {
        "from": COLD_TEXT,
        "to": told.split("to:")[1].split()[0],
        "data": told.split("data:")[1].split()[0],
    }
    assert call["to"] == address.lower()
    chain.give(COLD)
    chain.rpc("anvil_impersonateAccount", COLD_TEXT)
    chain.rpc("eth_sendTransaction", call)
    with closing(ChainNode(JsonRpc(chain.url, 10))) as node:
        head = node.head_of(bytes.fromhex(address[2:]), "test.example/2027")
    assert (head.anchorer, head.size) == (AnchorKey(HOT).address, 0)


@pytest.mark.usefixtures("mining")
def test_contract_anchor_status_and_demands_by_command(data: Path, config: Path) -> None:
    address = deployed(data, config)
    arguments = ("--data", data, "--config", config)
    before = json.loads(mianjiao("anchor", "status", *arguments, "--json").stdout)
    (source,) = before["sources"]
    assert (source["mined"], source["final"]) == (0, 0)
    after = json.loads(mianjiao("anchor", "once", *arguments, "--json").stdout)["sources"][0]
    assert after["final"] == after["mined"] == after["size"] == source["size"] > 0
    again = mianjiao("anchor", "once", *arguments)
    assert f"最终 final {after['size']}" in again.stdout
    demands = mianjiao("anchor", "demands", *arguments).stdout
    assert address in demands
    with pytest.raises(DemandsMalformed, match="demands_malformed"):
        parse_demands(demands.encode())  # whom to trust is for the verifier to say
    told = demands.replace('# blocks = ["0x…"]', f'blocks = ["0x{"11" * 32}"]')
    assert parse_demands(told.encode()).required == {f"chain {CHAIN_ID}"}


def test_the_service_anchors_and_tells_how_far_it_got(
    data: Path, config: Path, chain: Anvil, mining: None
) -> None:
    with open_store(data, settings_for(chain.url, deployed(data, config))) as store:
        client = TestClient(build_app(store, store.settings))
        assert evidence(client)["mined"] == 0
        store.start()
        until(lambda: complete(client))
        first = evidence(client)["final"]
        assert value(store, "evidence_size", source="chain", state="final") == first
        record(store)
        until(lambda: complete(client) and evidence(client)["final"] > first)
        assert evidence(client)["reason"] is None
        assert client.get("/health/ready").status_code == 200


def evidence(client: TestClient) -> dict[str, Any]:
    answer = client.get("/health/evidence").json()
    (source,) = answer["sources"]
    found: dict[str, Any] = source
    return found


def complete(client: TestClient) -> bool:
    """Every entry that wants evidence has it."""
    return evidence(client)["pending_since"] is None


def record(store: Store) -> str:
    entry = store.database.write(
        lambda tx: store.ledger.journal.record(
            tx, store.clock.now(), "material.registered", new_id(IdKind.MATERIAL), {"title": "x"}
        )
    )
    return entry.entry_id


def test_a_chain_that_is_down_blocks_nobody_and_is_caught_up(
    data: Path, config: Path, chain: Anvil, mining: None
) -> None:
    address = deployed(data, config)
    try:
        with open_store(data, settings_for(chain.url, address)) as store:
            client = TestClient(build_app(store, store.settings))
            store.start()
            until(lambda: complete(client))
            anchored = evidence(client)["final"]
            chain.stop()
            record(store)
            until(lambda: evidence(client)["reason"] == "chain_unavailable")
            slowest = 0.0
            for _ in range(20):
                begun = time.monotonic()
                assert store.ledger.wait_for(record(store), 10)
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 5
            assert client.get("/health/ready").status_code == 200
            assert evidence(client)["mined"] == anchored
            assert evidence(client)["pending_since"] is not None
            assert value(store, "evidence_failures_total", source="chain") >= 1
            chain.go_on()
            until(lambda: complete(client))
            assert evidence(client)["reason"] is None
    finally:
        chain.go_on()


def test_a_chain_that_knows_more_stops_the_start(
    data: Path, config: Path, chain: Anvil, mining: None, tmp_path: Path
) -> None:
    address = deployed(data, config)
    older = tmp_path / "older"
    shutil.copytree(data, older)
    with open_store(data, settings_for(chain.url, address)) as store:
        client = TestClient(build_app(store, store.settings))
        store.start()
        record(store)
        until(lambda: complete(client) and evidence(client)["final"] > 1)
    with open_store(older, settings_for(chain.url, address)) as store:
        before = store.ledger.checkpoint()
        with pytest.raises(DatabaseOlderThanLog):
            store.start()
        assert store.ledger.checkpoint() == before


def test_without_settings_there_is_nothing_and_it_is_said(data: Path) -> None:
    done = mianjiao("anchor", "status", "--data", data, expect=1)
    assert "not_anchoring" in done.stderr
    with open_store(data) as store:
        answer = TestClient(build_app(store, store.settings)).get("/health/evidence")
    assert answer.json() == {"sources": [], "witnesses": []}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"anchor_contract": None}, "MIANJIAO_ANCHOR_CONTRACT"),
        ({"anchor_key": SecretStr("0x12")}, "MIANJIAO_ANCHOR_KEY"),
        ({"anchor_url": SecretStr("node:8545")}, "MIANJIAO_ANCHOR_URL"),
    ],
)
def test_what_cannot_be_used_stops_the_start_by_name(
    data: Path, changes: dict[str, Any], name: str
) -> None:
    settings = settings_for("http://127.0.0.1:1").model_copy(update=changes)
    with open_store(data, settings) as store:
        with pytest.raises(SettingInvalid) as caught:
            store.start()
        assert caught.value.details["name"] == name


def test_an_address_that_is_none_is_refused(data: Path) -> None:
    done = mianjiao("anchor", "deploy", "--data", data, "--registrar", "0x12", expect=2)
    assert "address_unreadable" in done.stderr


@pytest.mark.usefixtures("mining")
def test_an_old_receipt_is_refreshed_and_verified_offline_under_demands(
    data: Path, config: Path, chain: Anvil, tmp_path: Path
) -> None:
    deployed(data, config)
    with open_store(data) as store:
        entry = record(store)
        store.ledger.sequence(store.clock.now())
        old, new = tmp_path / "old.json", tmp_path / "new.json"
        with store.database.read() as tx:
            old.write_bytes(store.ledger.evidence.receipt(tx, entry))
        policy = tmp_path / "policy"
        policy.write_text(store.ledger.policy_text())
    mianjiao("anchor", "once", "--data", data, "--config", config)
    with open_store(data) as store:  # grown on since: the anchor has a proof of its own
        record(store)
        store.ledger.sequence(store.clock.now())
    mianjiao("receipt", "refresh", old, "--data", data, "--output", new)
    (anchor,) = json.loads(new.read_text())["anchors"]
    assert new.stat().st_mode & 0o077 == 0
    pinned = json.loads(mianjiao("verify", new, "--policy", policy, "--json").stdout)["evidence"][
        "anchors"
    ]
    assert [one["state"] for one in pinned] == ["unchecked"]
    text = mianjiao("anchor", "demands", "--data", data, "--config", config).stdout
    demands = tmp_path / "demands.toml"
    block = block_of(chain, anchor["header"])
    demands.write_text(text.replace('# blocks = ["0x…"]', f'blocks = ["{block["hash"]}"]'))
    arguments = ("--policy", policy, "--demands", demands)
    done = mianjiao("verify", new, *arguments)
    assert f"区块 {int(block['number'], 16)}" in done.stdout
    assert f"block {int(block['number'], 16)} of the chain" in done.stdout
    told = json.loads(mianjiao("verify", new, *arguments, "--json").stdout)["evidence"]
    assert told["anchors"][0]["state"] == "holds"
    assert told["anchors"][0]["block_hash"] == block["hash"]
    assert told["proved_by"] == told["anchors"][0]["time"]
    refused = mianjiao("verify", old, *arguments, "--json", expect=1)
    assert json.loads(refused.stdout)["code"] == "demand_unmet"
    demands.write_text('format = "mianjiao.demands/v1"\n')
    refused = mianjiao("verify", new, *arguments, expect=2)
    assert "demands_empty" in refused.stdout
    again = mianjiao("receipt", "refresh", old, "--data", data, "--output", new, expect=2)
    assert "receipt_file_unreadable" in again.stderr


def block_of(chain: Anvil, header: str) -> dict[str, Any]:
    """The chain's own word for the block with this header."""
    number = parse_header(base64.b64decode(header)).number
    found: dict[str, Any] = chain.rpc("eth_getBlockByNumber", hex(number), False)
    return found


def test_a_receipt_of_another_log_or_place_is_not_refreshed(data: Path, tmp_path: Path) -> None:
    create_store(tmp_path / "other", "other.example")
    receipts = {}
    for folder in (data, tmp_path / "other"):
        with open_store(folder) as store:
            entry = record(store)
            store.ledger.sequence(store.clock.now())
            with store.database.read() as tx:
                receipts[folder] = store.ledger.evidence.receipt(tx, entry)
    path = tmp_path / "receipt.json"
    path.write_bytes(receipts[tmp_path / "other"])
    done = mianjiao("receipt", "refresh", path, "--data", data, expect=1)
    assert "receipt_elsewhere" in done.stderr
    path.write_bytes(receipts[data].replace(b"index 2", b"index 1"))
    assert path.read_bytes() != receipts[data]
    done = mianjiao("receipt", "refresh", path, "--data", data, expect=1)
    assert "inclusion_invalid" in done.stderr
    path.write_bytes(receipts[data].replace(b'"x"', b'"y"'))
    done = mianjiao("receipt", "refresh", path, "--data", data, expect=1)
    assert "commitment_mismatch" in done.stderr


def test_a_stamp_authority_that_is_down_is_caught_up(data: Path, tmp_path: Path) -> None:
    authority = StampAuthority(tmp_path / "authority")
    authority.mode = "error"
    (authority.folder / "authorities.toml").write_text(
        f'[[authority]]\nname = "stamps"\nurl = "{authority.url}"\n'
        'roots = "root.pem"\ncertificates = "between.pem"\n'
    )
    settings = Settings(
        stamp_authorities=str(authority.folder / "authorities.toml"), stamp_interval_seconds=1
    )
    with open_store(data, settings) as store:
        client = TestClient(build_app(store, settings))
        store.start()
        until(lambda: evidence(client)["reason"] == "stamp_unavailable")
        entry = record(store)
        assert store.ledger.wait_for(entry, 10)
        assert client.get("/health/ready").status_code == 200
        authority.mode = "good"
        until(lambda: complete(client))
        assert evidence(client)["reason"] is None
        receipt, policy = tmp_path / "receipt.json", tmp_path / "policy"
        with store.database.read() as tx:
            receipt.write_bytes(store.ledger.evidence.receipt(tx, entry))
        policy.write_text(store.ledger.policy_text())
    authority.close()
    roots = authority.roots.decode()
    demands = tmp_path / "demands.toml"
    demands.write_text(
        f'format = "mianjiao.demands/v1"\n[[stamp]]\nname = "stamps"\nroots = """{roots}"""\n'
    )
    done = mianjiao("verify", receipt, "--policy", policy, "--demands", demands)
    assert "时间戳 stamps" in done.stdout


def test_a_stamp_authority_that_trickles_holds_up_nobody(data: Path, tmp_path: Path) -> None:
    """Neither the log's rounds, nor the other authority, nor the end of the process."""
    slow, good = (StampAuthority(tmp_path / name) for name in ("slow", "good"))
    slow.mode = "trickle"
    path = tmp_path / "authorities.toml"
    path.write_text(
        "".join(
            f'[[authority]]\nname = "{one.folder.name}"\nurl = "{one.url}"\n'
            f'roots = "{one.folder.name}/root.pem"\n'
            f'certificates = "{one.folder.name}/between.pem"\n'
            for one in (slow, good)
        )
    )
    settings = Settings(
        stamp_authorities=str(path), stamp_interval_seconds=1, stamp_timeout_seconds=1
    )
    with open_store(data, settings) as store:
        client = TestClient(build_app(store, settings))

        def source(name: str) -> dict[str, Any]:
            told = client.get("/health/evidence").json()["sources"]
            (found,) = (one for one in told if one["name"] == name)
            return dict(found)

        store.start()
        until(lambda: slow.asked > 0)
        # It asks again and again, and is always in the middle of an answer.
        while slow.asked < 2:
            begun = time.monotonic()
            assert store.ledger.wait_for(record(store), 10)
            assert time.monotonic() - begun < 5
        until(lambda: source("slow")["reason"] == "stamp_unavailable")
        until(lambda: source("good")["pending_since"] is None)
        assert source("good")["reason"] is None
        assert source("slow")["final"] == 0
        slow.mode = "good"
        until(lambda: source("slow")["pending_since"] is None)
        slow.mode = "trickle"
        asked = slow.asked
        record(store)
        until(lambda: slow.asked > asked)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    slow.close()
    good.close()


def test_a_list_of_authorities_that_cannot_be_used_is_named(data: Path) -> None:
    with (
        pytest.raises(AuthoritiesInvalid),
        open_store(data, Settings(stamp_authorities=str(data / "none.toml"))),
    ):
        pass
