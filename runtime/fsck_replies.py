"""The part of `fsck` for the answers that are kept for repeated requests."""

import hmac

from sqlalchemy import select, tuple_

from ledger.fsck_reading import PAGE, Findings
from storage.database import Database
from storage.idempotency import seal
from storage.keyvault import KeyVault
from storage.tables import idempotency

SENTENCES = {
    "reply_altered": (
        "为重复请求保存的答复已被改动",
        "an answer kept for a repeated request was altered",
    ),
}
_C = idempotency.c
_KEY = (_C.principal, _C.route, _C.key)


def check_replies(database: Database, vault: KeyVault) -> Findings:
    """Every kept answer against its keyed digest. A lost one is only a lost convenience."""
    found = Findings(SENTENCES)
    last = None
    with found.guarded("idempotency"):
        while True:
            query = select(idempotency).order_by(*_KEY).limit(PAGE)
            with database.read() as tx:
                rows = tx.all(query if last is None else query.where(tuple_(*_KEY) > last))
            for row in rows:
                where = f"idempotency/{row['principal']}"
                with found.guarded(where, "row_unreadable"):
                    if not hmac.compare_digest(row["mac"], seal(vault, dict(row))):
                        found.add("reply_altered", where)
            if len(rows) < PAGE:
                return found
            last = (rows[-1]["principal"], rows[-1]["route"], rows[-1]["key"])
    return found
