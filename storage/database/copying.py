"""Bulk rows into PostgreSQL by COPY, in its binary form: ten times an insert's speed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, Dialect, LargeBinary, Table
from sqlalchemy.exc import DBAPIError

from storage.database.postgres_errors import quieten

# SQL type → the name under which the driver knows its binary form.
_TYPES = {
    "VARCHAR": "varchar",
    "TEXT": "text",
    "BYTEA": "bytea",
    "SMALLINT": "int2",
    "INTEGER": "int4",
    "BIGINT": "int8",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}
Convert = Callable[[Any], Any]


def copy_rows(
    connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert `rows`, values in the order of `names`, in this order. Errors are SQLAlchemy's.

    Values must have the column's Python type; `copy_mappings` converts them.
    """
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in names)
    sql = f"COPY {quote(table.name)} ({columns}) FROM STDIN (FORMAT BINARY)"
    types = [_TYPES[_sql_type(table, name, dialect)] for name in names]
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(sql) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        quieten(error)  # its context quotes the row
        raise DBAPIError.instance(sql, None, error, psycopg.Error, hide_parameters=True) from error


def copy_mappings(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name the same columns, whose values are what Core would take."""
    names = list(rows[0])
    convert = [_converter(table, name, connection.dialect) for name in names]
    ready = (
        [
            row[name] if change is None else change(row[name])
            for name, change in zip(names, convert, strict=True)
        ]
        for row in rows
    )
    copy_rows(connection, table, names, ready)


def _converter(table: Table, name: str, dialect: Dialect) -> Convert | None:
    """What makes a value of the column fit the driver; bytes fit as they are."""
    column_type = table.c[name].type
    if isinstance(column_type, LargeBinary):
        return None
    return column_type.dialect_impl(dialect).bind_processor(dialect)


def _sql_type(table: Table, name: str, dialect: Dialect) -> str:
    return table.c[name].type.compile(dialect=dialect).partition("(")[0]
