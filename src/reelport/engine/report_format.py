"""The CSV of a report, and the forms that are made from it once it is finished.

Each has a suffix and a media type. A form also needs its writer, in `server/queue/form_maker`.
"""

from __future__ import annotations

from dataclasses import dataclass


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


CSV = FileType(".csv", "text/csv; charset=utf-8")
"""What every report is written as."""


def copy_options(*, has_header: bool) -> str:
    """Options of DuckDB's COPY for a report's CSV by RFC 4180, or for a further piece of it.

    With LF line ends: NULL is an empty cell, and only cells that need quotes are quoted.
    """
    header = str(has_header).lower()
    return f"FORMAT csv, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false, HEADER {header}"


PARQUET = FileType(".parquet", "application/vnd.apache.parquet")
NDJSON = FileType(".ndjson", "application/x-ndjson")
CSV_GZ = FileType(".csv.gz", "application/gzip")
CSV_ZST = FileType(".csv.zst", "application/zstd")
XLSX = FileType(".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")

FORM_TYPES = {form.suffix: form for form in (PARQUET, NDJSON, CSV_GZ, CSV_ZST, XLSX)}
"""The forms in which a finished report is had beside its CSV, by suffix."""
