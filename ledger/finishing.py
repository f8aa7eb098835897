"""Finishing the last round of a shard that has ended, which a close that was cut off left."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from ledger.high_water import HeadMemory
from ledger.outside import Outside
from ledger.pkcs11.signers import Tokens
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.shard_keys import open_signers
from ledger.stops import Stops
from ledger.tilestore import Shards
from storage.database import Database


def finisher(
    *,
    database: Database,
    directory: Path,
    shards: Shards,
    stops: Stops,
    memory: HeadMemory | None,
    tokens: Tokens | None,
    outside: Outside,
) -> Callable[[str, datetime], None]:
    """What `Succession` calls: recovers a shard with its own keys, and publishes it.

    Like any process that signs, it first compares the shard with what is remembered
    `outside`; what that raises.
    """

    def finish(shard: str, at: datetime) -> None:
        signers = open_signers(directory, shard, tokens)
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
