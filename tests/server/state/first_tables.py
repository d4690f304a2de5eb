"""The tables of the first release's state, from which migrations lead to those of today."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

_FIRST = Path(__file__).with_name("0001.sql").read_text("utf-8")
_COUNTERS = ("BIGSERIAL", "SERIAL")


def create_first_tables(connection: Connection) -> None:
    """Make them in an empty database: in SQLite without the triggers and functions, which it writes otherwise."""
    for statement in _FIRST.split(";\n")[:-1]:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(statement)
        elif not statement.startswith(("CREATE FUNCTION", "CREATE TRIGGER")):
            for counter in _COUNTERS:
                statement = statement.replace(counter, "INTEGER")  # noqa: PLW2901 - as SQLite counts
            connection.exec_driver_sql(statement)
