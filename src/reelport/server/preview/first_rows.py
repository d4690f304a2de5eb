"""Reads the first rows of a finished report's file, whatever its size."""

from __future__ import annotations

import csv
import io
from contextlib import closing, suppress

from reelport.storage.file_store import FileStore

_ENOUGH = 256 << 10
"""Bytes that are read of a file: hundreds of rows."""


def read_first_rows(store: FileStore, name: str, most: int) -> list[list[str]]:
    """Read at most `most` rows after the header. FileNotFoundError without the file.

    Fewer are read where rows are longer than anybody reads.
    """
    with closing(store.open(name)) as file:
        content = file.read(0, _ENOUGH)
        whole = len(content) == file.size
    text = content.decode("utf-8", "ignore")  # The end may cut a letter.
    rows: list[list[str]] = []
    with suppress(csv.Error):  # A cell is longer than the parser takes: the rows before it are shown.
        rows.extend(csv.reader(io.StringIO(text, newline="")))
    return rows[1 : most + 1] if whole else rows[1:-1][:most]
