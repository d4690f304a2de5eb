"""Rules of a table's columns, and a load's query: good rows converted, bad ones' reasons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from reelport.facts.tables import Column, Kind, Table, sort_keys
from reelport.similar_names import nearest
from reelport.sql_quoting import quote_name, quote_text

LONGEST_TEXT = 16_384
"""The most bytes that one text may have."""
FIRST_DAY, END_DAY = "1970-01-01", "2200-01-01"
"""The valid range of days, the end excluded; a day outside it is taken for a mistake."""
_MOST_AHEAD = timedelta(days=1)
"""How far ahead of the load's clock facts may lie: clocks of players, and days of other time zones, do."""
_MONEY_TYPE = "DECIMAL(18,6)"
_MONEY_BOUND = "1000000000000"
_COUNT_BOUND = "9223372036854775807"
HALF_FLOAT = "FLOAT16"
"""Our name for floating-point numbers of 16 bits in Parquet files, which DuckDB reads as FLOAT."""
_EXACT_BITS = {HALF_FLOAT: 11, "FLOAT": 24, "DOUBLE": 53}
"""From 2 to the power of these on a float may stand for another whole number that was rounded to it."""

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_WIDE_INTEGERS = {"HUGEINT", "UHUGEINT", "UBIGINT", "BIGNUM", "VARINT"}
_NANOSECONDS = {"TIMESTAMP_NS", "TIMESTAMPTZ_NS"}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.COUNT: "BIGINT",
    Kind.MONEY: _MONEY_TYPE,
    Kind.DAY: "DATE",
    Kind.MOMENT: "TIMESTAMPTZ",
    Kind.TEXTS: "VARCHAR[]",
}
_EXPECTED = {
    Kind.TEXT: "text",
    Kind.COUNT: "whole numbers",
    Kind.MONEY: "decimal numbers",
    Kind.DAY: "dates",
    Kind.MOMENT: "timestamps",
    Kind.TEXTS: "lists of texts",
}
_DAY_FORM = r"\d{4}-\d{2}-\d{2}"
_MOMENT_FORM = _DAY_FORM + r"([T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?( ?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?))?)?"
_NUL = "it holds a NUL character"
_NESTED = "is nested, where texts should be"
_TOO_LONG = f"is longer than {LONGEST_TEXT} bytes"
_UNTYPED = re.compile(r'^("NULL"|NULL\b)')
"""The type of nulls alone, and of what is in a list of them or in an empty one."""
_SLICED_OFFSET = r"([+-]\d{2})(\d{2})$"


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """A reason to refuse a row: condition (SQL), sentence, and a value (SQL) to quote, if any.

    The message begins with `column`. `is_outside` is true where the value is only not in the column's list, which a
    lenient load allows.
    """

    condition: str
    sentence: str
    value: str | None = None
    column: str = ""
    is_outside: bool = False

    @property
    def kind(self) -> str:
        """The reason without the value, which is the same for all rows that it refuses."""
        return f"{self.column}: {self.sentence}"

    @property
    def reason(self) -> str:
        """The SQL of the whole message, with the value."""
        if self.value is None:
            return quote_text(self.kind)
        return f"{quote_text(self.column + ': ')} || {_shown_sql(self.value)} || {quote_text(' ' + self.sentence)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """The SQL of a column's converted value, and the reasons to refuse a row."""

    value: str
    refusals: tuple[RowRefusal, ...] = ()


def absent_sql(column: Column) -> str:
    """Write the SQL of a column that the input doesn't have: its default or null."""
    if column.default is None:
        return null_sql(column)
    default = quote_text(column.default) if isinstance(column.default, str) else str(column.default)
    return f"CAST({default} AS {_SQL_TYPES[column.kind]})"


def null_sql(column: Column) -> str:
    """Write the SQL of an empty cell of the column: a null of its type."""
    return f"CAST(NULL AS {_SQL_TYPES[column.kind]})"


