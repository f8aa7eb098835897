"""`mianjiao log`: what the tamper-evident log says, for people and outside tools."""

import sys
from pathlib import Path

from ledger.demands import demands_text
from runtime.errors import IndexBeyondLog, SettingInvalid
from runtime.store import head_memory, open_store


def print_checkpoint(data: Path) -> int:
    """The newest published checkpoint, exactly as served."""
    with open_store(data) as store:
        sys.stdout.write(store.ledger.reader.checkpoint_text())
    return 0


def print_policy(data: Path) -> int:
    """The trust policy of whoever trusts this log's keys and nobody else."""
    with open_store(data) as store:
        sys.stdout.write(store.ledger.policy_text())
    return 0


def print_retired(data: Path) -> int:
    """The tables of a demands file that pin the ends of earlier shards (TOML)."""
    with open_store(data) as store:
        sys.stdout.write(demands_text(store.ledger.readers.finals()))
    return 0


def remember(data: Path) -> int:
    """Make the file of `MIANJIAO_HIGH_WATER_FILE` anew, from what is published now."""
    with open_store(data) as store:
        memory = head_memory(store.settings)
        if memory is None:
            raise SettingInvalid(
                name="MIANJIAO_HIGH_WATER_FILE", rule="没有设置", rule_en="it is not set"
            )
        signed = store.ledger.signed_checkpoint()
        memory.create(signed.encode())
    print(f"{memory.name}: {signed.checkpoint.origin} {signed.checkpoint.size}")
    return 0


def print_proof(data: Path, index: int) -> int:
    """A `tlog-proof` of one leaf against the newest checkpoint. `IndexBeyondLog`."""
    with open_store(data) as store:
        size = store.ledger.reader.published().checkpoint.size
        if not 0 <= index < size:
            raise IndexBeyondLog(index=index, size=size)
        sys.stdout.write(store.ledger.reader.proof_text(index))
    return 0


def print_consistency(data: Path, old: int) -> int:
    """The hashes that prove the tree of size `old` a prefix of today's, one per line, base64."""
    with open_store(data) as store:
        sys.stdout.write(store.ledger.reader.consistency_text(old))
    return 0
