"""The version of a data directory: made on first use, and refused when a newer Reelport made it."""

from __future__ import annotations

import json
from pathlib import Path

from reelport.errors import NewerData, StorageError
from reelport.facts.durable import storage_errors, write_whole

LAYOUT = 1
FILE_NAME = "layout.json"


def check_layout(data: Path) -> None:
    """Make the data directory with this version's mark, or check the mark that is there.

    Raises NewerData when a newer version made it, StorageError when it can't be read or made.
    """
    mark = data / FILE_NAME
    with storage_errors(data):
        data.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            write_whole(mark, json.dumps({"layout": LAYOUT}).encode() + b"\n")
            return
        text = mark.read_bytes()
    found = _layout_of(text, mark)
    if found > LAYOUT:
        raise NewerData(
            f"{data} was written by a newer version of Reelport (layout {found}, this one knows {LAYOUT}): "
            "use that version, or another data directory"
        )


def _layout_of(text: bytes, mark: Path) -> int:
    try:
        found = json.loads(text)["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f'{mark} can\'t be read: {error!r}; it should hold {{"layout": {LAYOUT}}}') from error
    if not isinstance(found, int):
        raise StorageError(f"{mark} should hold a whole number as its layout")
    return found
