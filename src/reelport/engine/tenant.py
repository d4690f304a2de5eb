"""Who a report is for: the wall between partners, as a value without which no SQL is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """The ids of the channels that a partner may read. With none, it sees nothing."""

    channels: frozenset[str]
