"""Format a suggested mapping as an SQL file with comments; it can be loaded once its gaps are filled in."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from reelport.facts.rules import quote_name
from reelport.facts.suggestion.conversions import ExportColumn
from reelport.facts.suggestion.suggest import Gap, Guess, Suggestion
from reelport.facts.tables import Column

_WIDTH = 110
_SHOWN = 3
_OFTEN = {
    "media_type": ("'video'", "if nothing of it is live"),
    "views": ("1", "if each row is one view"),
    "time_watched_seconds": ("0", "if the export doesn't tell it"),
}
"""For columns that exports often lack: a value to fill in, and when it is right; not offered if the column exists."""


def format_map(found: Suggestion, files: Sequence[Path], to: Path) -> str:
    """Format the SQL: first the columns to fill in, then those that were found."""
    gaps = [line for gap in found.gaps if gap.column.required for line in _format_gap(gap)]
    others = [line for gap in found.gaps if not gap.column.required for line in _format_gap(gap)]
    guesses = [
        line
        for place, guess in enumerate(found.guesses)
        for line in _format_guess(guess, place + 1 == len(found.guesses))
    ]
    return (
        "\n".join(
            [*_format_head(found, files, to), "SELECT", *gaps, *others, *guesses, "FROM input", *_format_foot(found)]
        )
        + "\n"
    )


def _format_head(found: Suggestion, files: Sequence[Path], to: Path) -> Iterator[str]:
    words = ["reelport", "load", found.table.name, *map(str, files), "--map", str(to), "--dry-run"]
    yield from _format_comment(
        f"A mapping of {_to_printable(files[0].name)} to the table {found.table.name}, to start from: guessed by "
        "names, types and the first rows. [sure] is the same name, [likely] one that other exports give it, [guess] "
        "wants a look. A value that can't be converted stays as it is, and the load rejects its row."
    )
    yield f"-- Try it: {_to_printable(shlex.join(words))}"


def _format_gap(gap: Gap) -> Iterator[str]:
    """Format the column as comments: why it isn't filled in, and lines that would fill it."""
    column = gap.column
    need = "TO FILL IN" if column.required else "LEFT OUT"
    seen = f"{_to_printable(gap.given.name)!r}: " if gap.given else ""
    yield from _format_comment(f"{need}: {column.name}, a {column.kind.value}: {seen}{_to_printable(gap.why)}.", "    ")
    yield from _format_comment(column.sentence, "    ")
    if column.choices and not column.called:
        yield f"    -- One of: {', '.join(column.choices)}."
    for given, way in gap.ways:
        yield f"    -- {way.sql} AS {column.name},  -- {_to_printable(given.name)!r} {_to_printable(way.note)}"
    if gap.given is not None:
        if not gap.ways:
            yield f"    -- {_format_open_way(gap.given, column)}"
    elif column.name in _OFTEN:
        sql, when = _OFTEN[column.name]
        yield f"    -- {sql} AS {column.name},  -- {when}"
    elif column.required:
        yield f"    -- … AS {column.name},"


def _format_open_way(given: ExportColumn, column: Column) -> str:
    """Format a line for a column that no way converts: its name if it is empty, else a placeholder to complete."""
    if not given.values:
        return f"{_to_printable(given.sql)} AS {column.name},  -- if later rows fill it"
    return f"… {_to_printable(given.sql)} … AS {column.name},  -- write how its values become the table's"


def _format_guess(guess: Guess, is_last: bool) -> Iterator[str]:
    values = ", ".join(repr(_to_printable(value[:40])) for value in guess.given.values[:_SHOWN])
    note = f"; {guess.way.note}" if guess.way.note else ""
    shown = f" (such as {values})" if values else ""
    yield from _format_comment(
        f"[{guess.confidence.value}] {_to_printable(guess.given.name)!r}: {guess.why}{shown}{note}.", "    "
    )
    yield f"    {guess.way.sql} AS {quote_name(guess.column.name)}{'' if is_last else ','}"


def _format_foot(found: Suggestion) -> Iterator[str]:
    done = {guess.column.name for guess in found.guesses} | {gap.column.name for gap in found.gaps}
    rest = [column.name for column in found.table.columns if column.name not in done]
    if found.unused:
        yield from _format_comment(
            f"Columns of the file that nothing is made of: {', '.join(map(_to_printable, found.unused))}."
        )
    if rest:
        yield from _format_comment(f"Columns of the table that stay empty: {', '.join(rest)}.")


def _format_comment(text: str, margin: str = "") -> Iterator[str]:
    return (f"{margin}-- {line}" for line in wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _to_printable(text: str) -> str:
    """Replace characters that could end the comment's line by blanks."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
