"""Loads SQL files of named statements, and runs a statement by its name on either database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import Connection, CursorResult, TextClause, text

_DIFFERENCES = {
    # SQLite has no row locks and needs none: it has one writer at a time.
    "sqlite": ("FOR UPDATE SKIP LOCKED", ""),
    "postgresql": ("json_group_array(", "json_agg("),
}
"""What a dialect writes otherwise than our SQL files."""


class Statements:
    """The statements of `server/{name}.sql`. Each begins with a line `-- name: what it does`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def run(
        self,
        connection: Connection,
        statement: str,
        values: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run the statement of that name; with several mappings of values, once for each."""
        return connection.execute(_load(self._name, connection.dialect.name)[statement], values)


@cache
def _load(name: str, dialect: str) -> dict[str, TextClause]:
    statements: dict[str, list[str]] = {}
    body: list[str] = []
    sql = resources.files("reelport.server").joinpath(f"{name}.sql").read_text("utf-8")
    for line in sql.replace(*_DIFFERENCES[dialect]).splitlines():
        if line.startswith("-- ") and ":" in line:
            body = statements.setdefault(line[3:].split(":")[0], [])
        body.append(line)
    return {key: text("\n".join(lines)) for key, lines in statements.items()}
