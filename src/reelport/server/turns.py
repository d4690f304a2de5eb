"""Whose documents are worked on: two of one partner at a time, so that many of them don't keep the others waiting."""

from __future__ import annotations

import anyio

AT_ONCE = 2
"""Documents of a partner. Python computes for one of them at a moment; the second makes use of waits for the state."""


class Turns:
    """The turns of every partner of one process. To be used on its event loop only."""

    def __init__(self) -> None:
        self._of: dict[int, anyio.CapacityLimiter] = {}

    def of(self, organization_id: int) -> anyio.CapacityLimiter:
        """What a document of this partner holds while it is worked on; first come, first served."""
        return self._of.setdefault(organization_id, anyio.CapacityLimiter(AT_ONCE))
