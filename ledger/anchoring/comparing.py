"""What a chain remembers of the log, compared before a process signs for the first time."""

import logging

from kernel.errors import CodedError
from ledger.anchoring.node import ChainNode
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import DatabaseOlderThanLog, LogDiverged
from ledger.merkle import tree_root
from ledger.reader import LogReader

_log = logging.getLogger(__name__)


class ChainMemory:
    """The newest checkpoint that the contract holds for each log."""

    def __init__(self, node: ChainNode, *, chain_id: int, contract: bytes) -> None:
        self._node = node
        self._chain_id = chain_id
        self._contract = contract
        self._failure: str | None = None

    def compare(self, reader: LogReader, signed: SignedCheckpoint | None) -> bool:
        """Whether the chain answered. `DatabaseOlderThanLog` when it knows of more entries
        than `signed`, the database's head, has; `LogDiverged` when it holds another root.

        A node of another chain, or one without the contract, remembers nothing.
        """
        origin = reader.key.name
        size = 0 if signed is None else signed.checkpoint.size
        try:
            self._node.require_contract(self._chain_id, self._contract)
            anchored = self._node.head_of(self._contract, origin).size
            root = self._node.root_of(self._contract, origin, anchored) if anchored else b""
        except CodedError as error:  # all that `ChainNode` raises
            if error.code != self._failure:  # a start that waits for it asks every second
                _log.warning("the chain cannot be compared: %s", error.code)
            self._failure = error.code
            return False
        self._failure = None
        if anchored > size:
            raise DatabaseOlderThanLog(database=size, published=anchored)
        if anchored and root != tree_root(reader.nodes(size), anchored):
            raise LogDiverged(reason="the chain holds another root")
        return True
