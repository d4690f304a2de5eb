"""Keeps the rows of statements: the same SQL over the same immutable files gives the same."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from reelport.engine.plan import Plan
from reelport.server.explore.statements import Rows


class RowCache:
    """The rows of the statements that were used last, `size` of them. Any thread may use it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[bytes, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, plan: Plan) -> Rows | None:
        """Find the rows of a plan that was run before; None when they aren't kept."""
        key = _hash(plan)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def keep(self, plan: Plan, rows: Rows) -> None:
        """Keep the rows of a plan, and forget those that were not used for longest."""
        with self._lock:
            self._rows[_hash(plan)] = rows
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)


def _hash(plan: Plan) -> bytes:
    """Hash a plan's SQL, which may name hundreds of files."""
    return hashlib.sha256(plan.sql.encode("utf-8", "surrogatepass")).digest()
