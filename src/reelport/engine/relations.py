"""Turns the pinned files of tables into relations, and looks up cells by ids.

A cell is looked up early, before rows are grouped, or late, after it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache

from sqlglot import exp

from reelport.catalog import Dimension
from reelport.engine.mapping import CELLS, LOOKUPS, ColumnCell, LookupCell
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery
from reelport.engine.trees import DIALECT, alias, left_join, parse_sql, subquery
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.data_files.projection import select_no_rows_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import OWNER, TABLES, Table

_MARK = re.compile(r"<(\w+)>")
SourceSql = Callable[[Table, tuple[str, ...]], str]
"""Writes the relation of a table's stored columns over some files, at least one."""
LookupCells = Mapping[Dimension, LookupCell]


def _read_parquet(table: Table, files: tuple[str, ...]) -> str:
    return read_files_sql(table, list(files))


@dataclass(frozen=True, slots=True)
class Relations:
    """The pinned tables of one report.

    Files are pruned to its days and, where one role counts, to the listed channels, as far as files tell; with None not
    by channel. `source` reads them: DuckDB does, unless another engine is to. `scans` collects the SQL of scans by
    name, for statements that share them; None: each statement scans for itself.
    """

    snapshot: Snapshot
    start: date
    end: date
    channels: frozenset[str] | None
    source: SourceSql = _read_parquet
    scans: dict[str, str] | None = None

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        resolved: ResolvedQuery,
        source: SourceSql = _read_parquet,
        scans: dict[str, str] | None = None,
    ) -> Relations:
        """The relations of a query's days and tenant."""
        return cls(snapshot, resolved.start, resolved.end, resolved.tenant.listed_channels, source, scans)

    def select_rows(self, tree: exp.Select, source_query: SourceQuery, conditions: Iterable[exp.Expr]) -> exp.Select:
        """Let the tree select from the rows of the source query under these conditions."""
        rows = self.rows(source_query)
        # Where several roles count, columns of joined channels are needed, too, which a scan doesn't have.
        if self.scans is None or source_query.only_role is None:
            return tree.from_(rows, copy=False).where(*conditions, copy=False)
        scan = exp.select("*").from_(rows, copy=False).where(*conditions, copy=False).sql(dialect=DIALECT, copy=False)
        name = f"scan_{hashlib.sha256(scan.encode('utf-8', 'surrogatepass')).hexdigest()}"
        self.scans[name] = scan
        return tree.from_(_name(name, source_query.source.table), copy=False)

    def rows(self, source_query: SourceQuery) -> exp.Expr:
        """A superset of the rows that the source query sums, by the table's name.

        It may have rows that sum up several facts each, and only the columns that the query needs.
        """
        table = source_query.source.table
        return self.facts(table, table, role=source_query.only_role)

    def facts(self, table: str, name: str, *, role: str | None) -> exp.Expr:
        """A superset of the table's rows of these days.

        With `role`, a column, of those in which a channel of the tenant has that role.
        """
        files = self.snapshot.files(table, self.start, self.end, self.channels if role else None, role or OWNER)
        return _name(self._read(table, files), name)

    def objects(self, table: str, name: str) -> exp.Expr:
        """A relation of all rows of an object table."""
        return _name(self.objects_sql(table), name)

    def lookup(self, which: str, name: str, columns: Iterable[str] = ()) -> exp.Expr:
        """A lookup of the mapping as a subquery: its id and these columns, or all."""
        text = _write_lookup(which, frozenset(columns))
        filled = _MARK.sub(lambda mark: self.objects_sql(mark[1]), text)
        return subquery(exp.Var(this=filled), name)

    def objects_sql(self, table: str) -> str:
        """Write the relation of all columns that `objects` names."""
        return self._read(table, self.snapshot.files(table))

    def _read(self, name: str, files: tuple[str, ...]) -> str:
        table = TABLES[name]
        return self.source(table, files) if files else f"({select_no_rows_sql(table)})"


@cache
def _write_lookup(name: str, columns: frozenset[str]) -> str:
    tree = parse_sql(LOOKUPS[name].sql).copy()
    if columns:
        wanted = columns | {"id"}
        tree.set("expressions", [each for each in tree.expressions if each.alias_or_name in wanted])
    for table in list(tree.find_all(exp.Table)):
        table.replace(_name(f"<{table.name}>", table.alias_or_name))
    return tree.sql(dialect=DIALECT)


def _name(relation: str, name: str) -> exp.Expr:
    # Its SQL stays text: copying its tree would take longer than compiling all the rest.
    return alias(exp.Var(this=relation), name)


def late_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The lookups whose id is itself a dimension of the report: they need no grouping."""
    ids = {
        cell.column for cell in (CELLS[dimension] for dimension in resolved.dimensions) if isinstance(cell, ColumnCell)
    }
    found = _all_lookups(resolved).items()
    return {dimension: cell for dimension, cell in found if cell.key in ids and LOOKUPS[cell.lookup].unique}


def early_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The lookups to join before grouping: rows are grouped by what they find."""
    late = late_lookups(resolved)
    return {dimension: cell for dimension, cell in _all_lookups(resolved).items() if dimension not in late}


def lookup_column(found: LookupCell) -> exp.Column:
    """The column of a lookup that was joined by `join_lookups`."""
    return exp.column(found.column, _alias(found))


def join_lookups(tree: exp.Select, cells: Iterable[LookupCell], name: str, relations: Relations) -> exp.Select:
    """Left-join the lookups of these cells by ids: columns of the tree's relation `name`."""
    columns: dict[str, list[LookupCell]] = {}
    for cell in cells:
        columns.setdefault(_alias(cell), []).append(cell)
    for lookup, found in columns.items():
        by = exp.EQ(this=exp.column("id", lookup), expression=exp.column(found[0].key, name))
        relation = relations.lookup(found[0].lookup, lookup, [cell.column for cell in found])
        tree = left_join(tree, relation, by)
    return tree


def _all_lookups(resolved: ResolvedQuery) -> dict[Dimension, LookupCell]:
    cells = ((dimension, CELLS[dimension]) for dimension in resolved.dimensions)
    return {dimension: cell for dimension, cell in cells if isinstance(cell, LookupCell)}


def _alias(cell: LookupCell) -> str:
    return f"{cell.lookup}_by_{cell.key}"
