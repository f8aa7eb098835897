"""`fsck` of anchoring: kept evidence and transactions against the log and against themselves."""

from hashlib import sha256

from sqlalchemy import RowMapping, select

from kernel.canonical import JsonValue, parse_record
from kernel.clock import time_text
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
from ledger.fsck_reading import Findings, pages
from ledger.leaves import EVIDENCE, PublicLeaf, parse_leaf
from ledger.problems import Problem
from ledger.service import Ledger
from ledger.tables import anchors, chain_transactions, evidence_in_log, ledger_entries

_SENTENCES = {
    "anchor_altered": (
        "所存外部证据与日志或自身不符：{detail}",
        "kept evidence disagrees with the log or with itself: {detail}",
    ),
    "evidence_altered": (
        "所公布的外部证据与日志中的摘要不符：{detail}",
        "published evidence disagrees with its digest in the log: {detail}",
    ),
    "evidence_lost": (
        "日志载有摘要的外部证据已丢失：{detail}",
        "evidence whose digest is in the log is lost: {detail}",
    ),
}
_NOTHING: tuple[JsonValue, list[dict[str, JsonValue]]] = (None, [])
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
    _published(ledger, found)
    return found.problems


def _published(ledger: Ledger, found: Findings) -> None:
    """Documents against their digests and the leaves that name them, and the other way round."""
    table, entries = evidence_in_log, ledger_entries.c
    where, kept = f"{table.name}/", set[str]()
    with found.guarded(table.name):
        with ledger.database.read() as tx:
            query = select(entries.entry_id, entries.leaf).where(entries.kind == EVIDENCE)
            leaves = {row["entry_id"]: row["leaf"] for row in tx.all(query)}
        named = {entry_id: _named(leaf) for entry_id, leaf in leaves.items()}
        for page in pages(ledger.database, table.c.digest):
            kept |= {digest.hex() for digest in page}
            with ledger.database.read() as tx:
                rows = tx.all(select(table).where(table.c.digest.in_(page)))
                sources = [row["anchor"] for row in rows]
                made_from = {
                    row["position"]: row
                    for row in tx.all(select(anchors).where(anchors.c.position.in_(sources)))
                }
            for row in rows:
                with found.guarded(where, "row_unreadable"):
                    wrong = _document(ledger, row, named.get(row["entry_id"], _NOTHING))
                    found.columns("evidence_altered", where, wrong)
                with found.guarded(f"{anchors.name}/", "row_unreadable"):
                    if _differs(made_from.get(row["anchor"]), row):
                        found.add("anchor_altered", f"{anchors.name}/", "evidence")
        for _, items in named.values():
            for item in items:
                if item.get("sha256") not in kept:
                    found.add("evidence_lost", where, str(item.get("sha256")))


def _differs(kept: RowMapping | None, row: RowMapping) -> bool:
    """Whether kept evidence is another than the document that was made from it. One that was
    renewed since has another end."""
    if kept is None or kept["expires_at"] != row["expires_at"]:
        return False
    fields = parse_record(row["document"])
    same = fields["evidence"] == parse_record(kept["evidence"])
    return not same or fields["checkpoint"] != bytes(kept["checkpoint"]).decode()


def _named(leaf: bytes) -> tuple[JsonValue, list[dict[str, JsonValue]]]:
    """The time of a leaf, and what it names."""
    parsed = parse_leaf(leaf)
    if not isinstance(parsed, PublicLeaf):
        return _NOTHING
    items = parsed.body.get("evidence")
    listed = items if isinstance(items, list) else []
    return parsed.body.get("at"), [item for item in listed if isinstance(item, dict)]


def _document(
    ledger: Ledger, row: RowMapping, named: tuple[JsonValue, list[dict[str, JsonValue]]]
) -> list[str]:
    fields = parse_record(row["document"])
    text = fields["checkpoint"]
    signed = parse_checkpoint(text.encode() if isinstance(text, str) else b"")
    head = signed.checkpoint
    told = {
        "digest": sha256(row["document"]).digest(),
        "kind": fields["kind"],
        "source": fields["source"],
        "shard": head.origin.rpartition("/")[2],
        "size": head.size,
    }
    wrong = [name for name, value in told.items() if row[name] != value]
    if not wrong:
        try:
            reader = ledger.readers.of(row["shard"])
        except (NotInLog, NotYetLogged):
            return ["shard"]
        reader.verify(signed)
        if reader.root(head.size) != head.root:
            wrong.append("document")
    at, items = named
    item = {"kind": row["kind"], "origin": head.origin, "size": row["size"]}
    if {**item, "sha256": row["digest"].hex()} not in items:
        wrong.append("entry_id")
    elif at != time_text(row["at"]):
        wrong.append("at")
    return wrong


def _checkpoint(ledger: Ledger, row: RowMapping) -> list[str]:
    signed = parse_checkpoint(row["checkpoint"])
    head = signed.checkpoint
    try:
        reader = ledger.readers.of(row["shard"])
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
