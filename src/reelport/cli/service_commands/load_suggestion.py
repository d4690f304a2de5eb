"""`load --suggest-map`: write a mapping to start from, and print what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from reelport.cli.service_commands.load_output import to_json
from reelport.errors import UsageError
from reelport.facts.suggestion.suggest import Suggestion
from reelport.storage.durable import describe_os_error, replace_file, to_storage_error
from reelport.wording import clean_line, format_count


def write_suggestion(
    root: Path, table: str, files: Sequence[Path], to: Path | None, memory: str, *, force: bool, as_json: bool
) -> None:
    """Write a mapping from the files to the table, into `to` or ./TABLE.map.sql.

    Raises UsageError where that file exists, unless `force`. A file that is to be loaded is never overwritten.
    """
    from reelport.facts.suggestion.map_file import format_map
    from reelport.facts.suggestion.suggest import suggest_for_files

    place = to or Path(f"{table}.map.sql")
    found = suggest_for_files(root, table, files, memory)
    if place.exists() and any(place.samefile(file) for file in files):
        raise UsageError(f"{place} is the file that is to be loaded: name another place for the mapping by --map")
    _write_file(place, format_map(found, files, place), force=force)
    command = shlex.join(["reelport", "load", table, *map(str, files), "--map", str(place), "--dry-run"])
    if as_json:
        print(to_json(_facts(found, place, command)))
    else:
        _print(found, place, command)


def _write_file(place: Path, text: str, *, force: bool) -> None:
    """Write the mapping whole or not at all; into a pipe or device, and through a link."""
    content = text.encode("utf-8", "replace")
    try:
        if force and place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            replace_file(place.resolve() if force else place, content, is_new=not force)
    except FileExistsError:
        raise UsageError(
            f"{place} is there already: name another place by --map, or write over it by --force"
        ) from None
    except OSError as error:
        raise to_storage_error(f"{place} can't be written: {describe_os_error(error, place)}", error) from error


def _print(found: Suggestion, place: Path, command: str) -> None:
    for guess in found.guesses:
        print(f"  {guess.column.name}: {clean_line(guess.given.name)!r}, {guess.confidence.value}")
    missing = [gap.column.name for gap in found.gaps if gap.column.required]
    count = format_count(len(found.guesses), "column")
    print(f"{clean_line(str(place))}: {count} of {found.table.name} found in the file; look them over.")
    if missing:
        print(f"To fill in before it loads: {', '.join(missing)}.")
    print(f"Then try it: {clean_line(command)}")


def _facts(found: Suggestion, place: Path, command: str) -> dict[str, object]:
    return {
        "file": place,
        "found": [
            {
                "column": guess.column.name,
                "from": guess.given.name,
                "confidence": guess.confidence.value,
                "why": guess.why,
                "sql": guess.way.sql,
            }
            for guess in found.guesses
        ],
        "to_fill_in": [gap.column.name for gap in found.gaps if gap.column.required],
        "left_out": [gap.column.name for gap in found.gaps if not gap.column.required],
        "unused": found.unused,
        "command": command,
    }
