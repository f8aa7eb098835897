"""Finishing the last round of a shard that has ended, which a close that was cut off left."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from ledger.high_water import HeadMemory
from ledger.outside import Outside
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.shard_keys import ShardKeys
from ledger.stops import Stops
from ledger.tilestore import OpensShards
from storage.database import Database


def finisher(
    *,
    database: Database,
    keys: ShardKeys,
    shards: OpensShards,
    stops: Stops,
    memory: HeadMemory | None,
    outside: Outside,
) -> Callable[[str, datetime], None]:
    """What `Succession` calls: recovers a shard with its own keys, and publishes it.

    Like any process that signs, it first compares the shard with what is remembered
    `outside`; what that raises.
    """

    def finish(shard: str, at: datetime) -> None:
        signers = keys.open(shard)
        tiles = shards.open(shard)
        reader = LogReader(tiles, shard, *(signer.key for signer in signers))
        sequencer = Sequencer(
            database=database,
            tiles=tiles,
            signers=signers,
            reader=reader,
            stops=stops,
            shard=shard,
            memory=memory,
        )
        sequencer.vouch = partial(outside.compare, reader)
        sequencer.recover(at)

    return finish
