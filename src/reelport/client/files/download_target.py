"""The file that a download is for: which names are refused; errors of its disk."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelport.client.files.locks import POSIX
from reelport.errors import StorageError, UsageError
from reelport.local_path import refuse_address

_LONGEST_NAME = 240
# Extensions of other formats in which people expect reports.
_NO_CSV = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".xls", ".xlsx"})
_BLANK, _ILLEGAL = 32, '<>:"/\\|?*'
_DEVICE = re.compile("CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(COM|LPT)[0-9¹²³]")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def resolve_target(to: str | os.PathLike[str]) -> Path:
    """Resolve a download's path, following symlinks. Raises UsageError for an unusable one."""
    if not os.fspath(to):
        raise UsageError("The name of the file to write the report to is empty.")
    refuse_address(to, "A report is written to this machine: name a file, and copy it on from there.")
    try:
        named = Path(to).expanduser()
        path = named.resolve()
        str(path).encode()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, bytes that are no text, a home of nobody, a circle
        raise UsageError(f"{str(to)[:200]!r} is no name for a file: {error}.") from error
    if not POSIX and not can_be_named_on_windows(path.name):
        raise UsageError(
            f"{path.name[:80]!r} is no name for a file on Windows: leave out {' '.join(_ILLEGAL)} and a dot or blank "
            "at the end, and take none of its devices' names (CON, NUL, COM1)."
        )
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(f"The name {path.name[:40]}… is too long: give a shorter one.")
    with translate_io_errors(path):
        # Check the name as given: a pipe behind /dev/stdout has no path of its own.
        if os.fspath(to).endswith((os.sep, os.altsep or os.sep)) or (
            named.exists() and not stat.S_ISREG(named.stat().st_mode)
        ):
            raise UsageError(f"{to} is no regular file: name a file to write the report to.")
        if not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} to write the report to.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"The folder {path.parent} can't be written to.")
    return path


def can_be_named_on_windows(name: str) -> bool:
    """Whether Windows allows this name. A colon would open a hidden stream of another file."""
    stem = name.partition(".")[0].rstrip(" ").upper()
    illegal = any(letter in _ILLEGAL or ord(letter) < _BLANK for letter in name)
    return not (illegal or name.endswith((".", " ")) or _DEVICE.fullmatch(stem))


def resolve_csv_target(to: str | os.PathLike[str]) -> Path:
    """Resolve the path of a CSV download. Raises UsageError also for a name of another format."""
    path = resolve_target(to)
    if path.suffix.lower() in _NO_CSV:
        raise UsageError(
            f"{path.name} would hold a CSV: name it .csv. Of a file that was downloaded, `.table()` makes Parquet and "
            "rows, and `reelport report run` writes the form that the name says."
        )
    return path


@contextmanager
def translate_io_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError naming the file, with advice on a full disk."""
    try:
        yield
    except OSError as error:
        advice = " Make room, and run the same again." if error.errno in _FULL else ""
        raise StorageError(f"{path} can't be written or read: {error.strerror or error}.{advice}") from error
