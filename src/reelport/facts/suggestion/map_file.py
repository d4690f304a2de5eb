"""Format a suggested mapping as SQL with comments, to be loaded once its gaps are filled."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from reelport.facts.suggestion.conversions import ExportColumn
from reelport.facts.suggestion.suggest import Gap, Guess, Suggestion
from reelport.sql_quoting import quote_name

_WIDTH = 110
_SHOWN = 3
_MARGIN = "    "
_LONGEST_NAME, _LONGEST_VALUE = 80, 40
"""Characters of a column's name, and of a value, that a comment shows."""
_OFTEN = {
    "media_type": ("'video'", "if nothing of it is live"),
    "views": ("1", "if each row is one view"),
    "time_watched_seconds": ("0", "if the export doesn't tell it"),
}
"""For columns that exports often lack: a value to fill in, and when it is right; not offered if the column exists."""


def format_map(found: Suggestion, files: Sequence[Path], to: Path) -> str:
    """Format the SQL: first the columns to fill in, then those that were found."""
    gaps = [line for gap in sorted(found.gaps, key=lambda gap: not gap.column.required) for line in _format_gap(gap)]
    guesses = [line for guess in found.guesses for line in _format_guess(guess, is_last=guess is found.guesses[-1])]
    lines = [*_format_head(found, files, to), "SELECT", *gaps, *guesses, "FROM input", *_format_foot(found)]
    return "\n".join(lines) + "\n"


def _format_head(found: Suggestion, files: Sequence[Path], to: Path) -> Iterator[str]:
    yield from _wrap_comment(
        f"A mapping of {files[0].name} to the table {found.table.name}, to start from: guessed by "
        "names, types and the first rows. [sure] is the same name, [likely] one that other exports give it, [guess] "
        "wants a look. A value that can't be converted stays as it is, and the load rejects its row."
    )
    if len(files) > 1:
        yield from _wrap_comment("The other files weren't looked at: a column that only they have isn't below.")
    words = ["reelport", "load", found.table.name, *map(str, files), "--map", str(to), "--dry-run"]
    yield f"-- Try it: {_to_printable(shlex.join(words))}"


def _format_gap(gap: Gap) -> Iterator[str]:
    """Format the column as comments: why it isn't filled in, and lines that would fill it."""
    column = gap.column
    need = "TO FILL IN" if column.required else "LEFT OUT"
    seen = f"{_format_name(gap.given.name)}: " if gap.given else ""
    yield from _wrap_comment(f"{need}: {column.name}, a {column.kind.value}: {seen}{gap.why}.", _MARGIN)
    yield from _wrap_comment(column.sentence, _MARGIN)
    if column.choices and not column.called:
        yield from _wrap_comment(f"One of: {', '.join(column.choices)}.", _MARGIN)
    for sql, note, given in _list_ways(gap):
        # A name with a line break can't be shown in a comment, so the line doesn't work as it stands.
        is_shown = given is None or given.sql.isprintable()
        lost = "" if is_shown else "; blanks stand for characters of its name that no comment can hold"
        comment = f"  -- {note}{lost}" if note else lost
        yield f"{_MARGIN}-- {_to_printable(f'{sql} AS {column.name},{comment}')}"


def _list_ways(gap: Gap) -> Iterator[tuple[str, str, ExportColumn | None]]:
    """List ways to fill the gap: SQL, a note, and the export's column that it uses."""
    if gap.ways:
        for given, way in gap.ways:
            yield way.sql, f"{_format_name(given.name)} {way.note}", given
    elif gap.given is not None and not gap.given.values:
        yield gap.given.sql, "if later rows fill it", gap.given
    elif gap.given is not None:
        yield f"… {gap.given.sql} …", "write how its values become the table's", gap.given
    elif gap.column.required:
        yield *_OFTEN.get(gap.column.name, ("…", "")), None


def _format_guess(guess: Guess, *, is_last: bool) -> Iterator[str]:
    values = ", ".join(repr(_to_printable(value[:_LONGEST_VALUE])) for value in guess.given.values[:_SHOWN])
    note = f"; {guess.way.note}" if guess.way.note else ""
    shown = f" (such as {values})" if values else ""
    text = f"[{guess.confidence.value}] {_format_name(guess.given.name)}: {guess.why}{shown}{note}."
    yield from _wrap_comment(text, _MARGIN)
    yield f"{_MARGIN}{guess.way.sql} AS {quote_name(guess.column.name)}{'' if is_last else ','}"


def _format_foot(found: Suggestion) -> Iterator[str]:
    done = {guess.column.name for guess in found.guesses} | {gap.column.name for gap in found.gaps}
    rest = [column.name for column in found.table.columns if column.name not in done]
    if found.unused:
        names = ", ".join(map(_shorten, found.unused))
        yield from _wrap_comment(f"Columns of the file that nothing is made of: {names}.")
    if rest:
        yield from _wrap_comment(f"Columns of the table that stay empty: {', '.join(rest)}.")


def _wrap_comment(text: str, margin: str = "") -> list[str]:
    lines = wrap(_to_printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"{margin}-- {line}" for line in lines]


def _format_name(name: str) -> str:
    return repr(_to_printable(_shorten(name)))


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _to_printable(text: str) -> str:
    """Replace characters that could end the comment's line by blanks."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
