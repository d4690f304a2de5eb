"""The pinned files of a table as a relation of DuckDB's, and lookups over them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlglot import exp

from reelport.engine.mapping import LOOKUPS
from reelport.engine.trees import parse_sql, subquery
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.storage.duckdb_session import parquet_source
from reelport.facts.storage.projection import empty_sql, project_sql
from reelport.facts.tables import TABLES


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
        tree = parse_sql(LOOKUPS[name].sql).copy()
        for table in list(tree.find_all(exp.Table)):
            table.replace(self.objects(table.name, table.alias_or_name))
        return subquery(tree, alias)


def _relation(name: str, files: tuple[str, ...], alias: str) -> exp.Expr:
    """The table's declared columns over these files, whichever of them each file has.

    The projection is fixed text and hung in as it is: a tree of it would take longer to copy than the rest to compile.
    """
    table = TABLES[name]
    text = project_sql(table, parquet_source(list(files))) if files else empty_sql(table)
    return subquery(exp.Var(this=text), alias)
