"""Suggest a mapping: match an export's columns to a table's by names, types and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import Path

import duckdb

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    open_reading_workspace,
    parquet_source,
    translate_engine_errors,
)
from reelport.facts.defaults import MEMORY
from reelport.facts.input.files import FileFormat, InputFile, detect_format
from reelport.facts.input.load_query import FILE, LINE
from reelport.facts.input.mapping import create_json_view
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.sources import read_parquet_columns
from reelport.facts.input.text_batches import add_conversion, read_batches, read_header
from reelport.facts.schema import find_table
from reelport.facts.suggestion.conversions import Conversion, ExportColumn, add_hours, find_conversions, find_hours
from reelport.facts.suggestion.export_names import KEYS, NAMES, ColumnName, parse_column_name
from reelport.facts.tables import Column, Kind, Table

_ROWS, _VALUES = 2_000, 500
_MOST_COLUMNS = 10_000
_INPUT = "_reelport_export"
_BY_VALUES = {"visitor_country", "visitor_device_type", "media_type"}
_FEW_VALUES = 2
_MOST_TRIES = 20
"""How many columns of the export, the best first, are converted in search of one of the table's."""
_DATED = {"date", "day", "timestamp"}


class Confidence(StrEnum):
    """How certain a match of two columns is."""

    SURE = "sure"
    LIKELY = "likely"
    GUESS = "guess"


@dataclass(frozen=True, slots=True)
class Guess:
    """A column of the table, the export's column used for it, why, and its conversion."""

    column: Column
    given: ExportColumn
    confidence: Confidence
    why: str
    way: Conversion


@dataclass(frozen=True, slots=True)
class Gap:
    """A column of the table that a person must fill in: why, and possible `ways` to fill it.

    `given` is the export's column that looks like it, unless another column of the table uses that one.
    """

    column: Column
    why: str
    ways: tuple[tuple[ExportColumn, Conversion], ...] = ()
    given: ExportColumn | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggested mapping, in the table's order; `unused` are the export's other columns."""

    table: Table
    guesses: tuple[Guess, ...]
    gaps: tuple[Gap, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """How well a column of the export fits one of the table: from 100 to 0, and why."""

    score: float
    column: Column
    given: ExportColumn
    why: str


_SURE, _LIKELY = 90, 60
"""The least scores of a match that is sure, and of one that is likely."""


def suggest_for_files(root: Path, table: str, files: Sequence[Path], memory: str = MEMORY) -> Suggestion:
    """Suggest the mapping that fits the files to the table, by the first file only.

    Raises BadInput when that file can't be read, UsageError when there is no such table.
    """
    found = find_table(table)
    first = detect_format([Path(file) for file in files])[0]
    with open_reading_workspace(root, memory) as space, translate_engine_errors(first.path):
        return suggest(space.session, found, _read_columns(space, first))


def suggest(session: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[ExportColumn]) -> Suggestion:
    """Suggest which of the export's columns fill the table's; each is used at most once."""
    usable = [given for given in columns if given.is_usable]
    hours = find_hours(table, usable)
    matches = sorted(
        _find_matches(table, [given for given in usable if given is not hours]), key=lambda one: -one.score
    )
    tries = dict.fromkeys((column.name for column in table.columns), _MOST_TRIES)
    guesses: dict[str, Guess] = {}
    gaps: dict[str, Gap] = {}
    used: set[str] = set()
    for match in matches:
        column, given = match.column, match.given
        if column.name in guesses or given.name in used or not tries[column.name]:
            continue
        tries[column.name] -= 1
        ways = find_conversions(session, column, given, parse_column_name(given.name))
        if hours is not None and column.name == table.time and any(way.is_day for way in ways):
            ways = [add_hours(way, hours) for way in ways]
            used.add(hours.name)
        if len(ways) == 1 and not ways[0].needs_person:
            guesses[column.name] = Guess(column, given, _rate(match, ways[0]), match.why, ways[0])
            gaps.pop(column.name, None)
            used.add(given.name)
        elif column.name not in gaps:
            gaps[column.name] = _make_gap(match, ways)
    for column in table.columns:
        if column.required and column.name not in {*guesses, *gaps}:
            gaps[column.name] = Gap(column, "no column of the file looks like it")
    listed = [gaps[column.name] for column in table.columns if column.name in gaps]
    offered = {given.name for gap in listed for given, _ in gap.ways}
    return Suggestion(
        table,
        tuple(guesses[column.name] for column in table.columns if column.name in guesses),
        tuple(
            replace(gap, given=None) if gap.given and gap.given.name in used and not gap.ways else gap for gap in listed
        ),
        tuple(given.name for given in columns if given.name not in used | offered),
    )


def _rate(match: _Match, way: Conversion) -> Confidence:
    if way.is_doubtful or match.score < _LIKELY:
        return Confidence.GUESS
    return Confidence.SURE if match.score >= _SURE else Confidence.LIKELY


def _make_gap(match: _Match, ways: Sequence[Conversion]) -> Gap:
    given = match.given
    shown = ", ".join(repr(value[:40]) for value in given.values[:3])
    unit = parse_column_name(given.name).unit
    if ways:
        why = ways[0].note if len(ways) == 1 else f"its values ({shown}) can be read in {len(ways)} ways"
    elif unit is not None and match.column.unit not in {None, unit}:
        why = f"it counts {unit}, and the table {match.column.unit}"
    else:
        why = f"its values ({shown}) aren't what the table takes" if shown else "it is empty in the first rows"
    return Gap(match.column, f"{match.why}, but {why}", tuple((given, way) for way in ways), given)


def _find_matches(table: Table, columns: Sequence[ExportColumn]) -> Iterator[_Match]:
    dates = [given for given in columns if given.is_date]
    names = [(given, parse_column_name(given.name)) for given in columns]
    for column in table.columns:
        known = _known_names(
            column.name, KEYS.get(table.name, "") if column.name == table.key else NAMES.get(column.name, "")
        )
        for given, name in names:
            score, why = _match_by_name(column, known, given.name, name)
            if not score:
                score, why = _match_by_content(column, given, name, is_only_date=dates == [given])
            if score:
                yield _Match(score, column, given, why)


@cache
def _known_names(column: str, names: str) -> tuple[ColumnName, ...]:
    return tuple(parse_column_name(name) for name in (column, *filter(None, names.split(";"))))


def _match_by_name(column: Column, known: Sequence[ColumnName], name: str, read: ColumnName) -> tuple[float, str]:
    if name == column.name:
        return 100, "the same name"
    if read.whole == known[0].whole:
        return 95, "the same name, spelled in another way"
    for place, one in enumerate(known):
        if read.bare == one.bare and (read.bare or read.unit):
            return (
                (90 - place / 2, f"a known name of {column.name}") if place else (90, "the same name but for its unit")
            )
    return 0, ""


def _match_by_content(
    column: Column, given: ExportColumn, name: ColumnName, *, is_only_date: bool
) -> tuple[float, str]:
    """Score a match by the column's type or values, if its name fits nothing."""
    if column.kind in {Kind.DAY, Kind.MOMENT} and column.required:
        if is_only_date:
            return 40, "the only column of dates"
        if given.type == "VARCHAR" and _DATED & set(name.bare.split()):
            return 45, "its name tells of a date"
    if column.name in _BY_VALUES and len(given.values) >= _FEW_VALUES and {*given.values} <= {*column.choices}:
        return 45, "its values are of the table's list"
    return 0, ""


