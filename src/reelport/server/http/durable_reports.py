"""Remembers which finished reports are on the disk, before which nobody is told of them.

The end of the machine could undo one that isn't. A worker syncs the end of a report after its commit, when others may
see it already: whoever reads it in between syncs it too before telling of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import anyio.to_thread
from sqlalchemy import Engine

from reelport.server.state.database import sync_commits

_REMEMBERED = 10_000
"""Reports that are remembered. The next look at another one costs a sync."""


class DurableReports:
    """The finished reports (ids) that one process knows to be on the disk.

    Use it on the event loop only.
    """

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._known: OrderedDict[str, None] = OrderedDict()

    def note(self, reports: Iterable[str]) -> None:
        """Remember reports whose end is on the disk, as that of every report whose event is heard."""
        for report in reports:
            self._known[report] = None
            self._known.move_to_end(report)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def ensure(self, finished: frozenset[str]) -> None:
        """Return once the ends of these reports, which were read before, are on the disk.

        StorageError when the disk fails.
        """
        if not finished <= self._known.keys():
            await anyio.to_thread.run_sync(sync_commits, self._db)
            self.note(finished)
