"""The SQL that merges windows' files in DuckDB, exactly as `merge` does in Python.

The statements read every cell as text. No number is rounded or becomes a double: a number that isn't written
plainly, or a sum beyond 38 digits, makes the statement fail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reelport.additivity import Added, Cell, Rate
from reelport.catalog import Metric
from reelport.client.ranges.bodies import Bodies
from reelport.client.ranges.merge_rules import MergePlan
from reelport.sql_quoting import quote_text

_PLAIN_DIGITS = 18
"""Most digits of a number that DuckDB adds up in 64 bits; sums of 10^20 such numbers still fit into 128 bits."""

_READER = (
    "header = false, skip = 1, auto_detect = false, all_varchar = false, delim = ',', quote = '\"', escape = '\"', "
    "comment = '', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, strict_mode = true, "
    "null_padding = false, ignore_errors = false, hive_partitioning = false, union_by_name = false, "
    "max_line_size = 2097152"
)
"""Reader options that guess nothing and neither repair nor skip rows: malformed input is an error."""

_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', NULLSTR '', USE_TMP_FILE false"
"""Copy options that write each line unchanged, with a newline."""


class Statements:
    """The statements for one merge plan and its files, whose bodies were measured."""

    def __init__(self, plan: MergePlan, paths: Sequence[Path], bodies: Bodies) -> None:
        self._plan = plan
        self._bodies = bodies
        width = plan.width
        self._keys = [f"c{place}" for place in range(width)]
        self._metrics = [f"c{place}" for place in range(width, width + len(plan.asked.metrics))]
        self._digits = [Metric[name].digits if name in Metric.__members__ else 0 for name in plan.asked.metrics]
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in (*self._keys, *self._metrics))
        files = ", ".join(quote_text(_escape_glob(str(path))) for path in paths)
        self._source = f"read_csv([{files}], columns = {{{columns}}}, {_READER})"

    def put_in_order(self, to: Path) -> str:
        """Write all rows to a file, sorted by key (stable)."""
        line = " || ',' || ".join(self._format_key(name) for name in (*self._keys, *self._metrics))
        rows = f"SELECT *, row_number() OVER () AS place FROM {self._source}"  # noqa: S608 - our names
        return _copy_to(f"SELECT {line} FROM ({rows}) ORDER BY {self._order}, place", to)  # noqa: S608

    def add_up(self) -> str:
        """Make the table `sums`: each key's column sums, and the size of its rows as written."""
        sums = [
            f"sum({_parse_number(name, digits)}) AS s{place}"
            for place, (name, digits) in enumerate(zip(self._metrics, self._digits, strict=True))
        ]
        columns = ", ".join([*self._keys, *sums, *self._measure_rows()])
        return f"CREATE TEMP TABLE sums AS SELECT {columns} FROM {self._source} GROUP BY {', '.join(self._keys)}"  # noqa: S608

    def describe_sums(self) -> str:
        """Select bytes and `""` of all rows as written, and whether columns have both empties."""
        mixed = " OR ".join(f"(bool_or({key} IS NULL) AND bool_or({key} = ''))" for key in self._keys)
        return f"SELECT coalesce(sum(bytes), 0), coalesce(sum(pairs), 0), coalesce({mixed}, false) FROM sums"  # noqa: S608

    def write_sums(self, to: Path) -> str:
        """Write the rows of `sums` to a file as the query's own cells, sorted by key."""
        wholes = [
            f", {self._round_rate(made)} AS r{place}"
            for place, made in enumerate(self._plan.cells)
            if isinstance(made, Rate)
        ]
        cells = [self._format_cell(place, made) for place, made in enumerate(self._plan.cells)]
        line = " || ',' || ".join([*map(self._format_key, self._keys), *cells])
        return _copy_to(f"SELECT {line} FROM (SELECT *{''.join(wholes)} FROM sums) ORDER BY {self._order}", to)  # noqa: S608

    @property
    def _order(self) -> str:
        """The sort order: by UTF-8 bytes, empty last."""
        return ", ".join(f"nullif({key}, '') NULLS LAST" for key in self._keys)

    def _measure_rows(self) -> list[str]:
        """Sum bytes (line ends included) and `""` of rows as written; numbers aren't quoted."""
        cells = [*map(self._format_key, self._keys), *(f"coalesce({name}, '')" for name in self._metrics)]
        size = " + ".join([*(f"strlen({cell})" for cell in cells), str(len(cells))])
        pairs = (
            " + ".join(_count_pairs(self._format_key(key), key) for key in self._keys) if self._bodies.quotes else "0"
        )
        return [f"sum({size}) AS bytes", f"sum({pairs}) AS pairs"]

    def _format_key(self, name: str) -> str:
        """Format a cell as a service does: quoted where needed, around a `#` as the files do."""
        if not self._bodies.quotes:
            return f"coalesce({name}, '')"
        marks = r'[",\r\n]' if self._bodies.bare_marks else r'[",\r\n#]'
        return (
            f"CASE WHEN {name} = '' THEN '\"\"' WHEN regexp_matches({name}, '{marks}') "
            f"THEN '\"' || replace({name}, '\"', '\"\"') || '\"' ELSE coalesce({name}, '') END"
        )

    def _format_cell(self, place: int, made: Cell) -> str:
        match made:
            case Added(column):
                return f"coalesce(s{column}::VARCHAR, '')"
            case Rate() as rate:
                return self._format_rate(place, rate)

    def _round_rate(self, rate: Rate) -> str:
        """Compute a rate's absolute value in its last digit, as `round_ratio` does; NULL where it is empty."""
        above, below = self._scale_sums(rate)
        factor = 2 * rate.scale * 10**rate.digits
        return f"(abs({above}) * {factor}::HUGEINT + abs({below})) // nullif(2 * abs({below}), 0)"

    def _format_rate(self, place: int, rate: Rate) -> str:
        above, below = self._scale_sums(rate)
        sign = f"CASE WHEN r{place} <> 0 AND ({above} < 0) <> ({below} < 0) THEN '-' ELSE '' END"
        text = f"r{place}::VARCHAR"
        if rate.digits:
            padded = f"lpad({text}, greatest(length({text}), {rate.digits + 1})::INTEGER, '0')"
            text = f"left({padded}, length({padded}) - {rate.digits}) || '.' || right({padded}, {rate.digits})"
        return f"coalesce({sign} || {text}, '')"

    def _scale_sums(self, rate: Rate) -> tuple[str, str]:
        """Return a rate's numerator and denominator sums as integers of the same unit."""
        digits = max(self._digits[column] for column in (rate.numerator, *rate.denominator))
        below = " + ".join(f"coalesce({self._scale_sum(column, digits)}, 0::HUGEINT)" for column in rate.denominator)
        return self._scale_sum(rate.numerator, digits), f"({below})"

    def _scale_sum(self, column: int, digits: int) -> str:
        own = self._digits[column]
        whole = f"replace(s{column}::VARCHAR, '.', '')::HUGEINT" if own else f"s{column}"
        return f"({whole} * {10 ** (digits - own)}::HUGEINT)"


