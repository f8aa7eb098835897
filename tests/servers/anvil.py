"""A real chain node on loopback: anvil, from the npm package that `make servers` installs."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2

CHAIN_ID = 20200
START_SECONDS = 30
HOT = "0x" + "11" * 32
COLD = bytes.fromhex("ee" * 20)


class Anvil:
    """One chain. Blocks are mined when a transaction comes, or not at all (`mining=False`)."""

    def __init__(self, binary: Path, folder: Path, *, mining: bool = True) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._ids = 0
        self._client = httpx2.Client(timeout=10, trust_env=False)
        options = [] if mining else ["--no-mining"]
        self._log = (folder / "anvil.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(binary, "--port", str(self.port), "--chain-id", str(CHAIN_ID), "--silent"),
                *("--slots-in-an-epoch", "1"),
                *options,
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise AssertionError((folder / "anvil.log").read_text())
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, method: str, *params: Any) -> Any:
        self._ids += 1
        asked = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": list(params)}
        answer = self._client.post(self.url, json=asked).json()
        assert "error" not in answer, answer
        return answer["result"]

    def give(self, address: bytes) -> None:
        """Money for gas."""
        self.rpc("anvil_setBalance", "0x" + address.hex(), hex(10**21))

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def send(self, raw: bytes) -> None:
        """A signed transaction, until it is mined: the node answers before that."""
        sent = self.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        deadline = time.monotonic() + START_SECONDS
        while self.rpc("eth_getTransactionReceipt", sent) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def block(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def stop(self) -> None:
        """It hangs: connections are taken, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._client.close()
        self._log.close()

    def _ready(self) -> bool:
        try:
            return bool(self.rpc("eth_chainId"))
        except httpx2.TransportError:
            return False
