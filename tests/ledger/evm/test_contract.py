"""The contract's rules, run by py-evm: an EVM that others wrote."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils import keccak, to_canonical_address

from ledger.evm import contract
from tests.servers.evm import ROOT, find_tools

# py-evm raises the limit for the whole process; other tests feed parsers what nests deep.
_LIMIT = sys.getrecursionlimit()
import eth  # noqa: E402, F401 - loaded late otherwise
from eth_tester import EthereumTester  # noqa: E402
from eth_tester.exceptions import TransactionFailed  # noqa: E402

sys.setrecursionlimit(_LIMIT)

ORIGIN = "log.example/2026"
FOLDER = ROOT / "ledger/evm/contract"
ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def selector(signature: str) -> bytes:
    return bytes(keccak(text=signature)[:4])


class Chain:
    """A chain with the contract: `cold` is its registrar, `hot` anchors `ORIGIN`."""

    def __init__(self) -> None:
        self.tester = EthereumTester()
        self.cold, self.hot, self.other = self.tester.get_accounts()[:3]
        data = contract.deployment(
            to_canonical_address(self.cold), ORIGIN, to_canonical_address(self.hot)
        )
        receipt = self._send(self.other, None, data)
        self.address: str = receipt["contract_address"]
        self.deploy_gas: int = receipt["gas_used"]

    def _send(self, sender: str, to: str | None, data: bytes) -> dict[str, Any]:
        transaction: dict[str, Any] = {
            "from": sender,
            "gas": 2_000_000,
            "gas_price": 10**10,
            "data": "0x" + data.hex(),
        }
        if to is not None:
            transaction["to"] = to
        sent = self.tester.send_transaction(transaction)
        found: dict[str, Any] = self.tester.get_transaction_receipt(sent)
        if found["status"] == 0:
            self.tester.call(transaction)  # mined and undone: asked again, it says why
            raise AssertionError("failed once, and not again")
        return found

    def send(self, sender: str, data: bytes) -> dict[str, Any]:
        return self._send(sender, self.address, data)

    def call(self, data: bytes) -> bytes:
        result = self.tester.call(
            {"from": self.other, "to": self.address, "gas": 1_000_000, "data": "0x" + data.hex()}
        )
        return bytes.fromhex(result.removeprefix("0x"))

    def anchor(self, previous: int, size: int, root: bytes, sender: str | None = None) -> int:
        """The gas used."""
        data = contract.anchor_call(ORIGIN, previous, size, root)
        receipt = self.send(sender or self.hot, data)
        used: int = receipt["gas_used"]
        return used

    def root(self, size: int) -> bytes:
        return self.call(contract.root_of_call(ORIGIN, size))

    def head(self) -> contract.Head:
        return contract.read_head(self.call(contract.head_of_call(ORIGIN)))

    def refused(self, error: str, *values: Any, types: str = "") -> Any:
        """Expect a revert with this error of the contract, and no change."""
        expected = selector(f"{error}({types})") + encode([types] if types else [], values)
        return pytest.raises(TransactionFailed, match=f"^{re.escape(repr(expected))}$")


@pytest.fixture
def chain() -> Iterator[Chain]:
    made = Chain()
    yield made
    # Whatever a test did, the head has a root, and no size beyond it has one.
    head = made.head()
    assert head.size == 0 or made.root(head.size) != bytes(32)
    assert made.root(head.size + 1) == bytes(32)


def test_anchors_are_stored_and_chained(chain: Chain) -> None:
    chain.anchor(0, 5, ONE)
    first = chain.head()
    assert (first.anchorer, first.size) == (to_canonical_address(chain.hot), 5)
    chain.anchor(5, 9, TWO)
    assert (chain.root(5), chain.root(9), chain.root(7)) == (ONE, TWO, bytes(32))
    types = ["bytes32", "bytes32", "uint64", "uint64", "bytes32"]
    origin = contract.origin_id(ORIGIN)
    assert first.link == keccak(encode(types, [bytes(32), origin, 0, 5, ONE]))
    assert chain.head().link == keccak(encode(types, [first.link, origin, 5, 9, TWO]))


def test_an_equal_repeat_changes_nothing(chain: Chain) -> None:
    chain.anchor(0, 5, ONE)
    chain.anchor(5, 9, TWO)
    before = chain.head()
    chain.anchor(5, 9, TWO)
    chain.anchor(0, 5, ONE)
    chain.anchor(1, 9, TWO)
    assert chain.head() == before


def test_a_fork_reverts(chain: Chain) -> None:
    chain.anchor(0, 5, ONE)
    chain.anchor(5, 9, TWO)
    with chain.refused("OtherRoot", TWO, types="bytes32"):
        chain.anchor(5, 9, THREE)
    with chain.refused("OtherRoot", ONE, types="bytes32"):
        chain.anchor(0, 5, TWO)
    assert (chain.root(5), chain.root(9), chain.head().size) == (ONE, TWO, 9)


@pytest.mark.parametrize(("previous", "size"), [(0, 9), (4, 9), (6, 9), (9, 10), (4, 4)])
def test_a_wrong_previous_size_reverts(chain: Chain, previous: int, size: int) -> None:
    chain.anchor(0, 5, ONE)
    with chain.refused("WrongPreviousSize", 5, types="uint64"):
        chain.anchor(previous, size, TWO)


@pytest.mark.parametrize("size", [0, 1, 4])
def test_no_growth_reverts(chain: Chain, size: int) -> None:
    chain.anchor(0, 5, ONE)
    with chain.refused("NoGrowth"):
        chain.anchor(5, size, TWO)


def test_size_zero_is_no_growth(chain: Chain) -> None:
    with chain.refused("NoGrowth"):
        chain.anchor(0, 0, ONE)


def test_a_zero_root_reverts(chain: Chain) -> None:
    with chain.refused("ZeroRoot"):
        chain.anchor(0, 5, bytes(32))


def test_nobody_else_anchors_not_even_the_registrar(chain: Chain) -> None:
    for sender in (chain.cold, chain.other):
        with chain.refused("NotAnchorer"):
            chain.anchor(0, 5, ONE, sender)


def test_a_stolen_anchorer_is_replaced_and_what_was_anchored_stays(chain: Chain) -> None:
    chain.anchor(0, 5, ONE)
    fresh = to_canonical_address(chain.other)
    with chain.refused("NotRegistrar"):
        chain.send(chain.hot, contract.appoint_call(ORIGIN, fresh))
    chain.send(chain.cold, contract.appoint_call(ORIGIN, fresh))
    with chain.refused("NotAnchorer"):
        chain.anchor(5, 9, TWO, chain.hot)
    chain.anchor(5, 9, TWO, chain.other)
    assert (chain.root(5), chain.root(9)) == (ONE, TWO)


def test_logs_do_not_touch_each_other(chain: Chain) -> None:
    chain.anchor(0, 5, ONE)
    other = "log.example/2027"
    with chain.refused("NotAnchorer"):
        chain.send(chain.hot, contract.anchor_call(other, 0, 5, TWO))
    chain.send(chain.cold, contract.appoint_call(other, to_canonical_address(chain.hot)))
    chain.send(chain.hot, contract.anchor_call(other, 0, 5, TWO))
    assert chain.call(contract.root_of_call(other, 5)) == TWO
    assert chain.root(5) == ONE


def test_the_registrar_hands_over(chain: Chain) -> None:
    fresh = to_canonical_address(chain.other)
    with chain.refused("NotRegistrar"):
        chain.send(chain.hot, contract.change_registrar_call(fresh))
    with chain.refused("ZeroRegistrar"):
        chain.send(chain.cold, contract.change_registrar_call(bytes(20)))
    chain.send(chain.cold, contract.change_registrar_call(fresh))
    with chain.refused("NotRegistrar"):
        chain.send(chain.cold, contract.appoint_call(ORIGIN, fresh))
    chain.send(chain.other, contract.appoint_call(ORIGIN, fresh))
    (registrar,) = decode(["address"], chain.call(selector("registrar()")))
    assert to_canonical_address(registrar) == fresh


def test_the_contract_takes_no_money_and_knows_no_other_call(chain: Chain) -> None:
    for data in (b"", b"\x00" * 4, b"\xff" * 36):
        with pytest.raises(TransactionFailed):
            chain.send(chain.hot, data)


def test_the_code_on_the_chain_is_the_artifacts(chain: Chain) -> None:
    code = bytes.fromhex(chain.tester.get_code(chain.address).removeprefix("0x"))
    assert keccak(code) == contract.code_hash()


def test_gas_stays_what_the_documents_say(chain: Chain) -> None:
    first, second = chain.anchor(0, 5, ONE), chain.anchor(5, 9, TWO)
    repeat = chain.anchor(5, 9, TWO)
    documents = (ROOT / "docs/anchoring.md").read_text(encoding="utf-8")
    for gas in (chain.deploy_gas, first, second, repeat):
        assert f"{gas:,}" in documents, (chain.deploy_gas, first, second, repeat)


def test_the_source_compiles_to_the_artifact() -> None:
    tools = find_tools()
    if tools is None or shutil.which("node") is None:
        assert os.environ.get("CI") != "true", "CI=true, and `make servers` installed no compiler"
        pytest.skip("no Solidity compiler: make servers")
    compiled = subprocess.run(
        ["node", ROOT / "scripts/evm/compile.js", FOLDER / "MianjiaoAnchors.sol"],
        cwd=tools,
        capture_output=True,
        text=True,
        check=True,
    )
    stored = Path(FOLDER / "MianjiaoAnchors.json").read_text(encoding="utf-8")
    assert json.loads(compiled.stdout) == json.loads(stored)
    assert compiled.stdout == stored