def make_rule(column: Column, source: str) -> Rule | str:
    """Make the rule for values of this SQL type, or say why it can't be converted."""
    name = f"{_SOURCE}.{quote_name(column.name)}"
    is_mixed = source == "JSON" and column.kind not in {Kind.TEXT, Kind.TEXTS}
    made = _mixed_rule(column, name) if is_mixed else _rule_by_kind(column, name, _UNTYPED.sub("VARCHAR", source))
    if made is None:
        return f"column {column.name} holds {source}, where {_EXPECTED[column.kind]} should be"
    value, refusals = made.value, list(made.refusals)
    if column.choices:
        listed = ", ".join(quote_text(choice) for choice in column.choices)
        sentence = f"is no {column.called}" if column.called else f"is none of: {', '.join(column.choices)}"
        # A cast to ENUM looks the text up directly; NOT IN would join each row with the list.
        other = f"({value}) IS NOT NULL AND TRY_CAST(({value}) AS ENUM({listed})) IS NULL"
        refusals.append(RowRefusal(other, sentence, value, is_outside=not column.decisive))
    if column.required:
        refusals.append(RowRefusal(_is_empty_sql(name, source), "is empty, and must not be"))
    if column.default is not None:
        value = f"coalesce({value}, {absent_sql(column)})"
    return Rule(value, tuple(replace(one, column=column.name) for one in refusals))


def make_ahead_refusal(column: Column, value: str, now: datetime) -> RowRefusal:
    """Make the reason to refuse a fact too far ahead of now; `value` is the SQL of its time."""
    limit = now + _MOST_AHEAD
    latest = str(limit.date()) if column.kind is Kind.DAY else limit.isoformat()
    late = f"({value}) > CAST({quote_text(latest)} AS {_SQL_TYPES[column.kind]}) AND ({value}) < '{END_DAY}'"
    return RowRefusal(late, f"is more than a day later than now ({now:%Y-%m-%d})", value, column.name)


def _is_empty_sql(name: str, source: str) -> str:
    text = _json_text_sql(name) if source == "JSON" else name
    return f"({text} IS NULL OR {text} = '')" if source in {"VARCHAR", "JSON"} else f"{name} IS NULL"


def _json_text_sql(value: str) -> str:
    return f"json_extract_string({value}, '$')"


def _shown_sql(value: str) -> str:
    """Write the SQL of a value as messages show it: in quotes, and cut after 60 characters."""
    text = f"CAST({value} AS VARCHAR)"
    return f"('''' || left({text}, 60) || CASE WHEN length({text}) > 60 THEN '…' ELSE '' END || '''')"


def _rule_by_kind(column: Column, name: str, source: str) -> Rule | None:
    match column.kind:
        case Kind.TEXT:
            return _text_rule(name, source)
        case Kind.COUNT:
            return _count_rule(name, source)
        case Kind.MONEY:
            return _money_rule(name, source)
        case Kind.DAY:
            return _day_rule(name, source)
        case Kind.MOMENT:
            return _moment_rule(name, source)
        case Kind.TEXTS:
            return _texts_rule(name, source)


def _mixed_rule(column: Column, name: str) -> Rule | None:
    """Make the rule for JSON, which values of several types are: each is taken as its text."""
    text = _json_text_sql(name)
    made = _rule_by_kind(column, text, "VARCHAR")
    if made is None or column.kind is not Kind.COUNT:
        return made
    # A number with a point or an exponent was read as a float before it became JSON.
    rounded = _rounded_refusal(f"json_type({name}) = 'DOUBLE'", f"TRY_CAST({text} AS DOUBLE)", "DOUBLE")
    return replace(made, refusals=(*made.refusals, rounded))


