"""Merge windows' files with DuckDB: gives exactly the bytes of Python's merge, or declines.

DuckDB's reader doesn't keep how a cell was written, and accepts some text that isn't CSV. So its rows, written as a
service writes them, must have as many bytes and doubled quotes as the files. No other way of writing has both: a
needless quote, a blank, an empty line or a comma at the end makes a file longer, and what makes it shorter, a quote
inside of an unquoted cell, lacks a doubled quote.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reelport.additivity import Added, Cell, Rate
from reelport.catalog import Metric
from reelport.client.ranges.csv_rows import count_columns
from reelport.client.ranges.merge_rules import MergePlan, MergeRule
from reelport.killpoints import reach
from reelport.sql_quoting import quote_text
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = 512_000_000  # DuckDB's memory limit in bytes at most; more data spills to files beside the windows'
_SHARE = 0.3  # our limit as a share of DuckDB's own default limit, which is 80 % of the machine's or container's memory
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_THREADS = 4
_LOOK_SECONDS = 0.05
_FOLDER = "duckdb"

# Most digits of a number that DuckDB adds up in 64 bits; sums of 10^20 such numbers still fit into 128 bits.
_PLAIN_DIGITS = 18

# Reader options that guess nothing and neither repair nor skip rows: malformed input is an error.
_READER = (
    "header = false, skip = 1, auto_detect = false, all_varchar = false, delim = ',', quote = '\"', escape = '\"', "
    "comment = '', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, strict_mode = true, "
    "null_padding = false, ignore_errors = false, hive_partitioning = false, union_by_name = false, "
    "max_line_size = 2097152"
)

# Copy options that write each line unchanged, with a newline.
_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', NULLSTR '', USE_TMP_FILE false"

_AT_ONCE = 1 << 20


class Declined(Exception):
    """DuckDB isn't installed, or its output might differ from Python's: Python must merge."""


def order_rows(plan: MergePlan, paths: Sequence[Path], scratch: Path) -> Generator[None, None, Path]:
    """Write merged rows, no header, to a file below `scratch`; return it; yields between.

    The caller reads the file, then calls `remove_folder`. Raises Declined.
    """
    folder = scratch / _FOLDER
    remove_folder(scratch)  # A killed process may have left one.
    folder.mkdir()
    with closing(_connect(folder)) as con:
        job = _Job(con, plan, paths, folder / "rows")
        yield from job.run()
    reach("client-ordered")
    return job.to


def remove_folder(scratch: Path) -> None:
    """Remove DuckDB's folder from `scratch`."""
    shutil.rmtree(scratch / _FOLDER, ignore_errors=True)


def _connect(folder: Path) -> DuckDBPyConnection:
    try:
        import duckdb  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise Declined(f"it is not installed ({advise_extra('duckdb')})") from error
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": min(os.cpu_count() or 1, _THREADS),
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        con = duckdb.connect(config=settings)
        con.execute("SET enable_progress_bar = false")
        ((own,),) = con.execute("SELECT current_setting('memory_limit')").fetchall()
        number, unit = str(own).split()
        con.execute(f"SET memory_limit = '{min(MEMORY, int(float(number) * _UNITS[unit] * _SHARE))} bytes'")
    except (duckdb.Error, ValueError, KeyError) as error:
        raise Declined(_format_first_line(error)) from error
    return con


