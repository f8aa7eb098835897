"""Refusals of the migrations room."""

from kernel.errors import Unavailable


class MigrationMissing(Unavailable):
    code = "migration_missing"
    zh = "数据库结构为 {current}，程序需要 {head}；请先运行 mianjiao init"
    en = "the database schema is at {current}, this program needs {head}; run mianjiao init first"


class MigrationUnknown(Unavailable):
    code = "migration_unknown"
    zh = "数据库结构 {current} 由更新的程序写成，本程序不认识"
    en = "the database schema {current} was written by a newer program and is not known here"
