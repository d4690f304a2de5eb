"""Names a load's batch and finds its conflicts: known files, days with rows, unique values.

A file of facts that an earlier load has loaded, alone or with others, is refused. Rows on days of other batches are
added to theirs, or replace them. Two objects may not share a value such as the slug of a channel. Tables with such a
column are small, so that their keys and values are held in memory.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice

import pyarrow.parquet as pq

from reelport.errors import BadInput, StorageError
from reelport.facts.damage import DAMAGE_ERRORS, translate_damage
from reelport.facts.data_files.duckdb_session import open_reading_workspace
from reelport.facts.data_files.projection import in_days
from reelport.facts.data_files.rewriting import count_days
from reelport.facts.input.csv_and_ndjson import LineReader, read_records
from reelport.facts.input.files import READ_ERRORS, FileFormat, InputFile, damaged_sentence
from reelport.facts.log.commits import CHECKPOINT_EVERY
from reelport.facts.log.delta_log import TableVersion, require_intact
from reelport.facts.log.history import Load, find_load_of_file, read_history
from reelport.facts.tables import Table
from reelport.wording import format_count

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BatchName:
    """The name of a load's batch, whatever the order of its files.

    `files` are for each file, in the order given, the names that the batch of it alone would have, without days to
    replace: by its bytes and, of a compressed file of facts, by what it holds.
    """

    name: str
    files: tuple[tuple[str, ...], ...]


def name_batch(
    table: Table,
    mapping: str | None,
    span: tuple[date, date] | None,
    files: Sequence[InputFile],
    *,
    again: bool = False,
) -> BatchName:
    """Name a load: the same bytes, table, mapping and days give the same, in any order.

    The mapping's line ends don't count: CRLF names the same batch as LF. Raises BadInput where two files of facts hold
    the same rows, compressed or not, unless `again`, and where a compressed one is damaged.
    """
    digests = [_hash_file(file) for file in files]
    # Objects may be loaded any number of times: what a compressed file of them holds needs no name.
    contents = (
        [_hash_contents(file, digest) for file, digest in zip(files, digests, strict=True)]
        if table.is_fact
        else digests
    )
    if table.is_fact and not again:
        _refuse_twins(files, contents)
    return BatchName(
        _hash_load(table, mapping, span, sorted(digests)),
        tuple(
            tuple(_hash_load(table, mapping, None, [one]) for one in dict.fromkeys(both))
            for both in zip(digests, contents, strict=True)
        ),
    )


def _hash_load(table: Table, mapping: str | None, span: tuple[date, date] | None, digests: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    asked = (mapping or "").replace("\r\n", "\n").replace("\r", "\n")
    for part in ("reelport-batch-1", table.name, asked, *(map(str, span) if span else ("", ""))):
        digest.update(hashlib.sha256(part.encode()).digest())
    for one in digests:
        digest.update(one)
    return digest.hexdigest()[:16]


def _hash_file(file: InputFile) -> bytes:
    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise StorageError(f"{file.path} can't be read: {error.strerror}") from error


def _hash_contents(file: InputFile, packed: bytes) -> bytes:
    """Hash what a compressed file holds; the hash of the bytes, `packed`, of any other."""
    if file.compression is None:
        return packed
    digest = hashlib.sha256()
    try:
        with file.open() as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except READ_ERRORS as error:
        raise BadInput(damaged_sentence(file, error)) from error
    return digest.digest()


def _refuse_twins(files: Sequence[InputFile], digests: Sequence[bytes]) -> None:
    first: dict[bytes, InputFile] = {}
    twins = [
        f"{file.path} has the same contents as {same.path}: is it the same file twice?"
        for file, digest in zip(files, digests, strict=True)
        if (same := first.setdefault(digest, file)) is not file and has_rows(file)
    ]
    if twins:
        remedy = "nothing was loaded, as their rows would count twice: name one of them, or say --again if both count"
        raise BadInput("\n".join([*twins, remedy]))


def has_rows(file: InputFile) -> bool:
    """Whether the file has more than a header; such files are alike and no mistake."""
    try:
        if file.format is FileFormat.PARQUET:
            return bool(pq.read_metadata(file.path).num_rows)
        if file.format is FileFormat.NDJSON:
            return True
        with file.open() as stream:
            return next(islice(read_records(LineReader(stream, file)), 1, None), None) is not None
    except (BadInput, *READ_ERRORS, *DAMAGE_ERRORS):
        return True


_FILES_SHOWN = 5
COMMITS_READ = CHECKPOINT_EVERY
"""Commits that the look-up of a file reads on average: of two marks, those since the last checkpoint each time."""
_DAYS_SHOWN = 5
"""Days that a sentence names."""
Values = Mapping[str, str]
"""The unique value of each object, by its key."""
_VALUES_SHOWN = 100
"""The most shared values that an error lists."""


def refuse_loaded_files(
    now: TableVersion, batch: str, files: Sequence[InputFile], names: Sequence[Sequence[str]]
) -> None:
    """Raise BadInput where rows of these files of the batch are in the table by another load.

    `names` are for each file those that a batch of it alone would have. An undone load doesn't count, nor does one
    whose days were all replaced since.
    """
    looked_up = tuple(chain.from_iterable(names))
    if len(looked_up) * COMMITS_READ < now.version and not any(map(now.is_file_noted, looked_up)):
        return
    history = read_history(now)
    found = [
        (file, load)
        for file, own in zip(files, names, strict=True)
        if (load := find_load_of_file(history, own, batch)) is not None and has_rows(file)
    ]
    if found:
        raise BadInput(_format_loaded(found))


def _format_loaded(found: Sequence[tuple[InputFile, Load]]) -> str:
    lines = [
        f"{file.path} was loaded before, in batch {load.batch}{f' of {load.at:%Y-%m-%d}' if load.at else ''}"
        for file, load in found[:_FILES_SHOWN]
    ]
    if len(found) > _FILES_SHOWN:
        lines.append(f"and {format_count(len(found) - _FILES_SHOWN, 'more file')} too")
    batches = list(dict.fromkeys(load.batch for _, load in found))
    undo = f"take the batch back first (reelport load undo {batches[0]})" if len(batches) == 1 else "undo these batches"
    return "\n".join(
        [*lines, f"nothing was loaded, as rows would count twice: leave it out, {undo}, or say --again if both count"]
    )


@dataclass(frozen=True, slots=True)
class SharedDay:
    """A day on which other batches have rows already, and how many rows a load adds to it."""

    day: date
    rows: int


def find_shared_days(now: TableVersion, rows: Mapping[date, int]) -> tuple[SharedDay, ...]:
    """The days of a load not in the table yet on which the table has rows already."""
    filled = {day for file in now.files for day in file.list_days()}
    return tuple(SharedDay(day, rows[day]) for day in sorted(rows) if day in filled)


def format_shared_days(shared: Sequence[SharedDay], days: Sequence[date], *, is_dry: bool) -> str:
    """What a load of these days adds to, why that may be wrong, and what to do then."""
    rows = format_count(sum(one.rows for one in shared), "row")
    named = ", ".join(f"{one.day} ({one.rows:,})" for one in shared[:_DAYS_SHOWN])
    more = f" and {format_count(len(shared) - _DAYS_SHOWN, 'more day')}" if len(shared) > _DAYS_SHOWN else ""
    gaps = (max(days) - min(days)).days + 1 - len(set(days))
    which = "one day between them that has" if gaps == 1 else f"{gaps:,} days between them that have"
    emptied = f", and empties {which} no rows in the files: for rows that came late, load whole days" if gaps else ""
    added, again = ("would be added", "load the files") if is_dry else ("added", "load the files again")
    return (
        f"{rows} {added} to {format_count(len(shared), 'day')} on which other batches have rows: {named}{more}. "
        f"If they are the same facts, they count twice: {again} with --replace-days {min(days)}:{max(days)}, which "
        f"removes all other rows of these days{emptied}"
    )


def count_replaced_rows(now: TableVersion, span: tuple[date, date]) -> int:
    """How many rows the table has on these days, both included."""
    touched = [file for file in now.files if file.touches(*span)]
    cut = [file for file in touched if file.first_day < span[0] or file.last_day > span[1]]
    whole = sum(file.rows for file in touched if file not in cut)
    require_intact(now, cut)
    with open_reading_workspace(now.folder.parent) as space:
        return whole + count_days(space, now.table, now.paths(cut), in_days(now.table, *span)).total()


def read_values(table: Table, paths: Sequence[str]) -> dict[str, str]:
    """Read the unique values of data files, if the table has any. StorageError for damage."""
    if table.unique is None:
        return {}
    found: dict[str, str] = {}
    for path in paths:
        with translate_damage(path), pq.ParquetFile(path) as whole:
            rows = whole.read([table.key, table.unique])
        found |= zip(rows.column(table.key).to_pylist(), rows.column(table.unique).to_pylist(), strict=True)
    return found


def count_renamed(known: Values, new: Values) -> int:
    """Count the known objects that get another value."""
    return sum(known.get(key, value) != value for key, value in new.items())


def describe_shared(table: Table, known: Values, new: Values) -> str | None:
    """Say which values two objects would share after a merge; None when there are none.

    Only values of the new rows are meant: what shared one before doesn't stand in the way of others.
    """
    sentences = list(_find_shared(table, known, new))
    if not sentences:
        return None
    more = len(sentences) - _VALUES_SHOWN
    return "\n".join([*sentences[:_VALUES_SHOWN], *([f"{more:,} more like these."] if more > 0 else [])])


def _find_shared(table: Table, known: Values, new: Values) -> Iterator[str]:
    given, kept = _group_keys(new), _group_keys({key: value for key, value in known.items() if key not in new})
    object_ = table.name.removesuffix("s")
    for value, keys in sorted(given.items()):
        names = " and ".join(map(repr, keys))
        if value in kept:
            owner = kept[value][0]
            yield f"The {table.unique} {value!r}, given to {names}, is another {object_}'s already, {owner!r}."
        elif len(keys) > 1:
            yield f"The {table.unique} {value!r} is given to {names}."


def _group_keys(values: Values) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for key, value in sorted(values.items()):
        grouped[value].append(key)
    return grouped