def _text_rule(name: str, source: str) -> Rule | None:
    if source == "VARCHAR":
        too_long = RowRefusal(f"strlen({name}) > {LONGEST_TEXT}", _TOO_LONG)
        refusals = too_long, RowRefusal(f"contains({name}, chr(0))", _NUL)
        return Rule(f"nullif({name}, '')", refusals)
    if source == "JSON":
        made = _text_rule(_json_text_sql(name), "VARCHAR")
        nested = RowRefusal(f"json_type({name}) IN ('OBJECT', 'ARRAY')", _NESTED, name)
        return made and replace(made, refusals=(nested, *made.refusals))
    if source in _INTEGERS | _WIDE_INTEGERS or source == "UUID" or source.startswith("ENUM("):
        return Rule(f"nullif(CAST({name} AS VARCHAR), '')")
    return None


def _count_rule(name: str, source: str) -> Rule | None:
    value = f"TRY_CAST({name} AS BIGINT)"
    negative = RowRefusal(f"{name} < 0", "is less than 0", name)
    large = f"is larger than {_COUNT_BOUND}"
    if source in _INTEGERS - _WIDE_INTEGERS:
        return Rule(f"CAST({name} AS BIGINT)", (negative,))
    if source in _WIDE_INTEGERS:
        return Rule(value, (negative, RowRefusal(f"{name} > {_COUNT_BOUND}", large, name)))
    if source in _EXACT_BITS:
        whole = f"NOT coalesce(isfinite({name}) AND {name} = trunc({name}), true)"
        rounded = _rounded_refusal(f"isfinite({name})", name, source)
        return Rule(value, (RowRefusal(whole, "is no whole number", name), negative, rounded))
    if _DECIMAL.fullmatch(source):
        whole = f"{name} <> trunc({name})"
        too_large = RowRefusal(f"{name} >= 0 AND {value} IS NULL", large, name)
        return Rule(value, (RowRefusal(whole, "is no whole number", name), negative, too_large))
    if source == "VARCHAR":
        given = f"nullif({name}, '')"
        form = f"regexp_full_match({given}, '[0-9]+([.]0+)?')"
        value = f"TRY_CAST(split_part({given}, '.', 1) AS BIGINT)"
        # No thousands begin with a zero, or stand behind more than three digits: those have one reading.
        grouped = f"regexp_full_match({given}, '[1-9][0-9]{{0,2}}[.]000')"
        two_ways = "may have a decimal point (2.000 is 2) or one of thousands (2.000 is 2000): write it without"
        return Rule(
            value,
            (
                RowRefusal(f"regexp_full_match({given}, '-[0-9]+([.]0+)?')", "is less than 0", given),
                RowRefusal(grouped, two_ways, given),
                RowRefusal(f"NOT regexp_full_match({given}, '-?[0-9]+([.]0+)?')", "is no whole number", given),
                RowRefusal(f"{form} AND {value} IS NULL", large, given),
            ),
        )
    return None


def _rounded_refusal(condition: str, number: str, source: str) -> RowRefusal:
    bits = _EXACT_BITS[source]
    return RowRefusal(f"{condition} AND {number} >= {2**bits}", _format_rounded(source), number)


def _format_rounded(source: str) -> str:
    exact = f"numbers of type {source} are exact below 2^{_EXACT_BITS[source]} only"
    return f"may have been rounded: {exact}; give whole numbers or texts"


def exact_half_sql(name: str) -> str:
    """Write SQL of a half float, for a mapping, that fails where it may have been rounded."""
    column = quote_name(name)
    told = f"{quote_text(name + ': ')} || {_shown_sql(column)} || {quote_text(' ' + _format_rounded(HALF_FLOAT))}"
    is_rounded = f"isfinite({column}) AND abs({column}) >= {2 ** _EXACT_BITS[HALF_FLOAT]}"
    return f"CASE WHEN {is_rounded} THEN error({told}) ELSE {column} END AS {column}"


