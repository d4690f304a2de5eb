"""Suggest a mapping: which columns of an export fill a table's columns.

Names, types and the synonyms in `mapping_suggestion.toml` decide. A value that can't be converted is left unchanged, so
that the load refuses its row and reports it; none is dropped.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import Literal, TypeAlias

import duckdb
import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    open_reading_workspace,
    parquet_source,
    translate_engine_errors,
)
from reelport.facts.defaults import MEMORY
from reelport.facts.input.csv_and_ndjson import add_conversion, read_batches, read_header
from reelport.facts.input.files import FileFormat, InputFile, ProgressMeter, detect_format
from reelport.facts.input.mapping import create_json_view
from reelport.facts.input.sources import ReaderFailure, Reading, read_parquet_columns
from reelport.facts.tables import Column, Kind, Table, find_table
from reelport.sql_quoting import quote_name, quote_text
from reelport.wording import clean_line

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_SIGNS = {"€": " eur ", "$": " usd ", "%": " percent "}
_UNITS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("ms", "millis", "milliseconds"), ("seconds", "0.001")),
    **dict.fromkeys(("s", "sec", "secs", "seconds"), ("seconds", "1")),
    **dict.fromkeys(("min", "mins", "minutes"), ("seconds", "60")),
    **dict.fromkeys(("h", "hrs", "hours"), ("seconds", "3600")),
    **dict.fromkeys(("eur", "euro", "euros"), ("EUR", "1")),
    **dict.fromkeys(("usd", "dollars"), ("USD", "1")),
}
_LONG_UNIT = 3
"""Letters of a unit that counts anywhere in a name. A shorter one, such as `h`, counts only at a longer name's end."""
_IDLE = {"in", "of", "the", "count", "number", "total", "nb", "utc", "at", "sum", "per"}
"""Words that carry little meaning; names are matched without them."""

