"""Suggest a mapping: match an export's and a table's columns by name, type, values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache

import duckdb

from reelport.facts.suggestion.column_names import ColumnName, parse_column_name
from reelport.facts.suggestion.conversions import Conversion, ExportColumn, find_conversions
from reelport.facts.suggestion.export_names import KEYS, NAMES
from reelport.facts.suggestion.hours import add_hours, find_hours
from reelport.facts.tables import Column, Kind, Table

_NEAR = 0.9
"""The least similarity, from 0 to 1, of two names that may mean the same column."""
_BY_TYPE = {Kind.DAY, Kind.MOMENT}
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
    """How well a column of the export fits one of the table; a higher score is better."""

    score: float
    column: Column
    given: ExportColumn
    why: str

    @property
    def confidence(self) -> Confidence:
        if self.score >= _SURE:
            return Confidence.SURE
        return Confidence.LIKELY if self.score >= _LIKELY else Confidence.GUESS


_SURE, _LIKELY = 90, 70


def suggest(session: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[ExportColumn]) -> Suggestion:
    """Suggest which of the export's columns fill the table's; each is used at most once."""
    usable = [given for given in columns if given.is_usable]
    hours = find_hours(table, usable)
    matches = sorted(
        _find_matches(table, [given for given in usable if given is not hours]), key=lambda match: -match.score
    )
    tries: Counter[str] = Counter()
    guesses: dict[str, Guess] = {}
    gaps: dict[str, Gap] = {}
    used: set[str] = set()
    for match in matches:
        column, given = match.column, match.given
        if column.name in guesses or given.name in used or tries[column.name] >= _MOST_TRIES:
            continue
        tries[column.name] += 1
        ways = find_conversions(session, column, given, parse_column_name(given.name))
        if hours is not None and column.name == table.time and any(way.is_day for way in ways):
            ways = [add_hours(way, hours) for way in ways]
            used.add(hours.name)
        if len(ways) == 1 and not ways[0].needs_person:
            confidence = Confidence.GUESS if ways[0].is_doubtful else match.confidence
            guesses[column.name] = Guess(column, given, confidence, match.why, ways[0])
            gaps.pop(column.name, None)
            used.add(given.name)
        elif column.name not in gaps:
            gaps[column.name] = _make_gap(match, ways)
    for column in table.columns:
        if column.required and column.name not in {*guesses, *gaps}:
            gaps[column.name] = Gap(column, "no column of the file looks like it")
        elif column.name in gaps:
            gaps[column.name] = _drop_used_column(gaps[column.name], used)
    offered = {given.name for gap in gaps.values() for given, _ in gap.ways}
    return Suggestion(
        table,
        tuple(guesses[column.name] for column in table.columns if column.name in guesses),
        tuple(gaps[column.name] for column in table.columns if column.name in gaps),
        tuple(given.name for given in columns if given.name not in used | offered),
    )


def _drop_used_column(gap: Gap, used: Collection[str]) -> Gap:
    """Drop the gap's column if another uses it and it can't fill this gap too."""
    return replace(gap, given=None) if gap.given and gap.given.name in used and not gap.ways else gap


def _make_gap(match: _Match, ways: Sequence[Conversion]) -> Gap:
    given = match.given
    shown = ", ".join(repr(value[:40]) for value in given.values[:3])
    unit = parse_column_name(given.name).unit
    if ways:
        why = ways[0].note if len(ways) == 1 else f"its values ({shown}) can be read in {len(ways)} ways"
    elif unit is not None and match.column.unit not in {None, unit.of}:
        why = f"it counts {unit.of}, and the table {match.column.unit}"
    else:
        why = f"its values ({shown}) aren't what the table takes" if shown else "it is empty in the first rows"
    return Gap(match.column, f"{match.why}, but {why}", tuple((given, way) for way in ways), given)


def _find_matches(table: Table, columns: Sequence[ExportColumn]) -> Iterator[_Match]:
    dated = [given for given in columns if given.type == "DATE" or given.type.startswith("TIMESTAMP")]
    only_dates = dated[0] if len(dated) == 1 else None
    names = [(given, parse_column_name(given.name)) for given in columns]
    for column in table.columns:
        own = parse_column_name(column.name)
        for given, read in names:
            score, why = _match_by_name(table, column, own, given.name, read)
            if score:
                yield _Match(score, column, given, why)
            elif found := _match_by_content(column, given, read, only_dates):
                yield _Match(found[0], column, given, found[1])


def _match_by_name(table: Table, column: Column, own: ColumnName, name: str, read: ColumnName) -> tuple[float, str]:
    """Score how well a name fits a column, from 100 to 0, and say why."""
    if name == column.name:
        return 100, "the same name"
    if read.whole == own.whole:
        return 95, "the same name, spelled in another way"
    if read.words == own.words and (read.unit is not None or own.unit is not None):
        return 90, "the same name but for its unit"
    names = _known_names(table, column)
    for place, known in enumerate(names):
        if {read.words, read.bare} & {known.words, known.bare} or read.whole == known.whole:
            return 88 - place / 2, f"a known name of {column.name}"
    is_near = any(_are_near(read.bare, known.bare) for known in (own, *names))
    return (50, "a name that is nearly one of its names") if is_near else (0, "")


def _are_near(name: str, known: str) -> bool:
    """Whether two names are nearly alike; cheap bounds first, as nearly all differ."""
    if 2 * min(len(name), len(known)) < _NEAR * (len(name) + len(known)):
        return False
    matcher = _make_matcher(known)
    matcher.set_seq1(name)
    return matcher.quick_ratio() >= _NEAR and matcher.ratio() >= _NEAR


@cache
def _make_matcher(known: str) -> SequenceMatcher[str]:
    """Make the matcher of a known name, which keeps what it counted of that name."""
    return SequenceMatcher(None, "", known)


def _known_names(table: Table, column: Column) -> tuple[ColumnName, ...]:
    names = KEYS.get(table.name, "") if column.name == table.key else NAMES.get(column.name, "")
    return _read_names(names)


@cache
def _read_names(names: str) -> tuple[ColumnName, ...]:
    return tuple(parse_column_name(name) for name in names.split(";") if name)


def _match_by_content(
    column: Column, given: ExportColumn, read: ColumnName, only_dates: ExportColumn | None
) -> tuple[float, str] | None:
    """Score a match by the column's type or values, if its name fits nothing."""
    if column.kind in _BY_TYPE and column.required:
        if given is only_dates:
            return 40, "the only column of dates"
        if given.type == "VARCHAR" and _DATED & set(read.words.split()):
            return 45, "its name tells of a date"
    if column.name in _BY_VALUES and len(given.values) >= _FEW_VALUES:
        known = [value for value in given.values if value in column.choices]
        if len(known) == len(given.values):
            return 45, "its values are of the table's list"
    return None
