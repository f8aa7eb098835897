"""`mianjiao log close`: one shard of the log ends, and the next begins."""

from pathlib import Path

from ledger.closing import Successor, close_shard, prepare_successor
from ledger.service import Ledger
from runtime.store import Store, open_store


def close_log(data: Path, shard: str, *, only_prepare: bool) -> int:
    """End the newest shard, with `shard` as the one that follows; or only make its keys.

    May be repeated: a close that was cut off is finished, one that is done is told again.
    """
    with open_store(data) as store:
        if store.ledger.shard != shard:
            successor = prepare_successor(store.ledger, shard)
            if only_prepare:
                _announce(successor)
                return 0
            store.require_clock()
            close_shard(store.ledger, successor, store.clock.now())
        elif only_prepare:
            print(f"# {store.ledger.origin}：已启用 / in force already")
            for key in store.ledger.keys:
                print(f"log {key.text}")
            return 0
    with open_store(data) as store:
        _finish(store)
    return 0


def _finish(store: Store) -> None:
    ledger = store.ledger
    ledger.sequence(store.clock.now())
    waiting = ledger.cosign_ended()
    earlier = ledger.readers.retired.readers()
    if earlier:
        final = earlier[-1].published().checkpoint
        print(f"已封存 ended: {final.origin}, {final.size} 条 entries, root {final.root.hex()}")
        print(f"其签名密钥已销毁，请同时销毁备份中的副本：log-{earlier[-1].shard}.*")
        print("its signing keys are destroyed: destroy your copies of them, too")
    if waiting:
        print("末检查点的见证人数不足，服务启动后继续收集")
        print("the quorum has not cosigned its last checkpoint yet: serve goes on asking")
    _tell_of(ledger)


def _tell_of(ledger: Ledger) -> None:
    print(f"现用 in force: {ledger.origin}, {ledger.checkpoint().size} 条 entries")
    print("新的信任策略 the new trust policy: mianjiao log policy")
    print("核验方可要求的末检查点 pins for verifiers: mianjiao log retired")


def _announce(successor: Successor) -> None:
    print(f"# {successor.origin}：密钥已生成，尚未启用 / its keys are made, and not in force yet")
    for key in successor.keys:
        print(f"log {key.text}")
