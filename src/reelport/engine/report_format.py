"""The formats of report files: suffix, media type, and how DuckDB writes them.

A format is added here alone: what names, writes, sweeps or serves a report's file reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from reelport.errors import InternalError


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One format of report files, and how DuckDB writes it.

    `first` and `further` are options of COPY for a report's first piece and for others. `further` is None where no
    piece can be appended to another: then a report is one piece.
    """

    suffix: str
    media_type: str
    first: str
    further: str | None

    def file_name(self, stem: str) -> str:
        """Name a file of this format."""
        return stem + self.suffix

    def copy_options(self, *, is_first: bool) -> str:
        """Options of COPY for a piece. InternalError for a further one that can't be appended."""
        options = self.first if is_first else self.further
        if options is None:
            raise InternalError(f"a {self.suffix} file can't be written in pieces")
        return options


_RFC_4180 = "FORMAT csv, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"
"""With LF line ends: NULL is an empty cell, and only cells that need quotes are quoted."""

CSV = ReportFormat(".csv", "text/csv; charset=utf-8", f"{_RFC_4180}, HEADER true", f"{_RFC_4180}, HEADER false")

FORMATS = (CSV,)
