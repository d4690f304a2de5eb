"""Write SQL that converts an export's column to a table's, chosen by its values.

A value that can't be converted is left unchanged, so that the load refuses its row and reports it; none is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import duckdb

from reelport.facts.suggestion.export_names import WORDS, ColumnName, parse_column_name
from reelport.facts.tables import Column, Kind, Table
from reelport.sql_quoting import quote_name, quote_text

_MIDNIGHT = r"[T ]00:00(:00(\.0+)?)?( ?(Z|[+]00(:?00)?))?"
_ISO_DAY = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}({_MIDNIGHT})?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?")
_CLOCK = re.compile(r"\d+:[0-5]\d:[0-5]\d")
_WHOLES = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_NUMBERS = re.compile(rf"{_WHOLES.pattern}|DOUBLE|FLOAT(16)?|DECIMAL\(.*\)")
_WHOLE = re.compile(r"\d+(\.0+)?")
_CURRENCIES = {"€": "EUR", "$": "USD"}
_EPOCHS = {10: "to_timestamp({})", 13: "epoch_ms({})", 16: "make_timestamp({})"}
"""SQL that converts seconds, milliseconds or microseconds since 1970 to a moment, by the number's count of digits."""
_DAYS = (
    *("%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%y.%m.%d"),
    *("%y.%d.%m", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y"),
)
_TIMES = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S UTC", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
_UTC = ("%Y%m%d%H", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S.%f UTC")
_FORMATS = (*(day + time for time in _TIMES for day in _DAYS), *_UTC)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
_HOUR_OF_DAY = re.compile(rf"([01]?\d|2[0-3])(\.0+)?|{_TIME_OF_DAY.pattern}")
_HOURS = {
    **dict.fromkeys(("hour", "event hour", "start hour", "hour day", "hr"), _HOUR_OF_DAY),
    # A plain number in a column called time may as well be a duration.
    **dict.fromkeys(("time", "event time", "start time", "time day"), _TIME_OF_DAY),
}
"""Names of columns with the hour or time of day, and the form of their values."""
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

    @property
    def is_date(self) -> bool:
        """Whether the column has a type of dates or moments."""
        return self.type == "DATE" or self.type.startswith("TIMESTAMP")

    def all_match(self, form: re.Pattern[str]) -> bool:
        """Whether every value matches the pattern."""
        return all(map(form.fullmatch, self.values))

    def mostly_matches(self, form: re.Pattern[str]) -> bool:
        """Whether most values match: a few wrong ones don't matter, as the load refuses them."""
        return _are_most(self.values, form.fullmatch)


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
    """Find ways to convert the export's column, which `name` describes, to the table's."""
    match column.kind:
        case Kind.DAY | Kind.MOMENT:
            return _convert_moments(session, given)
        case Kind.COUNT | Kind.MONEY:
            return _convert_numbers(column, given, name)
        case Kind.TEXTS:
            return _convert_lists(given)
        case Kind.TEXT:
            return _convert_choices(column, given) if column.choices else _convert_texts(given)


def _are_most(values: Sequence[str], fits: Callable[[str], object]) -> bool:
    return sum(map(bool, map(fits, values))) * 2 > len(values)


def _convert_moments(session: duckdb.DuckDBPyConnection, given: ExportColumn) -> Conversions:
    is_text = given.type == "VARCHAR"
    if given.is_date or (given.values and is_text and given.all_match(_ISO)):
        return (Conversion(given.sql, is_day=given.all_match(_ISO_DAY)),)
    sizes = {len(value) for value in given.values}
    size = sizes.pop() if len(sizes) == 1 else 0
    if size in _EPOCHS and given.all_match(re.compile("1[0-9]+")):
        made = _EPOCHS[size].format(f"TRY_CAST({given.sql} AS BIGINT)")
        return (Conversion(_or_original_sql(made, given), "counted since 1970"),)
    found = _find_formats(session, given.values) if given.values else []
    if not found and is_text and given.mostly_matches(_ISO):
        return (Conversion(given.sql, is_day=given.mostly_matches(_ISO_DAY)),)
    return [
        Conversion(
            f"coalesce(strftime(try_strptime({given.text}, {quote_text(form)}), '%Y-%m-%dT%H:%M:%S'), {given.text})",
            f"read as {form}",
            is_day=form in _DAYS,
        )
        for form in found
    ]


def _find_formats(session: duckdb.DuckDBPyConnection, values: Sequence[str]) -> list[str]:
    """Find the formats in which every value is a moment from 1990 to 2100."""
    fits = (f"coalesce(year(try_strptime(one, {quote_text(form)})) BETWEEN 1990 AND 2100, false)" for form in _FORMATS)
    sql = f"SELECT {', '.join(f'bool_and({fit})' for fit in fits)} FROM unnest(?) AS t(one)"  # noqa: S608 - our formats
    (row,) = session.execute(sql, [list(values)]).fetchall()
    return [form for form, does_fit in zip(_FORMATS, row, strict=True) if does_fit]


def find_hours(table: Table, columns: Sequence[ExportColumn]) -> ExportColumn | None:
    """Find the column with the hour or time of day of each row, if the table's time has one."""
    if table.time is None or table.column(table.time).kind is not Kind.MOMENT:
        return None
    for given in columns:
        name = parse_column_name(given.name)
        form = _HOURS.get(name.bare) if name.unit is None else None
        if form is not None and given.mostly_matches(form):
            return given
    return None


def add_hours(way: Conversion, hours: ExportColumn) -> Conversion:
    """Add the hours to a way that gives days; a row without a right hour is then refused."""
    if not way.is_day:
        return way
    day = f"regexp_replace(CAST({way.sql} AS VARCHAR), {quote_text(_MIDNIGHT + '$')}, '')"
    hour = f"lpad(split_part({hours.text}, '.', 1), 2, '0') || ':00'"
    time = f"CASE WHEN regexp_full_match({hours.text}, '[0-9]{{1,2}}([.]0+)?') THEN {hour} ELSE {hours.text} END"
    added = f"with the hours of {hours.name[:80]!r}"
    note = f"{way.note}; {added}" if way.note else added
    return replace(way, sql=f"concat({day}, 'T', {time})", note=note, is_day=False)


def _convert_numbers(column: Column, given: ExportColumn, name: ColumnName) -> Conversions:
    """Convert to a count or to money, by the unit of the name and the signs of the values."""
    is_money, is_measure = column.kind is Kind.MONEY, column.unit in {"seconds", "bytes"}
    signs = sorted(sign for sign in _CURRENCIES if is_money and any(sign in value for value in given.values))
    units = {_CURRENCIES[sign] for sign in signs} | ({name.unit} if name.unit else set())
    if units - {column.unit}:
        return ()
    if column.unit == "seconds" and given.values and given.all_match(_CLOCK):
        made = f"CAST(epoch(TRY_CAST({given.text} AS INTERVAL)) AS BIGINT)"
        return (Conversion(_or_original_sql(made, given), "hours, minutes and seconds to seconds"),)
    sql, values = given.sql, [*given.values]
    for sign in signs:
        sql, values = f"trim(replace({sql}, '{sign}', ''))", [value.replace(sign, "").strip() for value in values]
    notes = ["signs taken out"] if signs else []
    if name.factor != "1":
        notes.append("millionths to units" if is_money else f"times {name.factor}, to {column.unit}")
    is_unknown = (is_money or is_measure) and not units
    if is_unknown:
        what, then = ("currency", "only if it is") if is_money else ("unit", "taken for")
        notes.append(f"its name tells no {what}: {then} {column.unit}")
    found = []
    for read, note, is_whole in _read_numbers(given.type, sql, values, only_whole=not (is_money or is_measure)):
        is_rounded = (given.type == "VARCHAR" and _is_long(values)) if is_money else is_measure and not is_whole
        full = "; ".join(filter(None, (note, *notes, "rounded" * is_rounded)))
        made = _or_original_sql(_scale(read, name.factor, is_money=is_money), given)
        made = made if is_rounded or name.factor != "1" else read
        found.append(Conversion(made, full, is_doubtful=is_unknown, needs_person=is_unknown and is_money))
    return found


def _scale(sql: str, factor: str, *, is_money: bool) -> str:
    """Write SQL of a number times the factor: money with six digits, else a whole number."""
    scaled = f"TRY_CAST({sql} AS DECIMAL(38,18))" if factor == "1" else f"TRY_CAST({sql} AS DECIMAL(24,6)) * {factor}"
    return f"round({scaled}, 6)" if is_money else f"TRY_CAST(round({scaled}) AS BIGINT)"


def _is_long(values: Sequence[str]) -> bool:
    """Whether a value has more than the six digits of a fraction that the table keeps."""
    return any(re.search(r"[.,]\d{7,}$", value) for value in values)


@dataclass(frozen=True, slots=True)
class _NumberForm:
    """A way to write numbers: thousands separator and decimal sign."""

    group: str
    decimal: str
    note: str

    @property
    def pattern(self) -> str:
        """The regular expression of such a number, valid in Python and in DuckDB."""
        return f"-?([0-9]+|[1-9][0-9]{{0,2}}([{self.group}][0-9]{{3}})+)([{self.decimal}][0-9]*)?([eE][+-]?[0-9]+)?"

    def is_number(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def is_whole(self, value: str) -> bool:
        plain = value.replace(self.group, "").replace(self.decimal, ".")
        return self.is_number(value) and _WHOLE.fullmatch(plain) is not None

    def to_sql(self, text: str) -> str:
        """Write SQL that gives such numbers a decimal point; other texts stay unchanged."""
        plain = f"replace({text}, '{self.group}', '')"
        if self.decimal != ".":
            plain = f"replace({plain}, '{self.decimal}', '.')"
        return f"CASE WHEN regexp_full_match({text}, {quote_text(self.pattern)}) THEN {plain} ELSE {text} END"


_POINT = _NumberForm(",", ".", "commas taken out, as they divide thousands")
_COMMA = _NumberForm(".", ",", "commas read as decimal points, and points taken out")
_POINTS_ONLY = "numbers with decimal points taken, and those with commas left to be rejected"


def _read_numbers(kind: str, sql: str, values: Sequence[str], *, only_whole: bool) -> list[tuple[str, str, bool]]:
    """Read a column of a type as numbers, whole ones if so asked.

    Gives SQL, what it does, and if most have no fraction.

    Returns two ways if the values don't show what their commas mean.
    """
    if _NUMBERS.fullmatch(kind):
        is_whole = _are_most(values, _WHOLE.fullmatch)
        return [] if only_whole and not is_whole else [(sql, "", is_whole)]
    if kind != "VARCHAR":
        return []
    point, comma = (
        {value for value in values if (form.is_whole(value) if only_whole else form.is_number(value))}
        for form in (_POINT, _COMMA)
    )
    if len(point | comma) * 2 <= len(values):
        return []
    if (point <= comma) != (comma <= point):
        forms = [_POINT] if comma <= point else [_COMMA]
    elif point != comma or any("," in value or (only_whole and "." in value) for value in point):
        forms = [_POINT, _COMMA]
    else:
        # A lone point is the decimal sign of nearly every export; of whole numbers it may as well divide thousands.
        forms = [_POINT]
    ways = []
    for form in forms:
        is_plain = form is _POINT and not any("," in value and form.is_number(value) for value in values)
        note = form.note
        if is_plain:
            note = (
                ""
                if len(forms) == 1
                else "numbers with decimal points taken, and those with commas left to be rejected"
            )
        ways.append((sql if is_plain else form.to_sql(sql), note, _are_most(values, form.is_whole)))
    return ways


def _convert_lists(given: ExportColumn) -> Conversions:
    if given.type not in {"VARCHAR", "JSON"}:
        return (Conversion(given.sql),) if given.type.endswith("[]") else ()
    texts = [value for value in given.values if not value.lstrip().startswith("[")]
    for mark in (",", ";"):
        if not any("|" in value for value in texts) and any(mark in value for value in texts):
            return (Conversion(f"replace({given.sql}, '{mark}', '|')", f"divided at each {mark!r}"),)
    return (Conversion(given.sql),)


def _convert_texts(given: ExportColumn) -> Conversions:
    is_text = given.type in {"VARCHAR", "UUID", "JSON"} or given.type.startswith("ENUM(")
    return (Conversion(given.sql),) if is_text or _WHOLES.fullmatch(given.type) else ()


def _convert_choices(column: Column, given: ExportColumn) -> Conversions:
    """Convert to texts of the column's list, if most values are on it or known words for one."""
    words = {word: own for word, own in WORDS.get(column.name, {}).items() if word.upper() not in column.choices}
    known = {choice.lower() for choice in column.choices}
    strange = [value for value in given.values if value.lower() not in {*known, *words}]
    if not given.values or len(strange) * 2 > len(given.values):
        return ()
    if all(value in column.choices for value in given.values):
        return (Conversion(given.text),)
    spelled = f"{'upper' if column.choices[0].isupper() else 'lower'}({given.text})"
    cases = "".join(
        f" WHEN lower({given.text}) IN ({', '.join(quote_text(word) for word, of in words.items() if of == own)})"
        f" THEN {quote_text(own) if own else 'NULL'}"
        for own in dict.fromkeys(words.values())
    )
    note = "written like the table's" + ("; unknown ones left empty" if None in words.values() else "")
    if strange:
        more = " …" if len(strange) > _SHOWN else ""
        note += f"; {', '.join(map(repr, strange[:_SHOWN]))}{more} would be refused, or kept by --lenient"
    return (Conversion(f"CASE{cases} ELSE {spelled} END" if cases else spelled, note),)


def _or_original_sql(made: str, given: ExportColumn) -> str:
    """Write SQL of the converted text, or of the original, which the load then refuses."""
    return f"coalesce(CAST({made} AS VARCHAR), {given.text})"