def _parse_number(name: str, digits: int) -> str:
    """Parse a cell as a number with `digits` digits; NULL if empty, an error if not plain.

    A number that casts back to the same text was read exactly; most cells are of that kind.
    """
    kind = f"DECIMAL({_PLAIN_DIGITS}, {digits})" if digits else "BIGINT"
    fraction = rf"(\.[0-9]{{1,{digits}}})?" if digits else ""
    plain = rf"-?[0-9]{{1,{_PLAIN_DIGITS - digits}}}{fraction}"
    cast = f"TRY_CAST({name} AS {kind})"
    return (
        f"CASE WHEN {cast}::VARCHAR = {name} THEN {cast} WHEN {name} IS NULL OR {name} = '' THEN NULL "
        f"WHEN regexp_full_match({name}, '{plain}') AND NOT ({cast} = 0 AND starts_with({name}, '-')) THEN {cast} "
        "ELSE error('a number is not written plainly') END"
    )


def _count_pairs(written: str, name: str) -> str:
    return (
        f"CASE WHEN {name} = '' THEN 1 WHEN contains({name}, '\"') "
        f"THEN strlen({written}) - strlen(replace({written}, '\"\"', '\"')) ELSE 0 END"
    )


def _copy_to(query: str, to: Path) -> str:
    return f"COPY ({query}) TO {quote_text(str(to))} ({_LINES})"


def _escape_glob(path: str) -> str:
    """Escape a path's glob characters, so that it matches only itself."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)
