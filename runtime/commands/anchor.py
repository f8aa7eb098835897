"""`mianjiao anchor`: the contract, a checkpoint now, how far it got, and what verifiers need."""

import json
import re
import sys
import time
from pathlib import Path

from kernel.clock import time_text
from ledger.anchoring.anchorer import Anchorer
from ledger.anchoring.deploying import deploy
from ledger.anchoring.errors import NotAnchoring
from ledger.evm import contract
from ledger.layout import origin_of
from runtime.errors import AddressUnreadable
from runtime.evidence import (
    CHAIN,
    EvidenceState,
    chain_id,
    make_anchorer,
    make_key,
    make_node,
)
from runtime.settings import Settings, read_settings
from runtime.store import Store, open_store

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_POLL = 1.0


def make_contract(data: Path, registrar: str, config: Path | None, seconds: float) -> int:
    """Make the contract with the anchoring key as this log's anchorer; say what to set."""
    if not _ADDRESS.fullmatch(registrar):
        raise AddressUnreadable()
    settings = read_settings(config)
    with open_store(data, settings) as store:
        node = make_node(settings)
        try:
            made = deploy(
                node,
                make_key(settings),
                chain_id=chain_id(settings),
                registrar=bytes.fromhex(registrar[2:]),
                origin=store.ledger.origin,
                price=settings.anchor_gas_price_wei,
                seconds=seconds,
            )
        finally:
            node.close()
    assert made.contract is not None  # noqa: S101 - `deploy` says so
    print(f"合约已建立 / contract made: 0x{made.contract.hex()}")
    print(f"  区块 block   {made.block}")
    print(f"  燃料 gas     {made.gas}")
    print(f"  设置 set     MIANJIAO_ANCHOR_CONTRACT=0x{made.contract.hex()}")
    return 0


def anchor_once(data: Path, config: Path | None, seconds: float, as_json: bool) -> int:
    """Anchor the newest checkpoint and wait until it is final, at most `seconds`.
    Exit 0: it is final; 1: not yet, and a service or the next call goes on."""
    settings = read_settings(config)
    with open_store(data, settings) as store:
        anchorer = make_anchorer(settings, store.ledger)
        try:
            _until_final(store, anchorer, seconds)
        finally:
            anchorer.close()
        state = _chain(store)
        _show([state], as_json)
        return 0 if state.pending_since is None else 1


def _until_final(store: Store, anchorer: Anchorer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    anchorer.step(store.clock.now(), now=True)
    while _chain(store).pending_since is not None:
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL)
        anchorer.step(store.clock.now())


def _chain(store: Store) -> EvidenceState:
    return next(one for one in store.evidence.states() if one.name == CHAIN)


def print_status(data: Path, config: Path | None, as_json: bool) -> int:
    """How far each source got, from the rows; no node is asked."""
    settings = read_settings(config)
    with open_store(data, settings) as store:
        _show(_configured(store), as_json)
    return 0


def print_demands(data: Path, config: Path | None) -> int:
    """What a verifier puts into the file of demands, to be completed with whom they trust."""
    settings = read_settings(config)
    with open_store(data, settings):
        if settings.anchor_contract is None:
            raise NotAnchoring()
    sys.stdout.write(_demands(settings))
    return 0


def print_appointment(data: Path, shard: str | None, config: Path | None) -> int:
    """The call that the registrar signs, somewhere else, so that the anchoring key may anchor
    this shard, or one that is to follow."""
    settings = read_settings(config)
    with open_store(data, settings) as store:
        origin, name = store.ledger.origin, store.ledger.origin.rpartition("/")[0]
    if settings.anchor_contract is None:
        raise NotAnchoring()
    if shard is not None:
        origin = origin_of(name, shard)
    call = contract.appoint_call(origin, make_key(settings).address)
    print(f"# {origin}：由管理员（冷钥）签发 / for the registrar's key to sign")
    print(f"to:   {settings.anchor_contract.lower()}")
    print(f"data: 0x{call.hex()}")
    return 0


def _demands(settings: Settings) -> str:
    return (
        'format = "mianjiao.demands/v1"\n\n'
        "# 请自行向链的维护方核实以下各项 / Ask those who run the chain, not only this file.\n"
        "[[chain]]\n"
        f'name = "chain {settings.anchor_chain_id}"\n'
        f'contract = "{(settings.anchor_contract or "").lower()}"\n'
        f'code_hash = "0x{contract.code_hash().hex()}"\n'
        f'consensus = "{settings.anchor_consensus}"\n'
        "# 二选一 / one of the two:\n"
        '# blocks = ["0x…"]      # 最终区块的哈希 / hashes of final blocks\n'
        '# validators = ["0x…"]  # 验证节点地址 / addresses of the validators\n'
    )


def _configured(store: Store) -> list[EvidenceState]:
    states = store.evidence.states()
    if not states:
        raise NotAnchoring()
    return states


def _show(states: list[EvidenceState], as_json: bool) -> None:
    if as_json:
        told = [
            {
                "name": one.name,
                "size": one.size,
                "waiting": one.reached.waiting,
                "mined": one.reached.mined,
                "final": one.reached.final,
                "pending_since": one.pending_since and time_text(one.pending_since),
            }
            for one in states
        ]
        print(json.dumps({"sources": told}))
        return
    for one in states:
        far = one.reached
        print(
            f"{one.name}: 日志 log {one.size} · 已上链 mined {far.mined} · 最终 final {far.final}"
        )
        if one.pending_since is not None:
            print(f"  待补全自 pending since {time_text(one.pending_since)}")
        if far.waiting > far.mined:
            print(f"  待确认 waiting {far.waiting}")
