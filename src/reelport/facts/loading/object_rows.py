"""Merge a few rows into an object table without an engine.

The engine would take longer to import than to run. Rows of files are loaded by `loading/load`, which
checks them and needs no room for the table in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from pyarrow import json as arrow_json
from pyarrow import parquet as pq

from reelport.facts.damage import translate_damage
from reelport.facts.data_files.projection import project_rows
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
    last = list({row[table.key or ""]: row for row in rows}.values())
    # Arrow imports pandas, where it is installed, to make a table of Python's values; it reads JSON without.
    lines = pa.py_buffer("\n".join(map(json.dumps, last)).encode())
    options = arrow_json.ParseOptions(explicit_schema=stored_schema(table.name), unexpected_field_behavior="error")
    new = arrow_json.read_json(lines, parse_options=options)
    entry = LogEntry("load", batch, len(last), sources=(batch,))
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []

        def propose(now: TableVersion) -> Change | None:
            require_intact(now, now.files)  # before they are read: it may fetch them again
            old = _read_all(now)
            if _has_all(old, table, last):
                return None
            staged = stack.enter_context(StagedFiles(now.folder, table, now.version))
            attempts.append(staged)
            staged.write("rows", None, _merge(old, new, table))
            return Change(entry, staged.finish(), now.files, loaded=True)

        version = commit(root, table, propose)
        if version is not None:
            attempts[-1].keep()
    return version


def _read_all(now: TableVersion) -> pa.Table:
    parts = [project_rows(now.table, _read_file(path)) for path in now.paths(now.files)]
    return pa.concat_tables([pa.Table.from_batches([], stored_schema(now.table.name)), *parts])


def _read_file(path: str) -> pa.Table:
    with translate_damage(path), pq.ParquetFile(path) as whole:
        return whole.read()


def _has_all(old: pa.Table, table: Table, rows: Sequence[Row]) -> bool:
    places = _find_places(old, table)
    return all(
        (place := places.get(row[table.key or ""])) is not None and old.slice(place, 1).to_pylist() == [row]
        for row in rows
    )


def _find_places(rows: pa.Table, table: Table) -> dict[str | None, int]:
    """Map each key to the number of its last row."""
    return {key: number for number, key in enumerate(rows.column(table.key or "").to_pylist())}


def _merge(old: pa.Table, new: pa.Table, table: Table) -> pa.Table:
    """Return the rows of both in the order of their keys; of the same key the last one counts."""
    rows = pa.concat_tables([old, new])
    # Texts are ordered by code points, which is the order of their UTF-8 bytes too.
    numbers = [number for _, number in sorted(_find_places(rows, table).items())]
    starts = [0, *(at for at, (one, next_) in enumerate(pairwise(numbers), 1) if next_ != one + 1), len(numbers)]
    # Slices of neighbours copy nothing; `take` would import all of Arrow's functions.
    return pa.concat_tables(rows.slice(numbers[start], end - start) for start, end in pairwise(starts))
