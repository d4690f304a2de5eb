"""Which facts have many rows for each object that a report looks up.

The log tells of each file how many rows it has, and of which days.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter

from reelport.catalog import Dimension
from reelport.engine.mapping import CELLS, LOOKUPS, LookupCell
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES

_ROWS = 12
"""Rows a day for each object from which facts are dense.

To sum them by day and id before ids are looked up takes 1.1 to 1.3 times as long at 2, as long at 9, 0.92 of the time
at 15 and 0.83 to 0.91 at 18 and more.
"""
_KEPT = 1_000
"""Combinations of dimensions of which the looked-up tables are remembered."""
_LONGEST_MONTH = 31
_FIRST, _LAST = attrgetter("first"), attrgetter("last")


def find_dense_tables(dimensions: tuple[str, ...], snapshot: Snapshot) -> frozenset[str]:
    """Find the pinned tables of facts with many rows a day for each object that is looked up.

    `dimensions` are names. Objects count where a report can have about as many of them as rows (`Lookup.many`). Rows a
    day are an average over all days of the table, and all tenants.
    """
    objects = sum(file.rows for name in _list_many(dimensions) for file in snapshot.listing.get(name, ()))
    if not objects:
        return frozenset()
    return frozenset(
        name
        for name, files in snapshot.listing.items()
        if TABLES[name].is_fact and _average_rows_a_day(files) >= _ROWS * objects
    )


@lru_cache(_KEPT)
def _list_many(dimensions: tuple[str, ...]) -> frozenset[str]:
    """List the tables with many objects that the dimensions look up."""
    cells = (CELLS[Dimension[name]] for name in dimensions)
    lookups = (LOOKUPS[cell.lookup] for cell in cells if isinstance(cell, LookupCell))
    return frozenset(name for lookup in lookups if lookup.many for name in lookup.tables)


def _average_rows_a_day(files: tuple[DataFile, ...]) -> float:
    """Compute the rows of an average day; 0 where no file tells its days."""
    # Of thousands of files only two are asked for their days.
    known = [file for file in files if file.first is not None and file.last is not None]
    if not known:
        return 0
    span = max(known, key=_LAST).last_day - min(known, key=_FIRST).first_day
    # Single rows of years ago count as the month in which they are.
    days = min(span.days + 1, _LONGEST_MONTH * len({file.month for file in known}))
    return sum([file.rows for file in known]) / days