def _money_rule(name: str, source: str) -> Rule | None:
    value = f"TRY_CAST({name} AS {_MONEY_TYPE})"
    large = RowRefusal(f"{name} IS NOT NULL AND {value} IS NULL", "is too large", name)
    finer = "has more than 6 digits after the point"
    if source in _INTEGERS | _WIDE_INTEGERS:
        return Rule(value, (large,))
    if decimal := _DECIMAL.fullmatch(source):
        exact = (RowRefusal(f"{name} <> round({name}, 6)", finer, name),) if int(decimal[2]) > 6 else ()  # noqa: PLR2004 - money's digits
        return Rule(value, (*exact, large))
    if source in _EXACT_BITS and source != HALF_FLOAT:  # three digits are no money
        # Convert through the shortest decimal text: 0.1 is then exactly 0.1, and halves round up as written.
        value = f"CASE WHEN abs({name}) < {_MONEY_BOUND} THEN TRY_CAST(CAST({name} AS VARCHAR) AS {_MONEY_TYPE}) END"
        return Rule(value, (RowRefusal(f"{name} IS NOT NULL AND ({value}) IS NULL", "is no number below 10^12", name),))
    if source == "VARCHAR":
        given = f"nullif({name}, '')"
        value = f"TRY_CAST({given} AS {_MONEY_TYPE})"
        form = f"regexp_full_match({given}, '[+-]?[0-9]+([.][0-9]*)?([eE][+-]?[0-9]{{1,2}})?')"
        rounded = f"{value} <> TRY_CAST({given} AS DECIMAL(38,20))"
        more = f"regexp_full_match({given}, '[+-]?[0-9]+[.][0-9]{{6}}[0-9]*[1-9][0-9]*')"
        return Rule(
            value,
            (
                RowRefusal(f"NOT {form}", "is no decimal number", given),
                RowRefusal(f"({rounded} OR {more})", finer, given),
                RowRefusal(f"{form} AND {value} IS NULL", "is too large", given),
            ),
        )
    return None


def _range_refusal(value: str, shown: str) -> RowRefusal:
    inside = f"{value} >= '{FIRST_DAY}' AND {value} < '{END_DAY}'"
    return RowRefusal(f"NOT ({inside})", f"is out of range ({FIRST_DAY} to {END_DAY})", shown)


def _day_rule(name: str, source: str) -> Rule | None:
    if source == "DATE":
        return Rule(name, (_range_refusal(name, name),))
    moment = _moment_rule(name, source)
    if moment is None:
        return None
    return Rule(f"CAST({moment.value} AS DATE)", moment.refusals)


def _moment_rule(name: str, source: str) -> Rule | None:
    if source in _NANOSECONDS:
        value = _cut_nanoseconds_sql(name)
        out = _range_refusal(f"({value})", name)
        lost = f"({name} IS NOT NULL AND ({value}) IS NULL) OR {out.condition}"
        return Rule(value, (replace(out, condition=lost),))
    if source == "DATE" or source.startswith("TIMESTAMP"):
        value = f"CAST({name} AS TIMESTAMPTZ)"
        return Rule(value, (_range_refusal(value, name),))
    if source == "VARCHAR":
        given = f"nullif({name}, '')"
        value = rf"TRY_CAST(regexp_replace({given}, '{_SLICED_OFFSET}', '\1:\2') AS TIMESTAMPTZ)"
        short = f"CASE WHEN strlen({given}) = 10 THEN TRY_CAST({given} AS TIMESTAMPTZ) ELSE {value} END"
        form = f"regexp_full_match({given}, '{_MOMENT_FORM}')"
        value = f"CASE WHEN {form} THEN {short} END"
        no_time = f"{given} IS NOT NULL AND ({value}) IS NULL"
        refusals = (
            RowRefusal(no_time, "is no date or time in ISO 8601 form", given),
            _range_refusal(f"({value})", given),
        )
        return Rule(value, refusals)
    return None


def _cut_nanoseconds_sql(name: str) -> str:
    """Write SQL that cuts a moment to microseconds; a cast would round up, even to another day."""
    nanoseconds = f"epoch_ns({name})"
    cut = f"make_timestamp({nanoseconds} // 1000 - CAST({nanoseconds} % 1000 < 0 AS BIGINT))"
    return f"CASE WHEN isfinite(CAST({name} AS TIMESTAMPTZ)) THEN CAST({cut} AS TIMESTAMPTZ) END"


