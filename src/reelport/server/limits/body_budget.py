"""Limits the size of a request body, and the memory of all: of each owner, and in total.

A body counts from its first byte until its request is answered. Beyond an owner's share, its oldest unfinished body is
dropped; beyond the total, the oldest body of the owner that holds the most. A body that arrives promptly is never the
oldest for long, so a client that sends half bodies hurts only itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from starlette.requests import Request

from reelport.server.api_memory import BODIES_BYTES
from reelport.server.limits.quotas import Quota, Unit

BODY_BYTES = 1_048_576
"""Longest request body: ten times the longest document with its variables."""
TOKEN_BODY_BYTES = 16_384
"""Longest body of a token request: its sender isn't authenticated yet, and it is parsed on the event loop."""
TOKEN_BODIES_BYTES = 4 * 1_048_576
"""Most bytes of token request bodies in memory, of all clients."""
ADDRESS_TOKEN_BODIES_BYTES = 1_048_576
"""Most bytes of token request bodies in memory from one IP address."""
PARTNER_BODIES_BYTES = BODIES_BYTES // 4
"""One partner's share of the bodies in memory."""


class PendingBody:
    """A request body that is being received, and whether it was dropped."""

    def __init__(self, budget: BodyBudget, owner: Hashable) -> None:
        self._budget = budget
        self.owner = owner
        self.size = 0
        self.dropped = False
        self.scope = anyio.CancelScope()

    async def read(self, request: Request, limit: int) -> bytes | None:
        """Read the whole body; None, with the rest unread, as soon as it exceeds `limit`."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            return None
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                break
            self._budget.count_received(self, len(chunk))
            chunks.append(chunk)
        # Raises if the body was dropped.
        await checkpoint_if_cancelled()
        return b"".join(chunks) if size <= limit else None

    def protect(self) -> None:
        """Protect the body from being dropped: the request is being answered."""
        self._budget.protect(self)


class BodyBudget:
    """Accounts for the request bodies of one process. Use on its event loop only."""

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._bytes: dict[Hashable, int] = {}
        """Bytes by owner; owners without any are left out."""
        self._droppable: dict[Hashable, dict[PendingBody, None]] = {}
        self.bytes = 0
        """Bytes of all bodies now in memory."""

    def measure(self, policy: str, owner: Hashable) -> Quota:
        """Measure how many bytes more an owner may send before one of its bodies is dropped."""
        return Quota(policy, self._share, self._share - self._bytes.get(owner, 0), Unit.BYTES)

    @contextmanager
    def hold(self, owner: Hashable) -> Iterator[PendingBody]:
        """Account for a body within the block, which a drop leaves early: check `dropped` then."""
        body = PendingBody(self, owner)
        self._droppable.setdefault(owner, {})[body] = None
        try:
            with body.scope:
                yield body
        finally:
            self.protect(body)
            self._count(body, -body.size)

    def count_received(self, body: PendingBody, count: int) -> None:
        """Count received bytes, and drop the oldest bodies that exceed the limits."""
        if body.dropped:
            return
        self._count(body, count)
        while body.size and self._bytes[body.owner] > self._share:
            self._drop(self._oldest(body.owner) or body)
        while body.size and self.bytes > self._total:
            self._drop(self._oldest(max(self._bytes, key=self._bytes.__getitem__)) or body)

    def protect(self, body: PendingBody) -> None:
        """Never drop this body from now on."""
        bodies = self._droppable.get(body.owner, {})
        bodies.pop(body, None)
        if not bodies:
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
