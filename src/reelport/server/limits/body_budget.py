"""Bounds the memory of request bodies: of each owner and altogether, from their first byte to their answer.

Beyond an owner's share its oldest unfinished body is dropped, beyond the total the oldest of the owner that holds
the most. A body that comes at once is never the oldest for long, so that whoever sends half bodies hurts itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from starlette.requests import Request


class PendingBody:
    """One body, and whether it had to be dropped."""

    def __init__(self, budget: BodyBudget, owner: Hashable) -> None:
        self._budget = budget
        self.owner = owner
        self.size = 0
        self.dropped = False
        self.scope = anyio.CancelScope()

    async def read(self, request: Request, most: int) -> bytes | None:
        """Read the whole body; None as soon as it is longer than `most` bytes, by its header or as it comes.

        The rest is left unread: the connection ends, and lets its caller see the answer.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            return None
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                break
            self._budget.count_received(self, len(part))
            parts.append(part)
        # A body that was dropped ends here at the latest.
        await checkpoint_if_cancelled()
        return b"".join(parts) if size <= most else None

    def protect(self) -> None:
        """Drop it no more: its work begins."""
        self._budget.protect(self)


class BodyBudget:
    """The bodies that one process holds. To be used on its event loop only."""

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._bytes: dict[Hashable, int] = {}
        """By owner; who has none isn't in it."""
        self._droppable: dict[Hashable, dict[PendingBody, None]] = {}
        self.bytes = 0
        """Of all bodies that are held now."""

    @contextmanager
    def hold(self, owner: Hashable) -> Iterator[PendingBody]:
        """Account for one body of an owner within the block. The block is left early when it is dropped: ask it."""
        body = PendingBody(self, owner)
        self._droppable.setdefault(owner, {})[body] = None
        try:
            with body.scope:
                yield body
        finally:
            self.protect(body)
            self._count(body, -body.size)

    def count_received(self, body: PendingBody, count: int) -> None:
        """Count bytes that have come, and drop what is too much for them."""
        if body.dropped:
            return
        self._count(body, count)
        while body.size and self._bytes[body.owner] > self._share:
            self._drop(self._oldest(body.owner) or body)
        while body.size and self.bytes > self._total:
            self._drop(self._oldest(max(self._bytes, key=self._bytes.__getitem__)) or body)

    def protect(self, body: PendingBody) -> None:
        """Leave a body alone from now on."""
        mine = self._droppable.get(body.owner, {})
        mine.pop(body, None)
        if not mine:
            self._droppable.pop(body.owner, None)

    def _oldest(self, owner: Hashable) -> PendingBody | None:
        return next((each for each in self._droppable.get(owner, ()) if each.size), None)

    def _drop(self, body: PendingBody) -> None:
        body.dropped = True
        self.protect(body)
        self._count(body, -body.size)
        body.scope.cancel()

    def _count(self, body: PendingBody, count: int) -> None:
        body.size += count
        self.bytes += count
        self._bytes[body.owner] = self._bytes.get(body.owner, 0) + count
        if not self._bytes[body.owner]:
            del self._bytes[body.owner]
