"""Turns the pinned files of tables into relations, and looks up cells by ids.

A cell is looked up early, before rows are grouped, or late, after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reelport.engine.mapping import LOOKUPS, LookupCell
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import join_channels
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.data_files.projection import select_no_rows_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES, Table

SourceSql = Callable[[Table, tuple[str, ...]], str]
"""Writes the relation of a table's stored columns over some files, at least one."""


def _read_parquet(table: Table, files: tuple[str, ...]) -> str:
    return read_files_sql(table, list(files))


@dataclass(frozen=True, slots=True)
class Relations:
    """The pinned tables, as relations of SQL.

    `source` reads their files: DuckDB does, unless another engine is to. `scans` collects the SQL of scans by name, for
    statements that share them; None: each statement scans for itself.
    """

    snapshot: Snapshot
    source: SourceSql = _read_parquet
    scans: dict[str, str] | None = None

    def from_rows(self, source_query: SourceQuery, conditions: Iterable[str]) -> str:
        """Write FROM and WHERE of the source query's rows under these conditions."""
        table, rows = source_query.source.table, self.rows(source_query)
        chosen = f"FROM {rows}{join_channels(source_query)} WHERE {' AND '.join(conditions)}"
        # Where several roles count, columns of joined channels are needed, too, which a scan doesn't have.
        if self.scans is None or source_query.only_role is None:
            return chosen
        scan = f"SELECT * {chosen}"
        name = f"scan_{hashlib.sha256(scan.encode('utf-8', 'surrogatepass')).hexdigest()}"
        self.scans[name] = scan
        return f"FROM {name} AS {table}"

    def rows(self, source_query: SourceQuery) -> str:
        """A superset of the rows that the source query sums, by the table's name.

        It may have rows that sum up several facts each, and only the columns that the query needs.
        """
        return self.facts(source_query)

    def facts(self, source_query: SourceQuery) -> str:
        """A superset of the facts that the source query sums, by the table's name."""
        table = source_query.source.table
        return f"{self.read(table, source_query.list_paths(self.snapshot))} AS {table}"

    def lookup(self, which: str, name: str, columns: Iterable[str]) -> str:
        """A lookup of the mapping as a subquery: its id and these columns."""
        lookup = LOOKUPS[which]
        shown = ", ".join(f"{lookup.columns[each]} AS {each}" for each in dict.fromkeys(columns))
        rows = lookup.rows.format_map({table: self.objects(table) for table in lookup.tables})
        return f"(SELECT {lookup.id} AS id, {shown} FROM {rows}) AS {name}"  # noqa: S608 - the mapping's constants

    def objects(self, table: str) -> str:
        """A relation of all rows of an object table."""
        return self.read(table, self.snapshot.files(table))

    def read(self, name: str, files: tuple[str, ...]) -> str:
        """A relation of the table's rows in these files, be there none."""
        table = TABLES[name]
        return self.source(table, files) if files else f"({select_no_rows_sql(table)})"


def lookup_column(found: LookupCell) -> str:
    """The column of a lookup that was joined by `join_lookups`."""
    return f"{_alias(found)}.{found.column}"


def join_lookups(cells: Iterable[LookupCell], name: str, relations: Relations) -> str:
    """Left-join the lookups of these cells by ids: columns of the relation `name`."""
    columns: dict[str, list[LookupCell]] = {}
    for cell in cells:
        columns.setdefault(_alias(cell), []).append(cell)
    return "".join(
        f" LEFT JOIN {relations.lookup(found[0].lookup, lookup, [cell.column for cell in found])} "
        f"ON {lookup}.id = {name}.{found[0].key}"
        for lookup, found in columns.items()
    )


def _alias(cell: LookupCell) -> str:
    return f"{cell.lookup}_by_{cell.key}"
