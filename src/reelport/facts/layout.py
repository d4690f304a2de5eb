"""The version of a data directory: made on first use, and refused when a newer Reelport made it."""

from __future__ import annotations

import json
from pathlib import Path

from reelport.errors import NewerData, StorageError, UsageError
from reelport.facts.durable import translate_io_errors, write_atomically
from reelport.facts.modes import private

LAYOUT = 1
FILE_NAME = "layout.json"


def check_layout(data: Path) -> None:
    """Make the data directory with this version's mark, or check the mark that is there.

    Raises NewerData when a newer version made it, StorageError when it can't be read or made.
    """
    mark = data / FILE_NAME
    with translate_io_errors(data), private():
        data.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            write_atomically(mark, json.dumps({"layout": LAYOUT}).encode() + b"\n")
            return
    _check_file(data)


def check_existing(data: Path) -> None:
    """Check the mark of a data directory that has to be there already, and make nothing.

    So do all commands that could find or change nothing in a new one: a name that was mistyped is told, and is not
    made true. Raises UsageError when there is none, NewerData and StorageError as `check_layout` does.
    """
    with translate_io_errors(data):
        if (data / FILE_NAME).exists():
            _check_file(data)
            return
        what = f"holds no {FILE_NAME}" if data.exists() else "isn't there"
    raise UsageError(
        f"{data.absolute()} {what}, so it is no data directory: name one by --data or REELPORT_DATA. "
        "`reelport load`, `sample`, `org add` and `serve` make one."
    )


def _check_file(data: Path) -> None:
    mark = data / FILE_NAME
    with translate_io_errors(mark):
        text = mark.read_bytes()
    found = _parse_layout(text, mark)
    if found > LAYOUT:
        raise NewerData(
            f"{data} was written by a newer version of Reelport (layout {found}, this one knows {LAYOUT}): "
            "use that version, or another data directory"
        )


def require_layout(data: Path) -> None:
    """StorageError unless the data directory is there with its mark, as it is before anything reads from it.

    One whose disk went away looks like one without facts: what is made of it would be empty, and wrong.
    """
    if not (data / FILE_NAME).exists():
        raise StorageError(f"{data} is no data directory of Reelport: is its disk there?")


def _parse_layout(text: bytes, mark: Path) -> int:
    try:
        found = json.loads(text)["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(_damaged_sentence(mark)) from error
    if not isinstance(found, int):
        raise StorageError(_damaged_sentence(mark))
    return found


def _damaged_sentence(mark: Path) -> str:
    return f'{mark} is damaged, or no file of Reelport: it should hold {{"layout": {LAYOUT}}}'
