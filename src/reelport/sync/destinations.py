"""Opens the right kind of destination for a place."""

from __future__ import annotations

from reelport.sync.copies import Destination
from reelport.sync.duckdb_file import DuckDBFile
from reelport.sync.parquet_folder import ParquetFolder
from reelport.sync.spec import Kind, Place


def open_destination(place: Place) -> Destination:
    """Return the destination at a place. It creates and opens nothing before its first use."""
    match place.kind:
        case Kind.DUCKDB:
            return DuckDBFile(place)
        case Kind.PARQUET:
            return ParquetFolder(place)