_ROWS, _VALUES = 2_000, 500
_INPUT = "_reelport_export"
_WIDTH, _MARGIN = 110, "    "
_SHOWN_NAME, _SHOWN_VALUE, _SHOWN_VALUES = 80, 40, 3
"""Characters of a column's name and of a value, and values, that a comment shows."""
_OFTEN = {
    "media_type": ("'video'", "if nothing is live"),
    "views": ("1", "if each row is one view"),
    "time_watched_seconds": ("0", "if the export doesn't tell it"),
}
"""For columns that exports often lack: a value to fill in, and when it is right; not offered if the column exists."""
_ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?"
_ISO_DAY = r"\d{4}-\d{2}-\d{2}([T ]00:00[^1-9]*)?"
_TEXTS = r"VARCHAR|UUID|JSON|ENUM\(.*\)|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?"
"""SQL types that are texts, or are written as one without loss."""
_WHOLE, _NUMBER = r"-?\d+(\.0+)?", r"-?\d+(\.\d*)?([eE][+-]?\d+)?"
_EPOCHS = {10: "to_timestamp({})", 13: "epoch_ms({})", 16: "make_timestamp({})"}
"""SQL that converts seconds, milliseconds or microseconds since 1970 to a moment, by the number's count of digits."""
_DAYS = ("%Y%m%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%y.%d.%m", "%b %d, %Y")
_FORMATS = (*_DAYS, *(f"{day} %H:%M:%S" for day in _DAYS), "%Y%m%d%H", "%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True, slots=True)
class Synonyms:
    """What exports write: `names` for each column, `words` for each text of a closed list.

    The text "" stands for an empty cell.
    """

    names: Mapping[str, Sequence[str]]
    words: Mapping[str, Mapping[str, Sequence[str]]]


@cache
def read_synonyms() -> Synonyms:
    """Read the synonyms from the data file beside this module."""
    text = resources.files(__package__).joinpath("mapping_suggestion.toml").read_text(encoding="utf-8")
    return Synonyms(**tomllib.loads(text))


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column's name as words: `whole` has all, `bare` those with meaning, without the unit.

    `unit` is what the name says that it measures (`seconds`, `EUR`, `USD`). A value times `factor`, a number
    in SQL, is in that unit.
    """

    whole: str
    bare: str
    unit: str | None
    factor: str


def parse_column_name(name: str) -> ColumnName:
    """Parse a name in snake case, camel case, with blanks, or with its unit in brackets."""
    for sign, word in _SIGNS.items():
        name = name.replace(sign, word)
    words = [part.lower() for word in _WORD.findall(name) for part in _CAMEL.split(word)]
    units = [
        at for at, word in enumerate(words) if word in _UNITS and (len(word) >= _LONG_UNIT or 0 < at == len(words) - 1)
    ]
    rest = [word for at, word in enumerate(words) if at not in units[-1:]]
    unit, factor = _UNITS[words[units[-1]]] if units else (None, "1")
    return ColumnName(" ".join(words), " ".join([word for word in rest if word not in _IDLE] or rest), unit, factor)


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export: name, SQL type, and distinct texts of its first rows."""

    name: str
    type: str
    values: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return quote_name(self.name)

    @property
    def text(self) -> str:
        """The column as a text, in SQL."""
        return self.sql if self.type == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    @property
    def is_date(self) -> bool:
        """Whether the column has a type of dates or moments."""
        return self.type == "DATE" or self.type.startswith("TIMESTAMP")

    def mostly_matches(self, form: str) -> bool:
        """Whether most values match: a few wrong ones don't matter, as the load refuses them."""
        return sum(re.fullmatch(form, value) is not None for value in self.values) * 2 > len(self.values)

    def convert_if_possible(self, sql: str) -> str:
        """Write SQL of the converted text, or of the original, which the load then refuses."""
        return f"coalesce(CAST({sql} AS VARCHAR), {self.text})"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A way to convert a column: SQL, a note on it, and whether a person should check it.

    `needs_person` is true where the values don't show whether it is right, so that it is only offered.
    """

    sql: str
    note: str = ""
    is_doubtful: bool = False
    needs_person: bool = False


Conversions = Sequence[Conversion]
"""Ways to convert a column: none if its values don't fit, several if the values don't show which one is right."""
Confidence: TypeAlias = Literal["sure", "likely", "guess"]


@dataclass(frozen=True, slots=True)
class Guess:
    """A column of the table, the export's column used for it, why, and its conversion."""

    column: Column
    given: ExportColumn
    confidence: Confidence
    why: str
    way: Conversion = Conversion("")


@dataclass(frozen=True, slots=True)
class Gap:
    """A column that a person must fill in: why, and possible `ways` from `given`.

    `given` is the export's column that looks like it, unless another column of the table uses that one.
    """

    column: Column
    why: str
    given: ExportColumn | None = None
    ways: Conversions = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggested mapping, in the table's order; `unused` are the export's other columns."""

    table: Table
    guesses: tuple[Guess, ...]
    gaps: tuple[Gap, ...]
    unused: tuple[str, ...]


def suggest_for_files(root: Path, table: str, files: Sequence[Path], memory: str = MEMORY) -> Suggestion:
    """Suggest the mapping that fits the files to the table, by the first file only.

    Raises BadInput when that file can't be read, UsageError when there is no such table.
    """
    found = find_table(table)
    first = detect_format([Path(file) for file in files])[0]
    with open_reading_workspace(root, memory) as space, translate_engine_errors(first.path):
        return suggest(space.session, found, _read_columns(space, first))


def _read_columns(space: Workspace, file: InputFile) -> tuple[ExportColumn, ...]:
    relation = _INPUT
    match file.format:
        case FileFormat.CSV:
            space.session.register(_INPUT, _read_first_records(file))
        case FileFormat.PARQUET:
            read_parquet_columns(space.session, file)  # raises if it is damaged, or names a column twice
            relation = parquet_source([str(file.path)])
        case FileFormat.NDJSON:
            reading = Reading(space, lambda *_: None, ReaderFailure(), ProgressMeter([file], None))
            create_json_view(reading, _INPUT, [file])
    described = space.session.execute(f"DESCRIBE FROM {relation}").fetchall()
    types = {name: kind for name, kind, *_ in described if name}  # SQL can't name a column without a name
    texts = ", ".join(f"trim(CAST({quote_name(name)} AS VARCHAR))" for name in types) or "NULL"
    rows = space.session.execute(f"SELECT {texts} FROM {relation} LIMIT {_ROWS}").fetchall()  # noqa: S608 - quoted
    cells = zip(*rows, strict=True) if rows else ((),) * len(types)
    values = [tuple(islice(dict.fromkeys(filter(None, texts)), _VALUES)) for texts in cells]
    return tuple(ExportColumn(name, kind, some) for (name, kind), some in zip(types.items(), values, strict=False))


def _read_first_records(file: InputFile) -> pa.Table:
    names, broken = read_header(file), list[str]()

    def reject(_: int, line: int, reason: str, __: str) -> None:
        broken.append(f"line {line}: {add_conversion(reason)}")

    part = next(read_batches([(0, file)], names, reject, ProgressMeter([file], None)), None)
    if part is None:
        why = f" ({broken[0]})" if broken else ""
        raise BadInput(f"{file.path} has a header and no row that can be read{why}: a mapping is guessed by rows too")
    # By number: a header may have the names that the places of a row are given behind its columns, or none.
    return pa.Table.from_batches([part]).select([at for at, name in enumerate(names) if name])


def suggest(session: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[ExportColumn]) -> Suggestion:
    """Suggest which of the export's columns fill the table's; each is used at most once."""
    guesses: dict[str, Guess] = {}
    gaps: dict[str, Gap] = {}
    used: set[str] = set()
    for _, match in sorted(_find_matches(table, columns), key=lambda found: found[0]):
        column, given = match.column, match.given
        if column.name in guesses or given.name in used:
            continue
        ways = _find_conversions(session, column, given)
        if len(ways) == 1 and not ways[0].needs_person:
            confidence: Confidence = "guess" if ways[0].is_doubtful else match.confidence
            guesses[column.name] = replace(match, confidence=confidence, way=ways[0])
            gaps.pop(column.name, None)
            used.add(given.name)
        else:
            gaps.setdefault(column.name, Gap(column, f"{match.why}, but {_explain(match, ways)}", given, ways))
    for column in table.columns:
        if column.required and column.name not in guesses:
            gaps.setdefault(column.name, Gap(column, "no column of the file looks similar"))
    for name, gap in gaps.items():
        if gap.given and gap.given.name in used and not gap.ways:
            gaps[name] = replace(gap, given=None)
    offered = {gap.given.name for gap in gaps.values() if gap.given and gap.ways}
    return Suggestion(
        table,
        tuple(guesses[column.name] for column in table.columns if column.name in guesses),
        tuple(gaps[column.name] for column in table.columns if column.name in gaps),
        tuple(given.name for given in columns if given.name not in used | offered),
    )


def _find_matches(table: Table, columns: Sequence[ExportColumn]) -> Iterator[tuple[int, Guess]]:
    """Find columns of the export that may fill one of the table's; the best have low numbers."""
    dates, synonyms = [given for given in columns if given.is_date], read_synonyms().names
    names = [(given, parse_column_name(given.name)) for given in columns]
    for column in table.columns:
        # Facts, and exports, call a video's `id` the `video_id`.
        called = f"{table.name.removesuffix('s')}_id" if column.name == table.key else column.name
        own, *known = map(parse_column_name, (column.name, called, *synonyms.get(called, [called])))
        places = {name.bare: place for place, name in reversed([*enumerate(known, 3)])}
        for given, name in names:
            if name.whole == own.whole:
                yield int(given.name != column.name), Guess(column, given, "sure", "the same name")
            elif name.bare == own.bare and (name.bare or name.unit):
                yield 2, Guess(column, given, "sure", "the same name but for its unit")
            elif name.bare in places and (name.bare or name.unit):
                yield places[name.bare], Guess(column, given, "likely", f"a known name of {column.name}")
            elif column.required and column.kind in {Kind.DAY, Kind.MOMENT} and dates == [given]:
                yield 1_000, Guess(column, given, "guess", "the only column of dates")


def _explain(match: Guess, ways: Conversions) -> str:
    shown = ", ".join(repr(value[:_SHOWN_VALUE]) for value in match.given.values[:_SHOWN_VALUES])
    unit = parse_column_name(match.given.name).unit
    if ways:
        return ways[0].note if len(ways) == 1 else f"its values ({shown}) can be read in {len(ways)} ways"
    if unit is not None and match.column.unit not in {None, unit}:
        return f"it counts {unit}, and the table {match.column.unit}"
    return f"its values ({shown}) aren't what the table takes" if shown else "it is empty in the first rows"


def _find_conversions(session: duckdb.DuckDBPyConnection, column: Column, given: ExportColumn) -> Conversions:
    match column.kind:
        case Kind.DAY | Kind.MOMENT:
            return _convert_moments(session, column, given)
        case Kind.COUNT | Kind.MONEY:
            return _convert_numbers(column, given)
        case Kind.TEXT if column.choices:
            return _convert_choices(column, given)
        case Kind.TEXT:
            return (Conversion(given.sql),) if re.fullmatch(_TEXTS, given.type, re.DOTALL) else ()
        case Kind.TEXTS:
            return (Conversion(given.sql),) if re.fullmatch(r"VARCHAR|JSON|.*\[\]", given.type, re.DOTALL) else ()


def _convert_moments(session: duckdb.DuckDBPyConnection, column: Column, given: ExportColumn) -> Conversions:
    digits = len(given.values[0]) if given.values else 0
    if given.is_date or (given.type == "VARCHAR" and given.mostly_matches(_ISO)):
        found = [(given.sql, "", given.mostly_matches(_ISO_DAY))]
    elif digits in _EPOCHS and given.mostly_matches(f"1[0-9]{{{digits - 1}}}"):
        moment = _EPOCHS[digits].format(f"TRY_CAST({given.sql} AS BIGINT)")
        found = [(given.convert_if_possible(moment), "counted since 1970", False)]
    else:
        parsed = {
            form: f"try_strptime({given.text}, {quote_text(form)})" for form in _find_formats(session, given.values)
        }
        found = [
            (given.convert_if_possible(f"strftime({sql}, '%Y-%m-%dT%H:%M:%S')"), f"read as {form}", form in _DAYS)
            for form, sql in parsed.items()
        ]
    midnight = "it has no hours, so each row counts at midnight"
    return [
        Conversion(sql, "; ".join(filter(None, (note, midnight))), is_doubtful=True)
        if is_day and column.kind is Kind.MOMENT
        else Conversion(sql, note)
        for sql, note, is_day in found
    ]


def _find_formats(session: duckdb.DuckDBPyConnection, values: Sequence[str]) -> list[str]:
    fits = (f"coalesce(year(try_strptime(one, {quote_text(form)})) BETWEEN 1990 AND 2100, false)" for form in _FORMATS)
    sql = f"SELECT {', '.join(f'bool_and({fit})' for fit in fits)} FROM unnest(?) AS t(one)"  # noqa: S608 - our formats
    (row,) = session.execute(sql, [list(values)]).fetchall()
    return [form for form, does_fit in zip(_FORMATS, row, strict=True) if does_fit]


def _convert_numbers(column: Column, given: ExportColumn) -> Conversions:
    """Convert to a count or to money, by the unit that the column's name tells."""
    name, is_money, is_time = parse_column_name(given.name), column.kind is Kind.MONEY, column.unit == "seconds"
    if name.unit not in {None, column.unit} or not given.mostly_matches(_NUMBER if is_money or is_time else _WHOLE):
        return ()
    is_unknown = (is_money or is_time) and name.unit is None
    is_rounded = is_time and not given.mostly_matches(_WHOLE)
    notes = [
        f"times {name.factor}, to {column.unit}" * (name.factor != "1"),
        f"its name tells no {'currency: only if it is' if is_money else 'unit: taken for'} {column.unit}" * is_unknown,
        "rounded" * is_rounded,
    ]
    sql = given.sql
    if is_rounded or name.factor != "1":
        scaled = f"TRY_CAST({sql} AS DECIMAL(24,6)) * {name.factor}"
        sql = given.convert_if_possible(f"TRY_CAST(round({scaled}) AS BIGINT)")
    return (Conversion(sql, "; ".join(filter(None, notes)), is_unknown, is_unknown and is_money),)


def _convert_choices(column: Column, given: ExportColumn) -> Conversions:
    """Convert to texts of the column's list, if most values are on it or known words for one."""
    words = read_synonyms().words.get(column.name, {})
    known = {*map(str.lower, column.choices), *(word for some in words.values() for word in some)}
    if sum(value.lower() in known for value in given.values) * 2 < max(1, len(given.values)):
        return ()
    if all(value in column.choices for value in given.values):
        return (Conversion(given.text),)
    cases = "".join(
        f" WHEN lower({given.text}) IN ({', '.join(map(quote_text, some))}) THEN {quote_text(own) if own else 'NULL'}"
        for own, some in words.items()
    )
    spelled = f"{'upper' if column.choices[0].isupper() else 'lower'}({given.text})"
    note = "written like the table's" + ("; unknown ones left empty" if "" in words else "")
    return (Conversion(f"CASE{cases} ELSE {spelled} END" if cases else spelled, note),)


def format_map(found: Suggestion, files: Sequence[Path], to: Path) -> str:
    """Format the SQL: first the columns to fill in, then those that were found."""
    words = ["reelport", "load", found.table.name, *map(str, files), "--map", str(to), "--dry-run"]
    gaps = sorted(found.gaps, key=lambda gap: not gap.column.required)
    made = {guess.column.name for guess in found.guesses} | {gap.column.name for gap in found.gaps}
    empty = [column.name for column in found.table.columns if column.name not in made]
    lines = [
        *_wrap_comment(
            f"A draft that maps {files[0].name} to the table {found.table.name}, by names, types and the first rows. "
            "[sure] is the same name, [likely] a name that other exports use. Check each [guess]. A value that can't "
            "be converted stays as it is, and the load rejects its row."
            + " The command read only the first file: a column that only another file has is not below."
            * (len(files) > 1)
        ),
        f"-- Try it: {clean_line(shlex.join(words))}",
        "SELECT",
        *(line for gap in gaps for line in _format_gap(gap)),
        *(line for guess in found.guesses for line in _format_guess(guess, is_last=guess is found.guesses[-1])),
        "FROM input",
    ]
    if found.unused:
        names = ", ".join(_shorten(name) for name in found.unused)
        lines += _wrap_comment(f"Columns of the file that the mapping does not use: {names}.")
    if empty:
        lines += _wrap_comment(f"Columns of the table that stay empty: {', '.join(empty)}.")
    return "\n".join(lines) + "\n"


def _format_gap(gap: Gap) -> Iterator[str]:
    column, given = gap.column, gap.given
    need = "TO FILL IN" if column.required else "LEFT OUT"
    seen = f"{_shorten(given.name)!r}: " if given else ""
    yield from _wrap_comment(f"{need}: {column.name}, a {column.kind.value}: {seen}{gap.why}.", _MARGIN)
    yield from _wrap_comment(column.sentence, _MARGIN)
    if column.choices and not column.called:
        yield from _wrap_comment(f"One of: {', '.join(column.choices)}.", _MARGIN)
    if given is None:
        ways = [_OFTEN.get(column.name, ("…", ""))] if column.required else []
    elif gap.ways:
        ways = [(way.sql, f"{_shorten(given.name)!r} {way.note}") for way in gap.ways]
    elif given.values:
        ways = [(f"… {given.sql} …", "write how its values become the table's")]
    else:
        ways = [(given.sql, "if later rows fill it")]
    for sql, note in ways:
        yield f"{_MARGIN}-- {clean_line(f'{sql} AS {column.name},' + f'  -- {note}' * bool(note))}"


def _format_guess(guess: Guess, *, is_last: bool) -> Iterator[str]:
    values = ", ".join(repr(clean_line(value[:_SHOWN_VALUE])) for value in guess.given.values[:_SHOWN_VALUES])
    shown = f" (such as {values})" if values else ""
    note = f"; {guess.way.note}" if guess.way.note else ""
    name = _shorten(guess.given.name)
    yield from _wrap_comment(f"[{guess.confidence}] {name!r}: {guess.why}{shown}{note}.", _MARGIN)
    yield f"{_MARGIN}{guess.way.sql} AS {quote_name(guess.column.name)}{'' if is_last else ','}"


def _wrap_comment(text: str, margin: str = "") -> list[str]:
    lines = wrap(clean_line(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"{margin}-- {line}" for line in lines]


def _shorten(name: str) -> str:
    return clean_line(name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}…")
