"""Legacy transactions (EIP-155), signed here: the key never leaves this process, and every
EVM chain takes them, FISCO BCOS 3 included."""

import re
import sys
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from ledger.anchoring.errors import AnchorKeyInvalid

# A library below eth-account (py_ecc) raises the interpreter's recursion limit to 100,000
# for the whole process; hostile input that nests deep would then end it instead of being
# refused. The limit stays what it was.
_LIMIT = sys.getrecursionlimit()
from eth_account import Account  # noqa: E402

sys.setrecursionlimit(_LIMIT)

ANCHOR_GAS = 150_000  # twice what the contract uses
DEPLOY_GAS = 1_200_000
_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction as it is sent, and the hash by which it is found."""

    hash: bytes
    raw: bytes


class AnchorKey:
    """The account that anchors. Safe from many threads; its secret is never shown."""

    def __init__(self, secret: str) -> None:
        """`secret`: 32 bytes in hex, with or without 0x; else `AnchorKeyInvalid`."""
        if not _KEY.fullmatch(secret):
            raise AnchorKeyInvalid()
        try:
            account = Account.from_key(bytes.fromhex(secret.removeprefix("0x")))
        except ValueError:
            raise AnchorKeyInvalid() from None
        self._key = account.key
        self.address = bytes.fromhex(account.address[2:])

    def sign(
        self, *, chain_id: int, nonce: int, price: int, gas: int, to: bytes | None, data: bytes
    ) -> Signed:
        """`price` in wei; `to` None makes a contract."""
        signed = Account.sign_transaction(
            {
                "chainId": chain_id,
                "nonce": nonce,
                "gasPrice": price,
                "gas": gas,
                "value": 0,
                "to": "" if to is None else to_checksum_address(to),
                "data": data,
            },
            self._key,
        )
        return Signed(bytes(signed.hash), bytes(signed.raw_transaction))
