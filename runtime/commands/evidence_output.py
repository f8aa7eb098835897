"""What a verification says of evidence: of one receipt, or of all receipts of a package alike.

Pairs of sentences, Chinese and English; and the same for programs.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from kernel.canonical import JsonValue
from kernel.clock import time_text
from ledger.anchor_checks import AnchorOutcome, AnchorState
from ledger.policy import CheckpointEvidence
from ledger.receipts import Evidence

Pair: TypeAlias = tuple[str, str]

_KINDS = {"chain": ("链上证据", "evidence of a chain"), "stamp": ("时间戳", "a time stamp")}


# --- JSON ----------------------------------------------------------------------------


def evidence_json(evidence: Evidence) -> dict[str, object]:
    record = evidence.record
    return {
        "origin": evidence.origin,
        "index": evidence.index,
        "size": evidence.size,
        "root": base64.b64encode(evidence.root).decode(),
        "trust": "operator-only" if evidence.operator_only else "quorum",
        **signed_json(evidence.checkpoint),
        "anchors": [_anchor_json(one) for one in evidence.anchors],
        "proved_by": time_json(evidence.proved_by),
        "kind": record.get("kind"),
        "entity": record.get("entity"),
        "at": record.get("at"),
    }


def signed_json(signed: CheckpointEvidence) -> dict[str, object]:
    """Who signed a checkpoint."""
    return {
        "post_quantum": signed.post_quantum,
        "log_keys": [key.text for key in signed.log_keys],
        "absent_log_keys": [key.text for key in signed.absent_log_keys],
        "witnesses": [
            {"name": name, "time": signature.time}
            for name, signature in sorted(signed.cosignatures.items())
        ],
        "unknown_signatures": signed.unknown_signatures,
    }


def time_json(time: datetime | None) -> str | None:
    return None if time is None else time_text(time)


def _anchor_json(outcome: AnchorOutcome) -> dict[str, object]:
    signed = outcome.signed
    return {
        "kind": outcome.kind,
        "state": outcome.state.value,
        "name": outcome.name,
        "size": outcome.size,
        "time": time_json(outcome.time),
        "block": outcome.block,
        "block_hash": None if outcome.block_hash is None else "0x" + outcome.block_hash.hex(),
        "renewals": outcome.renewals,
        "until": time_json(outcome.until),
        "log_keys": None if signed is None else [key.text for key in signed.log_keys],
        "absent_log_keys": None if signed is None else [key.text for key in signed.absent_log_keys],
        "code": None if outcome.error is None else outcome.error.code,
    }


# --- For people: what holds ----------------------------------------------------------


def logged(evidence: Evidence) -> Pair:
    record = evidence.record
    kind, at = _word(record, "kind"), _word(record, "at")
    origin = clean(evidence.origin)
    return (
        f"记录 {kind}（{at}）是日志 {origin} 的第 {evidence.index} 条（从 0 起）；"
        f"签名的检查点有 {evidence.size} 条",
        f"the record {kind} ({at}) is entry {evidence.index} (from 0) of the log {origin}, "
        f"whose signed checkpoint has {evidence.size} entries",
    )


def signed(checkpoints: Sequence[CheckpointEvidence]) -> Iterator[Pair]:
    """Post-quantum signature and cosignatures: what holds of every checkpoint."""
    if checkpoints and all(one.post_quantum for one in checkpoints):
        yield (
            "日志另有抗量子签名（ML-DSA-44），亦成立",
            "the log's post-quantum signature (ML-DSA-44) holds too",
        )
    names = [set(one.cosignatures) for one in checkpoints]
    common = sorted(set.intersection(*names)) if names else []
    if common:
        shown = ", ".join(clean(name.encode("latin-1").decode("utf-8", "replace"))
                          for name in common)  # fmt: skip
        yield f"见证人已联署：{shown}", f"witnesses cosigned: {shown}"


def anchored(evidence: Evidence) -> Iterator[Pair]:
    """Each anchor of one receipt that holds."""
    for one in evidence.anchors:
        if one.state is not AnchorState.HOLDS or one.time is None:
            continue
        name, at = clean(one.name or ""), time_text(one.time)
        if one.kind == "chain":
            yield (
                f"区块链 {name} 的区块 {one.block} 存有该日志 {one.size} 条时的树根"
                f"（出块方所称时间 {at}）",
                f"block {one.block} of the chain {name} holds the root of the log at {one.size} "
                f"entries (at {at}, as its proposer said)",
            )
        else:
            until = time_text(one.until) if one.until else "?"
            yield (
                f"时间戳 {name}：{at} 之前已存证（日志 {one.size} 条时的检查点）；"
                f"续期 {one.renewals} 次，证书最早到期 {until}",
                f"time stamp {name}: logged before {at} (checkpoint of {one.size} entries); "
                f"renewals: {one.renewals}; the first of its certificates ends at {until}",
            )


def anchored_together(receipts: Sequence[Evidence]) -> Iterator[Pair]:
    """By source, for how many receipts of a package its evidence holds, and the last time."""
    total = len(receipts)
    for (kind, name), held in sorted(_by_source(receipts).items()):
        count, shown = len(held), clean(name)
        latest = time_text(max(one.time for one in held if one.time is not None))
        if kind == "chain":
            blocks = sorted({one.block for one in held if one.block is not None})
            zh = f"区块链 {shown} 的区块 {_span(blocks)}"
            yield (
                f"{zh} 存有日志树根，涵盖 {count}/{total} 份凭证（出块方所称时间，最晚 {latest}）",
                f"the chain {shown} holds roots of the log in block {_span(blocks)}, for {count} "
                f"of {total} receipts (at {latest} at the latest, as its proposers said)",
            )
        else:
            until = min((one.until for one in held if one.until is not None), default=None)
            ends = "?" if until is None else time_text(until)
            renewals = min(one.renewals for one in held)
            yield (
                f"时间戳 {shown}：{count}/{total} 份凭证的记录在 {latest} 之前已存证；"
                f"续期至少 {renewals} 次，证书最早到期 {ends}",
                f"time stamp {shown}: the records of {count} of {total} receipts were logged "
                f"before {latest}; renewals: {renewals} or more; the first certificate ends at "
                f"{ends}",
            )
    if receipts and (by := proved_by(receipts)) is not None:
        yield (
            f"全部 {total} 条记录最晚在 {time_text(by)} 已存证（由外部证据证明）",
            f"all {total} records stood in the log at {time_text(by)} at the latest, by evidence "
            "from outside",
        )


def proved_by(receipts: Sequence[Evidence]) -> datetime | None:
    """From when at the latest all of them stood in the log; None if nothing says so of one."""
    times = [one.proved_by for one in receipts]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _by_source(receipts: Iterable[Evidence]) -> dict[tuple[str, str], list[AnchorOutcome]]:
    """What holds, at most once for a receipt and a source: the earliest."""
    found: dict[tuple[str, str], list[AnchorOutcome]] = {}
    for evidence in receipts:
        first: dict[tuple[str, str], AnchorOutcome] = {}
        for one in evidence.anchors:
            if one.state is AnchorState.HOLDS and one.time is not None:
                source = (one.kind, one.name or "")
                known = first.get(source)
                if known is None or known.time is None or one.time < known.time:
                    first[source] = one
        for source, one in first.items():
            found.setdefault(source, []).append(one)
    return found


def _span(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return str(first) if first == last else f"{first}–{last}"


# --- For people: what does not hold --------------------------------------------------


def unsigned(checkpoints: Sequence[CheckpointEvidence]) -> Iterator[Pair]:
    """Keys of the log that the policy lists, and that did not sign."""
    for key in dict.fromkeys(key for one in checkpoints for key in one.absent_log_keys):
        shown = clean(key.text.rsplit("+", 1)[0])
        what = _algorithm(key.type.value)
        yield (
            f"信任策略列有日志公钥 {shown}（{what}），但检查点无此签名",
            f"the policy lists the log's key {shown} ({what}), which did not sign the checkpoint",
        )


def unproved(receipts: Sequence[Evidence], *, together: bool) -> Iterator[Pair]:
    """Anchors that fail, that nobody is known for, or whose checkpoint lacks a signature.
    `together`: of a package, where the same is said once, and of how many receipts."""
    seen: Counter[Pair] = Counter()
    for evidence in receipts:
        seen.update(dict.fromkeys(_unproved(evidence), 1) if together else _unproved(evidence))
    for (zh, en), count in seen.items():
        if together:
            yield f"{zh}（{count} 份凭证）", f"{en} ({count} receipts)"
        else:
            yield from [(zh, en)] * count
    without = sum(one.proved_by is None for one in receipts)
    if without:
        which = f"{without}/{len(receipts)} 份凭证" if together else "凭证"
        of = f", for {without} of {len(receipts)} receipts" if together else ""
        yield (
            f"{which}没有成立的外部证据能证明最晚存证时间",
            f"no evidence from outside that holds says from when at the latest it was logged{of}",
        )


def _unproved(evidence: Evidence) -> Iterator[Pair]:
    for one in evidence.anchors:
        zh, en = _KINDS.get(one.kind, _KINDS["stamp"])
        if one.error is not None:
            yield (
                f"{zh}不成立：{clean(one.error.message_zh())}",
                f"{en} does not hold: {clean(one.error.message_en())} [{one.error.code}]",
            )
        elif one.state is AnchorState.UNCHECKED:
            yield (
                f"凭证附有{zh}，但不知应信任谁，未核验：可用 --demands 指定",
                f"{en} is attached but was not checked: --demands says whom you trust",
            )
        elif one.signed is not None and one.signed.absent_log_keys:
            missing = ", ".join(
                dict.fromkeys(_algorithm(key.type.value) for key in one.signed.absent_log_keys)
            )
            yield (
                f"{zh}所附的检查点缺少信任策略所列日志公钥的签名（{missing}）",
                f"{en}: its checkpoint lacks a signature by a key that the policy lists for "
                f"the log ({missing})",
            )


def _algorithm(type_: int) -> str:
    return {0x01: "Ed25519", 0x06: "ML-DSA-44"}.get(type_, "?")


def _word(record: Mapping[str, JsonValue], key: str) -> str:
    value = record.get(key)
    return clean(value) if isinstance(value, str) else "?"


def clean(text: str) -> str:
    """Text that cannot disturb the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
