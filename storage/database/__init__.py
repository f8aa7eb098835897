"""Rows: the engine, the unit of work, and the column types that both engines share."""

from storage.database.engine import Database
from storage.database.unit_of_work import ReadTx, WriteTx

__all__ = ["Database", "ReadTx", "WriteTx"]
