"""Reads channels from a CSV file with the columns `id`, `slug`, `name`, `account`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from reelport.errors import StorageError, UsageError
from reelport.server.access.channel_registry import Channel, Entry, LineProblem
from reelport.storage.durable import describe_os_error
from reelport.wording import format_count

STDIN = Path("-")
"""The path that stands for standard input."""

COLUMNS = ("id", "slug", "name", "account")
"""The columns that the header may name, in any order; `id` and `slug` are required."""


def read_channels(path: Path) -> tuple[tuple[Entry, ...], tuple[LineProblem, ...]]:
    """Read the channels of a file, and a sentence for each line that is wrong.

    An empty name or account becomes None. `-` is standard input. UsageError when the header or the text is wrong,
    StorageError when the file can't be read.
    """
    named = "standard input" if path == STDIN else str(path)
    try:
        text = (sys.stdin.buffer.read() if path == STDIN else path.read_bytes()).decode("utf-8-sig")
        lines = list(_read_lines(StringIO(text, newline="")))
    except OSError as error:
        raise StorageError(f"{path}: {describe_os_error(error)}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"{named} isn't text in UTF-8.") from None
    except csv.Error as error:
        raise UsageError(f"{named} isn't CSV: {error}.") from None
    header = _parse_header(named, lines)
    wrong = tuple(
        (
            line,
            f"It has {format_count(len(cells), 'cell')}, and the header has {len(header)}.",
        )
        for line, cells in lines[1:]
        if len(cells) != len(header)
    )
    entries = tuple(Entry(_make_channel(header, cells), line) for line, cells in lines[1:] if len(cells) == len(header))
    return entries, wrong


def _read_lines(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that isn't empty, with the line that it begins on."""
    reader, begins = csv.reader(file, strict=True), 1
    for cells in reader:
        if cells:
            yield begins, cells
        begins = reader.line_num + 1


def _parse_header(named: str, lines: Sequence[tuple[int, list[str]]]) -> list[str]:
    names = [name.strip().lower() for name in lines[0][1]] if lines else []
    wrong = [f"there is no column {name!r}" for name in ("id", "slug") if name not in names]
    wrong += [f"{name!r} is none of {', '.join(COLUMNS)}" for name in names if name not in COLUMNS]
    wrong += [f"{name!r} is named more than once" for name in COLUMNS if names.count(name) > 1]
    if wrong:
        raise UsageError(f"The header of {named} names the columns id, slug, name and account: {'; '.join(wrong)}.")
    return names


def _make_channel(header: Sequence[str], cells: Sequence[str]) -> Channel:
    row = dict(zip(header, cells, strict=True))
    return Channel(row["id"], row["slug"], row.get("name") or None, row.get("account") or None)
