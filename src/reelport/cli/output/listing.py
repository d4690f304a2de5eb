"""Print lists and facts, without control characters, and commands that can be pasted.

On a terminal a list is a table, in a pipe tab-separated lines, with `--json` JSON.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import Parameter

from reelport.wire import format_utc
from reelport.wording import clean_line

if TYPE_CHECKING:
    from rich.table import Table

PrintJson = Annotated[bool, Parameter("--json", help="Print JSON.")]


_LONG_WORD = 20  # words with more letters, such as paths, may be broken in a table
_GAP = 2


def print_list(rows: Sequence[Mapping[str, object]], *, as_json: bool, none: str = "There is nothing to list.") -> None:
    """Print rows as a JSON list, a table on a terminal, or tab-separated lines.

    Without rows, the sentence `none` goes to stderr: stdout is for data.
    """
    if as_json:
        print_json(list(rows))
    elif not rows:
        print(none, file=sys.stderr)
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in [list(rows[0]), *(list(map(format_value, row.values())) for row in rows)]:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))


def print_fields(fields: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing, one field on each line, or as one JSON object."""
    if as_json:
        print_json(fields)
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        text = format_value(value)
        print(f"{name:<{width}}  {clean_line(text) if sys.stdout.isatty() else text}")


def print_json(value: object) -> None:
    """Print a value as JSON; control characters, of which `json` escapes some, are escaped."""
    text = json.dumps(value, default=format_value, ensure_ascii=False, indent=2)
    print(_STEERING_INSIDE_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def format_value(value: object) -> str:
    """Format a value: UTC times without fractions, lists with commas, an empty text for None."""
    match value:
        case None:
            return ""
        case datetime():
            return format_utc(value)
        case list() | tuple() | set() | frozenset():
            return ",".join(format_value(each) for each in value)
        case Mapping():
            return json.dumps(dict(value), default=format_value, ensure_ascii=False)
        case _:
            return str(value)


def format_moment(time: datetime) -> str:
    """Format a time as reports write it."""
    return time.isoformat().replace("+00:00", "Z")


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [{name: clean_line(format_value(value)) for name, value in row.items()} for row in rows]
    # The width below which a wide table would break words, other than long ones.
    words = [[word for text in (name, *(row[name] for row in texts)) for word in text.split()] for name in texts[0]]
    needed = sum(min(max(map(len, each), default=0), _LONG_WORD) + _GAP for each in words)
    console = Console()
    if needed > console.width:
        lines = [(name, text) for row in texts for name, text in [("", ""), *row.items()] if text or not name]
        console.print(build_grid(lines[1:]))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in texts[0]:
        table.add_column(name, overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row.values()))
    console.print(table)


def build_grid(rows: Iterable[tuple[str, str]]) -> Table:
    """Build a grid for a terminal: a name in each row, and a text that is folded beside it."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(name, Text(text))
    return grid


# Control characters, and halves of characters that a file's name may hold.
_STEERING_INSIDE_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class CleanedOutput:
    """Writes UTF-8 to a terminal, with U+FFFD for control characters; line ends and tabs stay.

    A byte order mark in front is left out.
    """

    def __init__(self, terminal: BinaryIO) -> None:
        self._terminal = terminal
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._held = ""

    def write(self, data: bytes, /) -> int:
        """Write bytes. A final carriage return waits for the next byte: a line may end there."""
        text = self._held + self._decoder.decode(data)
        self._held = "\r" if text.endswith("\r") else ""
        self._put(text.removesuffix("\r"))
        return len(data)

    def finish(self) -> None:
        """Write what was held back."""
        self._put(self._held + self._decoder.decode(b"", final=True))
        self._held = ""

    def _put(self, text: str) -> None:
        self._terminal.write(_STEERING_INSIDE_LINES.sub("\ufffd", text.replace("\r\n", "\n")).encode())


def quote_command(words: Iterable[str], platform: str = sys.platform) -> str:
    """Quote words as one line for a POSIX shell, or for Windows' own."""
    if platform != "win32":
        return shlex.join(words)
    from subprocess import list2cmdline

    return list2cmdline(words)
