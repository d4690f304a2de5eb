"""Destinations: what both kinds can do, and the right one for a place."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from reelport.sync.copies import Replaced, View
from reelport.sync.copy_state import State
from reelport.sync.days import Days
from reelport.sync.duckdb_file import DuckDBFile
from reelport.sync.parquet_folder import ParquetFolder
from reelport.sync.spec import Kind, Place, Spec
from reelport.sync.staging import Delivery


class Destination(Protocol):
    """Where copies are kept. A reader sees one before or after a replaced window."""

    def state(self, spec: Spec) -> State:
        """Return a copy's state, as far as its rows confirm it; the empty one without it."""

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Replaced:
        """Replace all rows of the delivery's window and add its days to the state, atomically.

        Changes nothing where it raises: SchemaDrift by the contract, WindowEmptied when the window had rows and would
        have none (unless `allow_empty`), StorageError.
        """

    def unverify(self, spec: Spec, days: Days | None = None) -> None:
        """Mark a spec's days, or all, as unverified: they are read again. Rows stay."""

    def view(self, spec: Spec) -> AbstractContextManager[View | None]:
        """Open the copy of a spec for reading; gives None while there is none."""


def open_destination(place: Place) -> Destination:
    """Return the destination at a place. It creates and opens nothing before its first use."""
    match place.kind:
        case Kind.DUCKDB:
            return DuckDBFile(place)
        case Kind.PARQUET:
            return ParquetFolder(place)
