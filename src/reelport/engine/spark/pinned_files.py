"""The pinned files that Spark reads for one aggregation: each list of files is a view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from reelport.facts.data_files.projection import select_stored_sql
from reelport.facts.tables import Kind, Table, stored_names
from reelport.sql_quoting import quote_name

_TYPES = {
    Kind.TEXT: "STRING",
    Kind.COUNT: "BIGINT",
    Kind.MONEY: "DECIMAL(18, 6)",
    Kind.DAY: "DATE",
    Kind.MOMENT: "TIMESTAMP",
    Kind.TEXTS: "ARRAY<STRING>",
}
_PATTERN_SIGN = re.compile(r"[*?\[\]{}\\]")


@dataclass(frozen=True, slots=True)
class FileView:
    """A view over files of one table, with the types that its columns were stored with."""

    name: str
    table: Table
    files: tuple[str, ...]

    @property
    def schema(self) -> str:
        """The view's columns and types, as Spark declares them; null where a file lacks one."""
        kinds = {column.name: column.kind for column in self.table.columns}
        return ", ".join(f"`{name}` {_TYPES[kinds.get(name, Kind.TEXT)]}" for name in stored_names(self.table))

    @property
    def addresses(self) -> list[str]:
        """The files' addresses for Spark, which takes a name for a pattern: its signs are escaped."""
        return ["file://" + _PATTERN_SIGN.sub(lambda sign: f"\\{sign[0]}", file) for file in self.files]


@dataclass(frozen=True, slots=True)
class PinnedFiles:
    """Collects the views of one aggregation; as the `source` of `Relations` it reads from them."""

    _views: dict[tuple[str, tuple[str, ...]], FileView] = field(default_factory=dict)

    def __call__(self, table: Table, files: tuple[str, ...]) -> str:
        """Write the relation of the table's stored columns over these files, in DuckDB's dialect."""
        name = f"reelport_{len(self._views)}_{table.name}"
        view = self._views.setdefault((table.name, files), FileView(name, table, files))
        return f"({select_stored_sql(table, quote_name(view.name))})"

    def __iter__(self) -> Iterator[FileView]:
        return iter(self._views.values())