def _texts_rule(name: str, source: str) -> Rule | None:
    refusals: tuple[RowRefusal, ...] = ()
    if source.endswith("[]") and _text_rule("one", element := source.removesuffix("[]")) is not None:
        listed = f"CAST({name} AS VARCHAR[])"
        if element == "JSON":
            listed = f"list_transform({name}, lambda part: {_json_text_sql('part')})"
            nested = f"list_filter({name}, lambda part: json_type(part) IN ('OBJECT', 'ARRAY'))"
            refusals = (RowRefusal(f"len({nested}) > 0", _NESTED, name),)
    elif source in {"VARCHAR", "JSON"}:
        text = _json_text_sql(name) if source == "JSON" else name
        array = f"TRY_CAST(TRY_CAST({text} AS JSON) AS VARCHAR[])"
        is_array = f"starts_with(ltrim({text}), '[')"
        listed = f"CASE WHEN {is_array} THEN {array} ELSE string_split({text}, '|') END"
        refusals = (RowRefusal(f"{is_array} AND {array} IS NULL", "is no list of texts", text),)
    else:
        return None
    # Drop empty and repeated texts, keep the order of first occurrence; an empty list becomes NULL.
    kept = f"list_filter({listed}, lambda one, place: one <> '' AND list_position({listed}, one) = place)"
    long = RowRefusal(f"strlen(CAST({name} AS VARCHAR)) > {LONGEST_TEXT}", _TOO_LONG)
    nul = RowRefusal(f"contains(array_to_string({listed}, ''), chr(0))", _NUL)
    return Rule(f"CASE WHEN len({kept}) > 0 THEN {kept} END", (*refusals, long, nul))


