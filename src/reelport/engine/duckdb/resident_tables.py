"""Keeps small object tables in the engine's memory.

DuckDB opens and decodes a file anew for each statement. The files of an object table never change, and no name of a
file is used again: rows that were read once are right for every report that reads those files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

import duckdb

from reelport.engine.plan import Plan, StoredObjects

MOST_ROWS = 100_000
"""Rows of a table above which it isn't measured: its measure would cost each report that reads it."""
MOST_BYTES = 32_000_000
"""Bytes of a table above which it isn't kept; all that are kept have twice as many at most."""
_CELL_BYTES = 16
"""What DuckDB takes for a cell beside its text: where this is, and a number itself."""
_REMEMBERED = 64
"""Tables that are remembered as asked for once, with their bytes once these are known."""
_TOO_MANY = 1 << 62
"""The bytes of a table that found no memory: it isn't tried again, as each try would cost a report that reads it."""


@dataclass(eq=False, slots=True)
class _Resident:
    """A kept table, and how many statements read it at this moment."""

    name: str
    bytes: int
    readers: int = 0


class ResidentTables:
    """The object tables that one DuckDB keeps, from their second use on. For any thread."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._numbers = count()
        self._asked: OrderedDict[str, int | None] = OrderedDict()
        self._kept: OrderedDict[str, _Resident] = OrderedDict()

    @contextmanager
    def reading(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> Iterator[str]:
        """Give the plan's SQL for the block, with kept tables in place of their files.

        Raises what DuckDB raises while it reads a table that is to be kept.
        """
        sql = plan.sql
        with ExitStack() as stack:
            for objects in plan.objects:
                if (resident := self._acquire(connection, objects)) is not None:
                    stack.callback(self._release, resident)
                    sql = sql.replace(objects.sql, resident.name)
            yield sql

    def _acquire(self, connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> _Resident | None:
        """Find the kept table, or keep it if it is asked for again; None if it isn't kept."""
        with self._lock:
            resident = self._kept.get(objects.sql)
            if resident is None and objects.rows <= MOST_ROWS and self._is_asked_again(objects.sql):
                resident = self._keep(connection, objects)
            if resident is not None:
                self._kept.move_to_end(objects.sql)
                resident.readers += 1
            return resident

    def _is_asked_again(self, sql: str) -> bool:
        """Whether the table was asked for before. If not, remember that it was now."""
        if sql in self._asked:
            return True
        self._asked[sql] = None  # its bytes, once they are measured
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return False

    def _keep(self, connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> _Resident | None:
        try:
            if (size := self._asked[objects.sql]) is None:
                size = self._asked[objects.sql] = _measure(connection, objects)
            if size > self._most_bytes or not self._make_room(connection, size):
                return None
            resident = _Resident(f"resident_{next(self._numbers)}", size)
            connection.execute(f"CREATE TABLE {resident.name} AS FROM {objects.sql}").fetchall()
        except duckdb.OutOfMemoryException:  # the report may need less, and is to be made then
            self._asked[objects.sql] = _TOO_MANY
            return None
        self._kept[objects.sql] = resident
        return resident

    def _make_room(self, connection: duckdb.DuckDBPyConnection, size: int) -> bool:
        """Drop tables used least recently, and read by nobody now, until so many bytes fit."""
        for sql, resident in list(self._kept.items()):
            if self._has_room(size):
                break
            if not resident.readers:
                connection.execute(f"DROP TABLE {resident.name}").fetchall()
                del self._kept[sql]
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return sum(each.bytes for each in self._kept.values()) + size <= 2 * self._most_bytes

    def _release(self, resident: _Resident) -> None:
        with self._lock:
            resident.readers -= 1


def _measure(connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> int:
    """Measure the bytes of a table as DuckDB would hold it: a third too many at the most."""
    sql = f"SELECT count(*), sum(strlen(COLUMNS(*)::VARCHAR)) FROM {objects.sql}"  # noqa: S608 - a relation of ours
    ((rows, *texts),) = connection.execute(sql).fetchall()
    return sum(map(int, filter(None, texts))) + _CELL_BYTES * int(rows) * len(texts)
