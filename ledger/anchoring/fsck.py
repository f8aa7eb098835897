"""`fsck` of anchoring: kept evidence and transactions against the log and against themselves."""

from sqlalchemy import RowMapping, select

from kernel.canonical import parse_record
from ledger.anchoring.rows import (
    CHAIN_KIND,
    FINAL,
    LOST,
    MINED,
    PENDING,
    REFUSED,
    REORGANISED,
    REPLACED,
    REVERTED,
    STAMP_KIND,
)
from ledger.anchors import chain_evidence, stamp_parts
from ledger.checkpoints import parse_checkpoint
from ledger.errors import NotInLog, NotYetLogged
from ledger.fsck_reading import Findings
from ledger.problems import Problem
from ledger.service import Ledger
from ledger.tables import anchors, chain_transactions

_SENTENCES = {
    "anchor_altered": (
        "所存外部证据与日志或自身不符：{detail}",
        "kept evidence disagrees with the log or with itself: {detail}",
    ),
}
_REASONS = {None, REVERTED, REPLACED, REORGANISED, REFUSED}


def check_anchoring(ledger: Ledger) -> list[Problem]:
    """Every kept row. A lost one loses evidence, and contradicts nothing."""
    found = Findings(_SENTENCES)
    for table, check in ((anchors, _anchor), (chain_transactions, _transaction)):
        with found.guarded(table.name):
            with ledger.database.read() as tx:
                rows = tx.all(select(table))
            for row in rows:
                where = f"{table.name}/"
                with found.guarded(where, "row_unreadable"):
                    wrong = [*_checkpoint(ledger, row), *check(row)]
                    found.columns("anchor_altered", where, wrong)
    return found.problems


def _checkpoint(ledger: Ledger, row: RowMapping) -> list[str]:
    signed = parse_checkpoint(row["checkpoint"])
    head = signed.checkpoint
    try:
        reader = ledger.reader_of(row["shard"])
    except (NotInLog, NotYetLogged):
        return ["shard"]
    wrong = []
    if row["size"] != head.size:
        wrong.append("size")
    if not wrong:
        reader.verify(signed)
        if reader.root(head.size) != head.root:
            wrong.append("checkpoint")
    return wrong


def _anchor(row: RowMapping) -> list[str]:
    fields = parse_record(row["evidence"])
    wrong = [] if row["state"] in (MINED, FINAL) else ["state"]
    if row["kind"] == STAMP_KIND:
        stamp_parts(fields)
    elif row["kind"] == CHAIN_KIND:
        chain_evidence(fields)
        if row["source"] != f"{fields['chain_id']}:{fields['contract']}":
            wrong.append("source")
    else:
        wrong.append("kind")
    return wrong


def _transaction(row: RowMapping) -> list[str]:
    # Only where there are some: chain libraries are slow to load.
    from ledger.evm.contract import anchor_call
    from ledger.evm.keccak import keccak
    from ledger.evm.rlp_items import decode_list, number, octets

    head = parse_checkpoint(row["checkpoint"]).checkpoint
    nonce, price, _gas, to, _value, data, v, _r, _s = decode_list(row["raw"])
    told = {
        "transaction_hash": keccak(row["raw"]),
        "nonce": number(nonce),
        "price": number(price),
        "source": f"{(number(v) - 35) // 2}:0x{octets(to).hex()}",
        "root": head.root,
    }
    wrong = [name for name, value in told.items() if row[name] != value]
    call = anchor_call(head.origin, row["previous_size"], row["size"], head.root)
    if octets(data) != call:
        wrong.append("previous_size")
    if row["state"] not in (PENDING, MINED, FINAL, LOST):
        wrong.append("state")
    if row["reason"] not in _REASONS:
        wrong.append("reason")
    return wrong