REJECT = "_reject"
"""Column: why the row is refused, as a struct of file, line, problems and raw; NULL for a good row.

A problem is a struct of kind and reason; NULL for one that the row doesn't have.
"""
OUTSIDE = "_outside"
"""Column of lenient loads: texts of a good row that aren't in their list, as a list of kinds, or NULLs, or NULL."""
DAY = "_day"
FILE = "_reelport_file"
LINE = "_reelport_line"
OUTPUT = "the mapping's output"
"""The name of the source of a mapping's rows, which are not lines of a file."""
_SOURCE = "src"


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows for DuckDB: `relation` goes after FROM, `types` are columns and SQL types.

    `file` and `line` are the SQL of a row's place: the number of its file, from 0, and its line, from 1. A row of
    `OUTPUT` has no file, and its line is its number in the output.
    """

    relation: str
    types: Mapping[str, str]
    file: str
    line: str
    named: str


def find_column_problems(table: Table, source: RowSource) -> list[str]:
    """List every reason why the source's columns don't fit the table."""
    known = {column.name: column for column in table.columns}
    problems = []
    for name in source.types:
        if name not in known:
            hint = nearest(name, [other for other in known if other not in source.types] or known)
            problems.append(f"unknown column {name!r}" + (f" (did you mean {hint}?)" if hint else ""))
    missing = [column.name for column in table.columns if column.required and column.name not in source.types]
    problems += [f"column {name} is missing" for name in missing]
    for name, kind in source.types.items():
        if name in known and isinstance(sentence := make_rule(known[name], kind), str):
            problems.append(sentence)
    return [f"{source.named}: {problem}" for problem in problems]


def load_sql(table: Table, sources: Sequence[RowSource], *, lenient: bool = False, now: datetime | None = None) -> str:
    """Write a SELECT of columns, file, line, `REJECT`, and of lenient loads `OUTSIDE`.

    The sources must have no column problems. If lenient, texts outside a list that no number depends on are kept. Facts
    that lie too far ahead of `now` are refused; none where it isn't given.
    """
    return " UNION ALL ".join(_source_sql(table, source, lenient=lenient, now=now) for source in sources)


def _source_sql(table: Table, source: RowSource, *, lenient: bool, now: datetime | None) -> str:
    values, refusals, kept = _collect_rules(table, source, lenient=lenient, now=now)
    raw = ", ".join(f"{quote_text(name)}: {_SOURCE}.{quote_name(name)}" for name in source.types)
    # A list with NULLs, not filtered: to plan a lambda takes as long as all the rest of a small load's query.
    problems = ", ".join(
        f"CASE WHEN {one.condition} THEN struct_pack(kind := {quote_text(one.kind)}, reason := {one.reason}) END"
        for one in refusals
    )
    what = (
        f"struct_pack(file := {source.file}, line := {source.line}, "
        f"problems := CAST([{problems}] AS STRUCT(kind VARCHAR, reason VARCHAR)[]), "
        f"raw := CAST(to_json({{{raw}}}) AS VARCHAR))"
    )
    reject = f"CASE WHEN {_any_sql(refusals)} THEN {what} END AS {REJECT}"
    kinds = ", ".join(f"CASE WHEN {one.condition} THEN {quote_text(one.kind)} END" for one in kept)
    outside = [f"CASE WHEN {_any_sql(kept)} THEN CAST([{kinds}] AS VARCHAR[]) END AS {OUTSIDE}"] if lenient else []
    columns = [f"{value} AS {quote_name(name)}" for name, value in values.items()]
    place = f"{source.file} AS {quote_name(FILE)}, {source.line} AS {quote_name(LINE)}"
    return f"SELECT {', '.join([*columns, place, reject, *outside])} FROM {source.relation} AS {_SOURCE}"  # noqa: S608 - names are quoted


def _collect_rules(
    table: Table, source: RowSource, *, lenient: bool, now: datetime | None
) -> tuple[dict[str, str], list[RowRefusal], list[RowRefusal]]:
    values: dict[str, str] = {}
    refusals: list[RowRefusal] = []
    for column in table.columns:
        if column.name not in source.types:
            values[column.name] = absent_sql(column)
            continue
        made = make_rule(column, source.types[column.name])
        assert isinstance(made, Rule)  # noqa: S101 - column_problems came first
        values[column.name] = made.value
        refusals += made.refusals
        if now is not None and column.name == table.time:
            refusals.append(make_ahead_refusal(column, made.value, now))
    kept = [one for one in refusals if lenient and one.is_outside]
    return values, [one for one in refusals if one not in kept], kept


def join_reasons(reject: Mapping[str, Any]) -> str:
    """Join the reasons of a row's `REJECT`."""
    return "; ".join(problem["reason"] for problem in reject["problems"] if problem and problem["reason"])


def _any_sql(refusals: Sequence[RowRefusal]) -> str:
    return " OR ".join(f"coalesce({one.condition}, false)" for one in refusals) or "false"


def sorted_load_sql(
    table: Table, sources: Sequence[RowSource], *, lenient: bool = False, now: datetime | None = None
) -> str:
    """Write a load's query: bad rows first, then good ones sorted; of equal keys the last row."""
    names = ", ".join([*(quote_name(column.name) for column in table.columns), *([OUTSIDE] if lenient else [])])
    rows = load_sql(table, sources, lenient=lenient, now=now)
    keys = ", ".join(quote_name(name) for name in sort_keys(table))
    if table.time is not None:
        day = f"CAST({quote_name(table.time)} AS DATE)"
        return (
            f"SELECT {names}, {REJECT}, {day} AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
            f"ORDER BY {REJECT} IS NULL, {DAY}, {keys}"
        )
    latest = ", ".join(f"{quote_name(place)} DESC" for place in (FILE, LINE))
    return (
        f"SELECT {names}, {REJECT}, NULL AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
        f"QUALIFY {REJECT} IS NOT NULL OR row_number() OVER ("
        f"PARTITION BY {REJECT} IS NULL, {keys} ORDER BY {latest}) = 1 "
        f"ORDER BY {REJECT} IS NULL, {keys}"
    )
