"""The events that processes tell each other: frozen values, each one line on its way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """What happened; each kind says what the subject of its events is."""

    REPORT_QUEUED = "report_queued"
    """A report (its id) is due for a worker."""
    REPORT_ENDED = "report_ended"
    """A report (its id) is finished, failed, or was withdrawn or expired before it was made."""
    TABLE_ADVANCED = "table_advanced"
    """A fact table (its name) has a new version."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, and to what."""

    kind: Kind
    subject: str

    def encode(self) -> bytes:
        """Write the event as a line."""
        return f"{self.kind} {self.subject}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> Self | None:
        """Read a line that `encode` wrote, without its end; None for any other."""
        with suppress(ValueError):
            kind, _, subject = line.decode().partition(" ")
            return cls(Kind(kind), subject)
        return None
