"""The pinned files of a table as a relation of DuckDB's, and lookups over them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

from sqlglot import exp

from reelport.engine.mapping import LOOKUPS
from reelport.engine.trees import named, parsed, subquery, typed
from reelport.facts.snapshot import Snapshot
from reelport.facts.tables import TABLES, Kind
from reelport.facts.workspace import literal_path

_TYPES = {
    Kind.TEXT: "TEXT",
    Kind.COUNT: "BIGINT",
    Kind.MONEY: "DECIMAL(18, 6)",
    Kind.DAY: "DATE",
    Kind.MOMENT: "TIMESTAMPTZ",
    Kind.TEXTS: "TEXT[]",
}


@dataclass(frozen=True, slots=True)
class Relations:
    """The tables of one report: pinned, and pruned to its days and, where owners alone count, to its channels."""

    snapshot: Snapshot
    start: date
    end: date
    channels: frozenset[str]

    def facts(self, table: str, alias: str, *, owned: bool) -> exp.Expr:
        """The table's rows of at least these days; with `owned`, of at least what the channels own."""
        files = self.snapshot.files(table, self.start, self.end, self.channels if owned else None)
        return _relation(table, files, alias)

    def objects(self, table: str, alias: str) -> exp.Expr:
        """All rows of an object table."""
        return _relation(table, self.snapshot.files(table), alias)

    def lookup(self, name: str, alias: str) -> exp.Expr:
        """A lookup of the mapping's as a subquery."""
        tree = parsed(LOOKUPS[name].sql).copy()
        for table in list(tree.find_all(exp.Table)):
            table.replace(self.objects(table.name, table.alias_or_name))
        return subquery(tree, alias)


def _relation(table: str, files: tuple[str, ...], alias: str) -> exp.Expr:
    if not files:
        return subquery(_nothing(table).copy(), alias)
    read = exp.Anonymous(
        this="read_parquet",
        expressions=[
            exp.Array(expressions=[exp.Literal.string(literal_path(file)) for file in files]),
            # Files of older loads may lack columns; a folder's name must never override a stored column.
            exp.PropertyEQ(this=exp.to_identifier("union_by_name"), expression=exp.true()),
            exp.PropertyEQ(this=exp.to_identifier("hive_partitioning"), expression=exp.false()),
        ],
    )
    return exp.Table(this=read, alias=exp.TableAlias(this=exp.to_identifier(alias)))


@cache
def _nothing(table: str) -> exp.Select:
    """The table without rows, with the types that its files would have."""
    columns = [named(typed(exp.null(), _TYPES[column.kind]), column.name) for column in TABLES[table].columns]
    return exp.select(*columns).where(exp.false())
