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