def _read_columns(space: Workspace, file: InputFile) -> tuple[ExportColumn, ...]:
    match file.format:
        case FileFormat.CSV:
            return _read_csv_columns(file)
        case FileFormat.PARQUET:
            types = dict(read_parquet_columns(space.session, file))
            relation = parquet_source([str(file.path)])
        case FileFormat.NDJSON:
            create_json_view(space, _INPUT, [file], lambda *_: None, ProgressMeter([file], lambda _: None))
            described = space.session.execute(f"DESCRIBE {_INPUT}").fetchall()
            types, relation = {name: kind for name, kind, *_ in described}, _INPUT
    found = [ExportColumn(name, kind, (), (name,)) for name, kind in types.items()]
    found += _read_fields(space, relation)
    _check_column_count(file, len(found))
    usable = [given for given in found if given.is_usable]
    texts = ", ".join(f"CAST({given.sql} AS VARCHAR)" for given in usable) or "NULL"
    rows = space.session.execute(f"SELECT {texts} FROM {relation} LIMIT {_ROWS}").fetchall()  # noqa: S608 - quoted
    read = [replace(given, values=_distinct_values(row[at] for row in rows)) for at, given in enumerate(usable)]
    return (*read, *(given for given in found if not given.is_usable))


def _read_fields(space: Workspace, relation: str) -> Iterator[ExportColumn]:
    """Read the fields of columns that hold objects (`device.category`) as columns of their own."""
    described = space.session.execute(f"SELECT * FROM {relation} LIMIT 0").description  # noqa: S608 - quoted
    for column, kind, *_ in described or ():
        if kind.id == "struct":
            for name, inner in kind.children:
                yield ExportColumn(f"{column}.{name}", str(inner), (), (column, name))


def _check_column_count(file: InputFile, count: int) -> None:
    if count > _MOST_COLUMNS:
        raise BadInput(
            f"{file.path} has {count:,} columns: a mapping is guessed for {_MOST_COLUMNS:,} at most; "
            "take those that you need into another file, or write the mapping yourself"
        )


def _read_csv_columns(file: InputFile) -> tuple[ExportColumn, ...]:
    names = read_header(file)
    _check_column_count(file, len(names))
    broken: list[str] = []

    def reject(_: int, line: int, reason: str, __: str) -> None:
        if not broken:
            broken.append(f"line {line}: {add_conversion(reason)}")

    part = next(read_batches([(0, file)], names, reject, ProgressMeter([file], lambda _: None)), None)
    if part is None:
        why = f" ({broken[0]})" if broken else ""
        raise BadInput(f"{file.path} has a header and no row that can be read{why}: a mapping is guessed by rows too")
    rows = part.slice(0, _ROWS).drop_columns([FILE, LINE])
    return tuple(ExportColumn(name, "VARCHAR", _distinct_values(rows.column(name).to_pylist())) for name in names)


def _distinct_values(cells: Iterable[str | None]) -> tuple[str, ...]:
    """Return the distinct non-empty texts of the cells in order, at most 500."""
    return tuple(islice(dict.fromkeys(cell.strip() for cell in cells if cell is not None and cell.strip()), _VALUES))
