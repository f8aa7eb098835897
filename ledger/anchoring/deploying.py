"""Makes the contract: once in the life of a chain, by a person."""

import time

from ledger.anchoring.errors import NodeUnavailable, WrongChain, WrongContract
from ledger.anchoring.node import ChainNode, Mined
from ledger.anchoring.signing import DEPLOY_GAS, AnchorKey
from ledger.evm import contract

_POLL = 0.5


def deploy(
    node: ChainNode,
    key: AnchorKey,
    *,
    chain_id: int,
    registrar: bytes,
    origin: str,
    price: int | None,
    seconds: float,
) -> Mined:
    """Make the contract, appoint `key` for `origin`, and wait until it is mined.

    The nonce is chosen once: whoever tries again after `NodeUnavailable` may find that
    the first try was mined after all; then there are two contracts, and either serves.
    """
    found = node.chain_id()
    if found != chain_id:
        raise WrongChain(found=found, expected=chain_id)
    signed = key.sign(
        chain_id=chain_id,
        nonce=node.nonce(key.address),
        price=node.gas_price() if price is None else price,
        gas=DEPLOY_GAS,
        to=None,
        data=contract.deployment(registrar, origin, key.address),
    )
    node.send(signed.raw)
    deadline = time.monotonic() + seconds
    while (mined := node.mined(signed.hash)) is None:
        if time.monotonic() > deadline:
            raise NodeUnavailable(reason=f"0x{signed.hash.hex()} is not mined yet")
        time.sleep(_POLL)
    if not mined.succeeded or mined.contract is None:
        raise WrongContract()
    if node.code_hash(mined.contract) != contract.code_hash():
        raise WrongContract()
    return mined
