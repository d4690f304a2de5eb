"""The seam to the network: open a request, read its body raw, close it; once blocking, once for asyncio.

A transport raises nothing for what networks do: it gives Lost. Bodies are handed on as
they came over the wire, since decoding hides where they were cut.
"""

from __future__ import annotations

from typing import Protocol

from reelport.client.steps import Lost, Reply, Request


class Body(Protocol):
    """An answer whose body is still to be read."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    def read(self) -> bytes | Lost:
        """The next bytes; none at the end."""

    def close(self) -> None:
        """Let go of the connection; may be called again."""


class Transport(Protocol):
    """What a blocking client sends requests through."""

    def open(self, request: Request) -> Body | Lost:
        """Send a request; the answer's body is read from what is given back."""

    def close(self) -> None:
        """Let go of everything."""


class AsyncBody(Protocol):
    """An answer whose body is still to be read."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    async def read(self) -> bytes | Lost:
        """The next bytes; none at the end."""

    async def close(self) -> None:
        """Let go of the connection; may be called again."""


class AsyncTransport(Protocol):
    """What an asyncio client sends requests through."""

    async def open(self, request: Request) -> AsyncBody | Lost:
        """Send a request; the answer's body is read from what is given back."""

    async def close(self) -> None:
        """Let go of everything."""
