"""The formats of report files: their suffix and media type.

A format is added here alone: what names, sweeps or serves a report's file reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One format of report files."""

    suffix: str
    media_type: str

    def file_name(self, stem: str) -> str:
        """Name a file of this format."""
        return stem + self.suffix


CSV = ReportFormat(".csv", "text/csv; charset=utf-8")

FORMATS = (CSV,)
