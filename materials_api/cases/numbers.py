"""Case numbers (办件编码): opaque, unique, made by a configurable pattern."""

import re
from datetime import datetime

from sqlalchemy import insert, select, update

from kernel.clock import china_date
from materials_api.errors import CaseNumberInvalid, CaseNumberTaken
from materials_api.tables import case_numbers, cases
from storage.database import ReadTx, WriteTx

# Latin letters, digits and Chinese characters: a number is read out, typed and searched for.
PATTERN = "^[0-9A-Za-z\u4e00-\u9fff_./〔〕（）()-]{1,64}$"
_NUMBER = re.compile(PATTERN)


def given_number(tx: ReadTx, number: str) -> str:
    """A number that another system gave; `CaseNumberInvalid`, `CaseNumberTaken`."""
    if _NUMBER.fullmatch(number) is None:
        raise CaseNumberInvalid()
    if _taken(tx, number):
        raise CaseNumberTaken()
    return number


def next_number(tx: WriteTx, at: datetime, pattern: str, *, matter: str, department: str) -> str:
    """The next free number of the pattern's scope: the pattern with everything but the serial.

    Numbers that were given by hand are stepped over.
    """
    parts = {"date": f"{china_date(at):%Y%m%d}", "matter": matter, "department": department}
    scope = pattern.format(serial=0, **parts)
    last = tx.scalar(select(case_numbers.c.last).where(case_numbers.c.scope == scope))
    if last is None:
        last = 0
        tx.execute(insert(case_numbers), {"scope": scope, "last": 0})
    while True:
        last += 1
        number = pattern.format(serial=last, **parts)
        if not _taken(tx, number):
            break
    tx.execute(update(case_numbers).where(case_numbers.c.scope == scope).values(last=last))
    return number


def _taken(tx: ReadTx, number: str) -> bool:
    return tx.scalar(select(cases.c.case_id).where(cases.c.number == number)) is not None
