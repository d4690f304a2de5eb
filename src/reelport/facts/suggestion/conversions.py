"""Write SQL that converts an export's column to a table's, chosen by its values.

A value that can't be converted is left unchanged, so that the load refuses its row and reports it; none is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from reelport.facts.row_rules import quote_name, quote_text
from reelport.facts.suggestion.column_names import ColumnName, NamedUnit
from reelport.facts.suggestion.export_names import DEVICES, MEDIA, UNKNOWN
from reelport.facts.suggestion.numbers import NumberReading, find_number_readings, has_exponents
from reelport.facts.tables import Column, Kind

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?")
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ]00:00(:00(\.0{1,9})?)?( ?(Z|[+]00(:?00)?))?)?")
"""A day, or the midnight that it begins with."""
_WHOLE = re.compile(r"\d+(\.0+)?")
_CLOCK = re.compile(r"\d+:[0-5]\d:[0-5]\d")
_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT(16)?|DECIMAL\(.*\)")
_WHOLES = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_CURRENCY = {"€": "EUR", "$": "USD"}
_EPOCHS = {10: "to_timestamp({})", 13: "epoch_ms({})", 16: "make_timestamp({})"}
"""SQL that converts seconds, milliseconds or microseconds since 1970 to a moment, by the number's count of digits."""
_DAYS = (
    *("%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%y.%m.%d"),
    *("%y.%d.%m", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y"),
)
_TIMES = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S UTC", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
_FORMATS = (
    *(day + time for time in _TIMES for day in _DAYS),
    "%Y%m%d%H",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%d %H:%M:%S.%f UTC",
)
_SHOWN = 3

_LONGEST_NAME = 1_000


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export: name, SQL type, and distinct texts of its first rows.

    `path` are the names that lead to a field inside a column; if it is empty, `name` is the column itself.
    """

    name: str
    type: str
    values: tuple[str, ...]
    path: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return ".".join(map(quote_name, self.path or (self.name,)))

    @property
    def is_usable(self) -> bool:
        """Whether SQL can name the column, by a name of at most 1,000 characters."""
        return all(self.path or (self.name,)) and len(self.name) <= _LONGEST_NAME

    @property
    def text(self) -> str:
        """The column as a text, in SQL."""
        return self.sql if self.type == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    def all_match(self, form: re.Pattern[str]) -> bool:
        """Whether every value matches the pattern."""
        return all(form.fullmatch(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A way to convert a column: SQL, a note on it, and whether a person should check it.

    `needs_person` is true where the values don't show whether it is right, so that it is only offered. `is_day` is
    true where a moment is made of a day alone.
    """

    sql: str
    note: str = ""
    is_doubtful: bool = False
    needs_person: bool = False
    is_day: bool = False


Conversions = Sequence[Conversion]
"""Ways to convert a column: none if its values don't fit, several if the values don't show which one is right."""


def find_conversions(
    session: duckdb.DuckDBPyConnection, column: Column, given: ExportColumn, name: ColumnName
) -> Conversions:
    """Find ways to convert the export's column to the table's; `name` may have its unit."""
    match column.kind:
        case Kind.DAY | Kind.MOMENT:
            return _convert_moments(session, given)
        case Kind.COUNT:
            return _convert_counts(column, given, name)
        case Kind.MONEY:
            return _convert_money(column, given, name)
        case Kind.TEXTS:
            return _convert_lists(given)
        case Kind.TEXT:
            return _convert_texts(column, given)


def _convert_moments(session: duckdb.DuckDBPyConnection, given: ExportColumn) -> Conversions:
    if given.type == "DATE" or given.type.startswith("TIMESTAMP"):
        return (Conversion(given.sql, is_day=given.all_match(_ISO_DAY)),)
    if not given.values:
        return ()
    if given.type == "VARCHAR" and given.all_match(_ISO):
        return (Conversion(given.sql, is_day=given.all_match(_ISO_DAY)),)
    sizes = {len(value) for value in given.values}
    size = sizes.pop() if len(sizes) == 1 else 0
    if size in _EPOCHS and given.all_match(re.compile("1[0-9]+")):
        made = _EPOCHS[size].format(f"TRY_CAST({given.sql} AS BIGINT)")
        return (Conversion(_or_original_sql(made, given), "counted since 1970"),)
    found = [form for form in _FORMATS if _all_parse(session, given.values, form)]
    if not found and given.type == "VARCHAR" and _most_match(given.values, lambda value: bool(_ISO.fullmatch(value))):
        return (Conversion(given.sql, is_day=_most_match(given.values, lambda value: bool(_ISO_DAY.fullmatch(value)))),)
    return tuple(
        Conversion(
            f"coalesce(strftime(try_strptime({given.text}, {quote_text(form)}), '%Y-%m-%dT%H:%M:%S'), {given.text})",
            f"read as {form}",
            is_day=form in _DAYS,
        )
        for form in found
    )


def _all_parse(session: duckdb.DuckDBPyConnection, values: Sequence[str], form: str) -> bool:
    """Whether every value is a moment in this format, from 1990 to 2100."""
    in_range = (
        f"SELECT bool_and(year(try_strptime(one, {quote_text(form)})) BETWEEN 1990 AND 2100) FROM unnest(?) AS t(one)"  # noqa: S608
    )
    unparsed = f"SELECT count(*) FROM unnest(?) AS t(one) WHERE try_strptime(one, {quote_text(form)}) IS NULL"  # noqa: S608
    listed = [list(values)]
    return session.execute(unparsed, listed).fetchall() == [(0,)] and session.execute(in_range, listed).fetchall() == [
        (True,)
    ]


def _convert_counts(column: Column, given: ExportColumn, name: ColumnName) -> Conversions:
    unit = name.unit
    is_measure = column.unit in {"seconds", "bytes"}
    if unit is not None and unit.of != column.unit:
        return ()
    if is_measure and column.unit == "seconds" and given.values and given.all_match(_CLOCK):
        made = f"CAST(epoch(TRY_CAST({given.text} AS INTERVAL)) AS BIGINT)"
        return (Conversion(_or_original_sql(made, given), "hours, minutes and seconds to seconds"),)
    readings = _read_numbers(given, whole=not is_measure)
    if is_measure:
        return tuple(_make_measure(column, given, unit, read) for read in readings)
    if not readings and given.type == "VARCHAR" and has_exponents(given.values):
        return (_write_out_exponents(given),)
    return tuple(Conversion(read.sql, read.note) for read in readings)


def _make_measure(column: Column, given: ExportColumn, unit: NamedUnit | None, read: NumberReading) -> Conversion:
    """Convert numbers to seconds or bytes; without a unit they are in the column's own."""
    factor = _factor_sql(unit)
    note = read.note
    if unit is None:
        note = _join_notes(read.note, f"its name tells no unit: taken for {column.unit}")
    elif factor:
        note = _join_notes(read.note, f"{unit.word} to {column.unit}")
    if read.is_whole and not factor:
        return Conversion(read.sql, note, is_doubtful=unit is None)
    number = f"TRY_CAST({read.sql} AS DECIMAL(24,6))"
    made = f"TRY_CAST(round({number}{factor}) AS BIGINT)"
    return Conversion(_or_original_sql(made, given), note or "rounded", is_doubtful=unit is None)


def _write_out_exponents(given: ExportColumn) -> Conversion:
    made = f"TRY_CAST(TRY_CAST({given.text} AS DECIMAL(38,6)) AS BIGINT)"
    note = "written with exponents: right only if the export didn't round them"
    return Conversion(_or_original_sql(made, given), note, needs_person=True)


def _join_notes(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _factor_sql(unit: NamedUnit | None) -> str:
    if unit is None or unit.factor == "1":
        return ""
    return f" / {unit.factor}" if unit.divides else f" * {unit.factor}"


def _read_numbers(given: ExportColumn, *, whole: bool) -> Sequence[NumberReading]:
    """Find the ways to read the column as numbers; only as whole numbers if `whole`."""
    if _NUMBERS.fullmatch(given.type):
        is_whole = _most_match(given.values, lambda value: bool(_WHOLE.fullmatch(value)))
        return () if whole and not is_whole else (NumberReading(given.sql, "", is_whole),)
    return find_number_readings(given.values, given.sql, whole=whole) if given.type == "VARCHAR" else ()


def _most_match(values: Sequence[str], fits: Callable[[str], bool]) -> bool:
    """Whether most values fit: a few wrong ones don't matter, as the load refuses them."""
    return sum(map(fits, values)) * 2 > len(values)


def _convert_money(column: Column, given: ExportColumn, name: ColumnName) -> Conversions:
    signs = {sign for value in given.values for sign in _CURRENCY if sign in value}
    currencies = {_CURRENCY[sign] for sign in signs} | ({name.unit.of} if name.unit is not None else set())
    if currencies - {column.unit}:
        return ()
    bare = tuple(_remove_signs(value, signs) for value in given.values)
    text = f"trim({_remove_signs_sql(given.sql, signs)})" if signs else given.sql
    if _NUMBERS.fullmatch(given.type):
        readings: Sequence[NumberReading] = _read_numbers(given, whole=False)
    elif given.type == "VARCHAR":
        readings = find_number_readings(bare, text, whole=False)
    else:
        readings = ()
    return tuple(
        _make_money(column, given, read, is_micro=name.is_micro, has_signs=bool(signs), has_currency=bool(currencies))
        for read in readings
    )


def _make_money(
    column: Column, given: ExportColumn, read: NumberReading, *, is_micro: bool, has_signs: bool, has_currency: bool
) -> Conversion:
    text, note = read.sql, _join_notes("signs taken out" if has_signs else "", read.note)
    if is_micro:
        text = _or_original_sql(f"TRY_CAST({text} AS DECIMAL(26,6)) / 1000000", given)
        note = _join_notes(note, "millionths to units")
    elif given.type == "VARCHAR" and any(_has_long_fraction(value) for value in given.values):
        text = _or_original_sql(f"round(TRY_CAST({text} AS DECIMAL(38,18)), 6)", given)
        note = _join_notes(note, "rounded to 6 digits")
    if not has_currency:
        note = _join_notes(note, f"its name tells no currency: only if it is {column.unit}")
    return Conversion(text, note, is_doubtful=not has_currency, needs_person=not has_currency)


def _has_long_fraction(value: str) -> bool:
    return len(re.split("[.,]", value)[-1]) > 6 and bool(re.search("[.,]", value))  # noqa: PLR2004 - what the table keeps


def _remove_signs_sql(sql: str, signs: set[str]) -> str:
    for sign in sorted(signs):
        sql = f"replace({sql}, {quote_text(sign)}, '')"
    return sql


def _remove_signs(value: str, signs: set[str]) -> str:
    for sign in signs:
        value = value.replace(sign, "")
    return value.strip()


def _convert_lists(given: ExportColumn) -> Conversions:
    if given.type.endswith("[]"):
        return (Conversion(given.sql),)
    if given.type not in {"VARCHAR", "JSON"}:
        return ()
    texts = [value for value in given.values if not value.lstrip().startswith("[")]
    for mark in (",", ";"):
        if not any("|" in value for value in texts) and any(mark in value for value in texts):
            return (Conversion(f"replace({given.sql}, '{mark}', '|')", f"divided at each {mark!r}"),)
    return (Conversion(given.sql),)


def _convert_texts(column: Column, given: ExportColumn) -> Conversions:
    if special := _SPECIAL.get(column.name):
        return special(column, given)
    if column.choices:
        if all(value in column.choices for value in given.values):
            return (Conversion(given.text),)
        if all(value.lower() in column.choices for value in given.values):
            return (Conversion(f"lower({given.text})", "in small letters"),)
        return ()
    if given.type in {"VARCHAR", "UUID", "JSON"} or given.type.startswith("ENUM(") or _WHOLES.fullmatch(given.type):
        return (Conversion(given.sql),)
    return ()


def _convert_countries(column: Column, given: ExportColumn) -> Conversions:
    strange = [value for value in given.values if value.upper() not in {*column.choices, *UNKNOWN}]
    # A few unknown values are rejected and reported; if most are unknown, the column holds something else.
    if not given.values or len(strange) * 2 > len(given.values):
        return ()
    unknown = sorted({value.upper() for value in given.values} & (UNKNOWN - {*column.choices}))
    raised = any(value != value.upper() for value in given.values)
    sql = f"upper({given.text})" if raised else given.text
    notes = ["in capitals"] if raised else []
    if unknown:
        sql = f"CASE WHEN upper({given.text}) NOT IN ({', '.join(map(quote_text, unknown))}) THEN {sql} END"
        notes.append(f"{', '.join(unknown)} to empty")
    if strange:
        notes.append(f"{_format_examples(strange)} would be refused, or kept by --lenient")
    return (Conversion(sql, "; ".join(notes)),)


def _convert_devices(column: Column, given: ExportColumn) -> Conversions:
    return _translate_words(column, given, DEVICES)


def _convert_media(column: Column, given: ExportColumn) -> Conversions:
    if given.type == "BOOLEAN" or (given.values and all(value.lower() in {"true", "false"} for value in given.values)):
        return (Conversion(f"CASE lower({given.text}) WHEN 'true' THEN 'live' WHEN 'false' THEN 'video' END"),)
    return _translate_words(column, given, MEDIA)


def _translate_words(column: Column, given: ExportColumn, words: Mapping[str, str]) -> Conversions:
    """Convert the column's own words to its spelling, and translate other known words."""
    met = [value for value in given.values if value.lower() in {*column.choices, *words}]
    if not met or len(met) * 2 < len(given.values):
        return ()
    if len(met) == len(given.values) and all(value in column.choices for value in met):
        return (Conversion(given.text),)
    cases = " ".join(
        f"WHEN lower({given.text}) IN ({', '.join(quote_text(word) for word, own in words.items() if own == choice)}) "
        f"THEN {quote_text(choice)}"
        for choice in dict.fromkeys(words.values())
    )
    strange = [value for value in given.values if value not in met]
    note = "other words to those of the table" + (f"; {_format_examples(strange)} would be refused" if strange else "")
    return (Conversion(f"CASE {cases} ELSE lower({given.text}) END", note),)


def _format_examples(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values[:_SHOWN])) + (" …" if len(values) > _SHOWN else "")


def _or_original_sql(made: str, given: ExportColumn) -> str:
    """Write SQL of the converted text, or of the original, which the load then refuses."""
    return f"coalesce(CAST({made} AS VARCHAR), {given.text})"


_SPECIAL: dict[str, Callable[[Column, ExportColumn], Conversions]] = {
    "visitor_country": _convert_countries,
    "visitor_device_type": _convert_devices,
    "media_type": _convert_media,
}
