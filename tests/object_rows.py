"""Commit rows to an object table without a load's rules, as an earlier version did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from pyarrow import json as arrow_json
from pyarrow import parquet as pq

from reelport.facts.damage import translate_damage
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, require_intact
from reelport.facts.log.log_entry import LogEntry
from reelport.facts.tables import Table, stored_schema
from reelport.storage.durable import private

Row = Mapping[str, str | None]
"""Every column of an object table, by name."""


@private()
def merge_rows(root: Path, table: Table, rows: Sequence[Row], batch: str) -> int | None:
    """Commit rows, which replace those of the same key.

    Each has every column, and was checked. Of given rows with the same key the last one counts. Returns the table's
    new version, or None when it has all these rows already.
    """
    key = table.key or ""
    last = {row[key]: dict(row) for row in rows}
    entry = LogEntry("load", batch, len(last), sources=(batch,))
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []

        def propose(now: TableVersion) -> Change | None:
            require_intact(now, now.files)  # before they are read: it may fetch them again
            old = {row[key]: row for path in now.paths(now.files) for row in _read_file(path, table)}
            merged = old | last
            if merged == old:
                return None
            staged = stack.enter_context(StagedFiles(now.folder, table, now.version, root))
            attempts.append(staged)
            # Texts are ordered by code points, which is the order of their UTF-8 bytes too.
            staged.write("rows", None, _make_table(table, [row for _, row in sorted(merged.items())]))
            return Change(entry, staged.finish(), now.files, loaded=True)

        version = commit(root, table, propose)
        if version is not None:
            attempts[-1].keep()
    return version


def _read_file(path: str, table: Table) -> list[dict[str, str | None]]:
    with translate_damage(path), pq.ParquetFile(path) as whole:
        return [{column.name: row.get(column.name) for column in table.columns} for row in whole.read().to_pylist()]


def _make_table(table: Table, rows: Sequence[Row]) -> pa.Table:
    # Arrow imports pandas, where it is installed, to make a table of Python's values; it reads JSON without.
    lines = pa.py_buffer("\n".join(map(json.dumps, rows)).encode())
    options = arrow_json.ParseOptions(explicit_schema=stored_schema(table.name), unexpected_field_behavior="error")
    return arrow_json.read_json(lines, parse_options=options)
