"""The tenant that a report is for. No SQL is built without one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """A partner, as the ids of the channels that it may read. Without channels it sees no row.

    With `scopes`, no SQL is built for a metric that needs another one.
    """

    channels: frozenset[str]
    scopes: frozenset[str] | None = None

    @property
    def listed_channels(self) -> frozenset[str] | None:
        """The channels by which rows and files are chosen; None where those of every channel are."""
        return self.channels


class EveryChannel(Tenant):
    """The platform itself: it sees the rows of every channel. For one page of operators alone.

    To code that doesn't know of it, it is a partner without channels, who sees no row.
    """

    def __init__(self, scopes: frozenset[str]) -> None:
        super().__init__(frozenset(), scopes)

    @property
    def listed_channels(self) -> None:
        """None: of every channel."""
        return
