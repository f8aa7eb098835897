"""The checks of `fsck`: which there are, and which of them processes may share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import select

from archive.fsck import fsck as check_archive
from kernel.clock import SystemClock
from ledger.anchoring.fsck import check_anchoring
from ledger.closing import prepared_places
from ledger.fsck import fsck as check_ledger
from ledger.fsck_reading import WHOLE, Findings, Share
from ledger.problems import Problem, Progress
from ledger.tables import ledger_heads
from license_service.fsck import fsck as check_licenses
from materials_api.fsck.checking import fsck as check_materials
from materials_api.tables import grants, tickets, uploads
from parties.fsck import fsck as check_parties
from runtime.fsck_audit import AuditCheck
from runtime.fsck_files import check_files
from runtime.fsck_replies import check_replies
from runtime.store import Store
from storage.tables import audit

SENTENCES = {
    "database_damaged": ("数据库文件已损坏：{detail}", "the database file is damaged: {detail}"),
    "check_unfinished": ("检查未能完成：{detail}", "a check did not come to its end: {detail}"),
}
_Run: TypeAlias = Callable[[Store, Progress, Share], list[Problem]]


@dataclass(frozen=True, slots=True)
class Check:
    """`shared`: several processes may do it together, each with a share of the rows. The
    others look at something as a whole: the tree, or all that a principal did."""

    run: _Run
    shared: bool = False


def check(store: Store, name: str, tell: Progress, share: Share = WHOLE) -> list[Problem]:
    """What this check finds. One that cannot go on is a problem itself."""
    found = Findings(SENTENCES)
    with found.guarded(name):
        found.problems += CHECKS[name].run(store, tell, share)
    return found.problems


def _database(store: Store, tell: Progress, _share: Share) -> list[Problem]:
    found = Findings(SENTENCES)
    for line in store.database.damage():
        found.add("database_damaged", store.database.name, line)
    tell("database", 1, 1)
    return found.problems


def _files(store: Store, _tell: Progress, _share: Share) -> list[Problem]:
    with store.database.read() as tx:
        shards = set(tx.execute(select(ledger_heads.c.shard)).scalars())
    shards |= prepared_places(store.ledger)
    now = SystemClock().now()
    logs = store.place.shards
    return check_files(store.database, store.object_store, logs, shards, now).problems


def _parties(store: Store, tell: Progress, share: Share) -> list[Problem]:
    return check_parties(store.database, store.vault, store.ledger.records, tell, share)


def _licenses(store: Store, tell: Progress, share: Share) -> list[Problem]:
    return check_licenses(store.database, store.ledger.records, tell, share)


def _materials(store: Store, tell: Progress, share: Share) -> list[Problem]:
    return check_materials(store.materials, tell, share=share)


def _audit(store: Store, tell: Progress, _share: Share) -> list[Problem]:
    """Every row of the audit. Who acted is judged by all rows of a principal together."""
    check = AuditCheck(store.database)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        tell("audit", done, done)

    check.found.each(store.database, audit.c.id, check.row, told)
    check.actors()
    check.code_tries()
    return check.found.problems


def _audited(store: Store, _tell: Progress, share: Share) -> list[Problem]:
    """Whatever must have a row of the audit."""
    check = AuditCheck(store.database, share)
    with check.found.guarded("audit"):
        check.entries()
    check.found.each(store.database, uploads.c.upload_id, check.upload)
    check.found.each(store.database, tickets.c.ticket_id, check.ticket)
    check.found.each(store.database, grants.c.grant_id, check.code)
    return check.found.problems


def _replies(store: Store, _tell: Progress, _share: Share) -> list[Problem]:
    return check_replies(store.database, store.vault).problems


# In the order of the imports of the rooms.
CHECKS: Mapping[str, Check] = {
    "database": Check(_database),
    "files": Check(_files),
    "ledger": Check(lambda store, tell, _: check_ledger(store.ledger, tell)),
    "anchors": Check(lambda store, _tell, _share: check_anchoring(store.ledger)),
    "parties": Check(_parties, shared=True),
    "licenses": Check(_licenses, shared=True),
    "materials": Check(_materials, shared=True),
    "exports": Check(lambda store, tell, _: check_archive(store.archive, tell)),
    "audit": Check(_audit),
    "audited": Check(_audited, shared=True),
    "replies": Check(_replies),
}
