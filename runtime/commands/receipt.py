"""`mianjiao receipt`: what holders of old receipts need."""

import sys
from pathlib import Path

from runtime.commands.verify import MAX_RECEIPT
from runtime.errors import ReceiptFileUnusable
from runtime.store import open_store


def refresh_receipt(data: Path, receipt: Path, output: Path | None) -> int:
    """Write the receipt with the newest proof and all evidence, to standard output or to a
    new file. It is a file of personal data: it is written for its owner alone."""
    try:
        with receipt.open("rb") as source:
            old = source.read(MAX_RECEIPT + 1)
    except OSError:
        raise ReceiptFileUnusable(path=str(receipt)) from None
    if len(old) > MAX_RECEIPT:
        raise ReceiptFileUnusable(path=str(receipt))
    with open_store(data) as store, store.database.read() as tx:
        new = store.ledger.evidence.refreshed(tx, old)
    if output is None:
        sys.stdout.write(new.decode())
        return 0
    try:
        output.touch(mode=0o600, exist_ok=False)
        output.write_bytes(new)
    except OSError:
        raise ReceiptFileUnusable(path=str(output)) from None
    return 0
