"""A data directory's layout version, written on first use; a newer one is refused."""

from __future__ import annotations

import json
from pathlib import Path

from reelport.errors import NewerData, StorageError, UsageError
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder

LAYOUT = 1
FILE_NAME = "layout.json"
UNFINISHED_NAME = "restore-unfinished"
"""The file that marks a data directory while a backup is restored into it."""


def check_layout(data: Path) -> None:
    """Create the data directory with its layout file, or check the layout file that exists.

    Raises NewerData when a newer version wrote it, StorageError when it can't be read or created.
    """
    with translate_io_errors(data), private():
        data.mkdir(parents=True, exist_ok=True)
    if not _has_layout(data):
        _write_layout(data)
        return
    _check_file(data)


def check_existing(data: Path) -> None:
    """Check the layout file of a data directory that must exist already; create nothing.

    For all commands that could find or change nothing in a new directory: a mistyped name is an error, and no
    directory is created. Raises UsageError when there is none, NewerData and StorageError as `check_layout` does.
    """
    if _has_layout(data):
        _check_file(data)
        return
    with translate_io_errors(data):
        what = f"holds no {FILE_NAME}" if data.exists() else "isn't there"
    raise UsageError(
        f"{data.absolute()} {what}, so it is no data directory: name one by --data or REELPORT_DATA. "
        "`reelport load`, `sample`, `org add` and `serve` make one, and `worker` on a machine of workers alone."
    )


def begin_restore(data: Path, origin: str) -> None:
    """Let nothing use the data directory until `end_restore`; `origin` says what is restored."""
    LocalFolder(data).put(UNFINISHED_NAME, origin.encode())


def end_restore(data: Path) -> None:
    """Let the data directory be used: it is complete."""
    _write_layout(data)
    LocalFolder(data).delete(UNFINISHED_NAME)


def read_unfinished(data: Path) -> str | None:
    """Read the origin of a restore into the data directory that began and did not end."""
    store = LocalFolder(data)
    return None if store.find(UNFINISHED_NAME) is None else read_file(store, UNFINISHED_NAME).decode()


def _write_layout(data: Path) -> None:
    LocalFolder(data).put(FILE_NAME, json.dumps({"layout": LAYOUT}).encode() + b"\n")


def _has_layout(data: Path) -> bool:
    if LocalFolder(data).find(UNFINISHED_NAME) is not None:
        raise StorageError(f"A restore into {data} was not finished: run `reelport restore` again.")
    return LocalFolder(data).find(FILE_NAME) is not None


def read_layout(data: Path) -> int:
    """Read the layout version of a data directory; StorageError when it can't be read."""
    path = data / FILE_NAME
    with translate_io_errors(path):
        text = read_file(LocalFolder(data), FILE_NAME)
    try:
        found = json.loads(text)["layout"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, int):
        raise StorageError(f'{path} is damaged, or no file of Reelport: it should hold {{"layout": {LAYOUT}}}')
    return found


def _check_file(data: Path) -> None:
    found = read_layout(data)
    if found > LAYOUT:
        raise NewerData(
            f"{data} was written by a newer version of Reelport (layout {found}, this one knows {LAYOUT}): "
            "use that version, or another data directory"
        )


def require_layout(data: Path) -> None:
    """Raise StorageError unless the data directory has its layout file; before any read.

    If its disk were unmounted, the directory would look like one without facts, and reports would be empty.
    """
    if not _has_layout(data):
        raise StorageError(f"{data} is no data directory of Reelport: is its disk there?")