class _Job:
    def __init__(self, con: DuckDBPyConnection, plan: MergePlan, paths: Sequence[Path], to: Path) -> None:
        self.to = to
        self._con = con
        self._plan = plan
        self._paths = paths
        self._stopped = threading.Event()

    def run(self) -> Generator[None]:
        """Run the merge. Closing this early interrupts DuckDB and waits until it stopped."""
        import duckdb  # noqa: PLC0415 - loaded by now

        with ThreadPoolExecutor(1, "reelport-merge") as beside:
            doing = beside.submit(self._merge)
            try:
                while not doing.done():
                    wait([doing], _LOOK_SECONDS)
                    yield
                doing.result()
            except duckdb.Error as error:
                raise Declined(_format_first_line(error)) from error
            finally:
                self._stop(doing)

    def _stop(self, doing: Future[None]) -> None:
        self._stopped.set()
        while not doing.done():
            # Interrupt repeatedly: DuckDB may have been between two statements the first time.
            self._con.interrupt()
            wait([doing], _LOOK_SECONDS)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Declined("it was stopped")

    def _merge(self) -> None:
        columns = len(self._plan.asked.dimensions) + len(self._plan.asked.metrics)
        if not self._plan.width or any(count_columns(path) != columns for path in self._paths):
            raise Declined("rows have no key, or a header has another number of columns than was asked for")
        bodies = _measure_bodies(self._paths, self._check)
        statements = _Statements(self._plan, self._paths, bodies)
        if self._plan.rule is MergeRule.SUMMED:
            self._con.execute("SET preserve_insertion_order = false")  # The order is made at the end.
            self._con.execute(statements.add_up())
            alike = self._con.execute(statements.describe_sums()).fetchone() == (bodies.bytes, bodies.pairs, False)
            if alike:
                self._con.execute(statements.write_sums(self.to))
        else:
            self._con.execute(statements.put_in_order(self.to))
            written = _measure_bodies([self.to], self._check, headers=False)
            alike = (written.bytes, written.pairs) == (bodies.bytes, bodies.pairs)
        if not alike:
            raise Declined("cells are written in more than one way")


def _format_first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


class _Statements:
    """The SQL for one merge plan and its files. It reads every cell as text.

    No number is rounded or becomes a double: one that isn't written plainly, or a sum beyond 38 digits, fails.
    """

    def __init__(self, plan: MergePlan, paths: Sequence[Path], bodies: _Bodies) -> None:
        self._plan = plan
        self._bodies = bodies
        width = plan.width
        self._keys = [f"c{place}" for place in range(width)]
        self._metrics = [f"c{place}" for place in range(width, width + len(plan.asked.metrics))]
        self._digits = [Metric[name].digits if name in Metric.__members__ else 0 for name in plan.asked.metrics]
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in (*self._keys, *self._metrics))
        files = ", ".join(quote_text(re.sub(r"[*?\[]", r"[\g<0>]", str(path))) for path in paths)  # no globs
        self._source = f"read_csv([{files}], columns = {{{columns}}}, {_READER})"

    def put_in_order(self, to: Path) -> str:
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
        """Compute a rate's absolute value in its last digit, as `round_ratio`; NULL if it is empty."""
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


class _Bodies:
    """Measurements of several files together, below their headers.

    `bytes` counts a line end for each row, also for the last one of a file. `quotes` says whether there are any quotes,
    `pairs` is the number of `""`, and `bare_marks` says whether a `#` stands outside of quotes.
    """

    def __init__(self) -> None:
        self.bytes = self.pairs = 0
        self.quotes = self.bare_marks = False

    def add(self, pieces: Iterable[bytes]) -> None:
        inside, last, held = False, b"\n", b""
        for data in pieces:
            self.bytes += len(data)
            last = data[-1:]
            if held or b'"' in data:
                self.quotes = True
                if not self.bare_marks and b"#" in data:
                    self.bare_marks = b"#" in b"".join(data.split(b'"')[inside::2])
                inside ^= data.count(b'"') % 2 == 1
                # A run of quotes may continue in the next piece.
                ended = (held + data).rstrip(b'"')
                held = (held + data)[len(ended) :]
                self.pairs += ended.count(b'""')
            elif not inside:
                self.bare_marks = self.bare_marks or b"#" in data
        self.pairs += held.count(b'""')
        self.bytes += last != b"\n"


def _measure_bodies(paths: Sequence[Path], check: Callable[[], None], *, headers: bool = True) -> _Bodies:
    """Measure the bodies of files below their headers; without `headers`, the whole files.

    Calls `check` after each megabyte; `check` may raise to end the work.
    """
    bodies = _Bodies()

    def read(file: BinaryIO) -> Iterator[bytes]:
        while data := file.read(_AT_ONCE):
            check()
            yield data

    for path in paths:
        with path.open("rb") as file:
            if headers:
                file.readline()
            bodies.add(read(file))
    return bodies
