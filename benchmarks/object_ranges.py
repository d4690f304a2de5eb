"""What a cold report fetches of a data file in an object store: `python -m benchmarks.object_ranges FILE`.

The file whole, beside its footer and the column chunks of those row groups that may hold the owner's rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import obstore
import pyarrow.parquet as pq
from obstore.store import S3Store
from tests.storage.object_server import BUCKET, serve_objects

from reelport.facts.schema import OWNER

_FEW = {OWNER, "started_at", "views", "time_watched_seconds", "visitor_country", "visitor_device_type"}
_GAP = 1 << 20
"""Bytes between two ranges up to which one request fetches both."""
Range = tuple[int, int]


def measure(path: Path) -> None:
    """Print a table: for the owner with the most rows, one in the middle, and all of them."""
    described = pq.ParquetFile(path).metadata
    everything = {described.schema.column(place).name for place in range(described.num_columns)}
    ranked = duckdb.execute(f"SELECT {OWNER} FROM '{path}' GROUP BY 1 ORDER BY count(*) DESC").fetchall()
    print(f"{path.stat().st_size / 1e6:.1f} MB, {described.num_rows:,} rows, {described.num_row_groups} row groups\n")
    print("| owner | columns | chunks | requests | MB | of the file |\n|---|---|---|---|---|---|")
    with serve_objects() as endpoint:
        store = _open(endpoint)
        obstore.put(store, "file", path)
        for label, owner in {"largest": ranked[0][0], "median": ranked[len(ranked) // 2][0], "all": None}.items():
            for columns in (_FEW, everything):
                chunks = sorted(_list_chunks(described, owner, columns))
                sizes = [len(obstore.get_range(store, "file", start=low, end=high)) for low, high in _merge(chunks)]
                size = described.serialized_size + sum(sizes)
                share = f"{size / path.stat().st_size:.2f}"
                print(f"| {label} | {len(columns)} | {len(chunks)} | {len(sizes) + 1} | {size / 1e6:.2f} | {share} |")


def _open(endpoint: str) -> S3Store:
    names = {"access_key_id": "tests", "secret_access_key": "tests-only", "region": "us-east-1"}
    return S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True}, **names)  # type: ignore[arg-type]


def _list_chunks(described: pq.FileMetaData, owner: str | None, columns: set[str]) -> Iterator[Range]:
    """List the bytes of these columns in the row groups that may hold rows of the owner."""
    for number in range(described.num_row_groups):
        group = described.row_group(number)
        chunks = [group.column(place) for place in range(described.num_columns)]
        found = next(chunk.statistics for chunk in chunks if chunk.path_in_schema == OWNER)
        if owner is None or found.min <= owner <= found.max:
            for chunk in chunks:
                if chunk.path_in_schema in columns:
                    start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
                    yield start, start + chunk.total_compressed_size


def _merge(ranges: Iterable[Range]) -> list[Range]:
    """Merge sorted ranges between which there is little."""
    merged: list[Range] = []
    for low, high in ranges:
        if merged and low - merged[-1][1] <= _GAP:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
