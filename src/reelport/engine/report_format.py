"""The formats of report files, and the forms that are made from a finished CSV.

Each has a suffix and a media type; a format says how DuckDB writes it. A format is added here alone: what names,
writes, sweeps or serves a report's file reads it. A form also needs its writer, in `server/queue/form_maker`.
"""

from __future__ import annotations

from dataclasses import dataclass

from reelport.errors import InternalError


@dataclass(frozen=True, slots=True)
class FileType:
    """The type of a file: the suffix of its name, and its media type."""

    suffix: str
    media_type: str

    def file_name(self, stem: str) -> str:
        """Name a file of this type."""
        return stem + self.suffix


@dataclass(frozen=True, slots=True)
class Written:
    """A finished report's file: rows without the header, bytes, and the SHA-256 in hex."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportFormat(FileType):
    """One format of report files, and how DuckDB writes it.

    `first` and `further` are options of COPY for a report's first piece and for others. `further` is None where no
    piece can be appended to another: then a report is one piece.
    """

    first: str
    further: str | None

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

PARQUET = FileType(".parquet", "application/vnd.apache.parquet")
NDJSON = FileType(".ndjson", "application/x-ndjson")
CSV_GZ = FileType(".csv.gz", "application/gzip")
CSV_ZST = FileType(".csv.zst", "application/zstd")
XLSX = FileType(".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")

FORM_TYPES = {form.suffix: form for form in (PARQUET, NDJSON, CSV_GZ, CSV_ZST, XLSX)}
"""The forms in which a finished report is had beside its CSV, by suffix."""
