"""Transports, blocking and asyncio: open a request, read its raw body, close it.

A transport doesn't raise for network failures: it returns Lost. It passes bodies on as they
came over the wire, since decoding hides where they were cut.
"""

from __future__ import annotations

from typing import Protocol

from reelport.client.steps import Lost, Reply, Request

TOO_SLOW = Lost("its answer only trickles")
"""What becomes of an answer that takes longer than a request's pace once it has begun, its head or its body."""


class Body(Protocol):
    """A response with an open body."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    def read(self) -> bytes | Lost:
        """Read the next bytes; none at the end."""

    def close(self) -> None:
        """Release the connection; may be called again."""


class Transport(Protocol):
    """Sends the requests of a blocking client."""

    def open(self, request: Request) -> Body | Lost:
        """Send a request and return the response, its body still open."""

    def close(self) -> None:
        """Close all connections."""


class AsyncBody(Protocol):
    """A response with an open body."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    async def read(self) -> bytes | Lost:
        """Read the next bytes; none at the end."""

    async def close(self) -> None:
        """Release the connection; may be called again."""


class AsyncTransport(Protocol):
    """Sends the requests of an asyncio client."""

    async def open(self, request: Request) -> AsyncBody | Lost:
        """Send a request and return the response, its body still open."""

    async def close(self) -> None:
        """Close all connections."""
