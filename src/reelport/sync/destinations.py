"""Which kind of copies a destination keeps."""

from __future__ import annotations

from reelport.sync.copies import Copies
from reelport.sync.duckdb_file import DuckFile
from reelport.sync.parquet_folder import ParquetFolder
from reelport.sync.spec import Kind, Place


def open_copies(place: Place) -> Copies:
    """The destination at a place. Nothing is made or opened before it is used."""
    match place.kind:
        case Kind.DUCKDB:
            return DuckFile(place)
        case Kind.PARQUET:
            return ParquetFolder(place)
