"""What reading a damaged Parquet file raises, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from reelport.errors import StorageError
from reelport.storage.durable import to_plain_line, translate_io_errors

DAMAGE_ERRORS = (pa.ArrowException, UnicodeDecodeError)
"""The second one where a byte of a column's name is another than was written: Arrow reads names only then."""


@contextmanager
def translate_damage(path: str | Path) -> Iterator[None]:
    """Raise StorageError, naming the file, where the block finds it damaged or can't read it."""
    try:
        with translate_io_errors(Path(path)):
            yield
    except DAMAGE_ERRORS as error:
        raise StorageError(f"{path} can't be read: {to_plain_line(str(error))}; run reelport verify") from error
