"""A window's report on its way in: its CSV as a table of texts, to be looked at before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.client.files.part import translate_io_errors
from reelport.client.files.shape import parse_columns
from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError, StorageError, UsageError
from reelport.sync.columns import Field, digits_of, fits, is_number, literal, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STAGE = "temp.main.stage"
_HEADER_BYTES = 1 << 16

# Nothing is guessed. A folder that is named `views=9` is no column of the files in it.
_CSV = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
    "hive_partitioning = false, max_line_size = 16777216"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A report on disk: the window that it is of, its token, and when and where it was asked for (UTC).

    `last_complete_day` is that of the facts that it was made of; None where the service doesn't tell.
    """

    window: Window
    file: Path
    token: str
    asked: datetime
    service: str
    last_complete_day: date | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """Values of a column that are no values of its field: how many, one of them, and what would hold them."""

    field: Field
    count: int
    example: str
    numbers: bool
    digits: int

    def __str__(self) -> str:
        return f"{self.count:,} values of {self.field.name} are no {self.field.type}, such as {self.example[:40]!r}"


@dataclass(frozen=True, slots=True)
class Stage:
    """The report in the table `STAGE` of a connection, all of it text; only an empty cell is NULL."""

    con: DuckDBPyConnection
    columns: tuple[str, ...]

    def misfits(self, fields: tuple[Field, ...]) -> tuple[Misfit, ...]:
        """What of the report's columns doesn't fit into these fields."""
        typed = [field for field in fields if field.name in self.columns and fits(field) != "true"]
        if not typed:
            return ()
        sums = ", ".join(_look(field) for field in typed)
        row = self.con.execute(f"SELECT {sums} FROM {STAGE}").fetchone() or ()  # noqa: S608 - names are quoted
        found = [Misfit(field, *row[4 * i : 4 * i + 4]) for i, field in enumerate(typed)]
        return tuple(misfit for misfit in found if misfit.count)

    def count(self, condition: str = "true") -> int:
        """How many rows there are, of which this is true."""
        found = self.con.execute(f"SELECT count(*) FILTER ({condition}) FROM {STAGE}").fetchone()  # noqa: S608 - ours
        return int(found[0]) if found else 0


@contextmanager
def engine(spill: Path) -> Iterator[DuckDBPyConnection]:
    """A DuckDB in memory that speaks UTC and spills into a folder of its own. UsageError where DuckDB is absent."""
    try:
        import duckdb  # noqa: PLC0415 - heavy, and only a sync needs it
    except ImportError as error:
        raise UsageError("A sync needs duckdb, which is not installed: pip install 'reelport[duckdb]'") from error
    con = duckdb.connect(config={"temp_directory": str(spill), "threads": 2})
    try:
        con.execute("SET TimeZone = 'UTC'")
        yield con
    except duckdb.Error as error:
        raise StorageError(f"DuckDB can't go on: {_one_line(error)}") from error
    finally:
        con.close()


def stage(con: DuckDBPyConnection, file: Path) -> Stage:
    """Read a downloaded report.

    Raises SchemaDrift for columns that have one name, or one of ours, and ServiceError where it is no CSV.
    """
    import duckdb  # noqa: PLC0415 - heavy; it is loaded by now

    with translate_io_errors(file), file.open("rb") as lines:
        columns = parse_columns(lines.readline(_HEADER_BYTES))
    if not columns:
        raise ServiceError("The report has no columns.")
    wrong = sorted({name for name in columns if columns.count(name) > 1 or name.startswith("_") or not name})
    if wrong:
        raise SchemaDrift(f"The report has columns that no table can: {', '.join(map(repr, wrong))[:300]}.")
    texts = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    con.execute(f"DROP TABLE IF EXISTS {STAGE}")
    read = f"read_csv({literal(str(file))}, columns = {{{texts}}}, {_CSV})"
    try:
        con.execute(f"CREATE TEMP TABLE stage AS SELECT * FROM {read}")  # noqa: S608 - names and texts are quoted
    except duckdb.InvalidInputException as error:
        raise ServiceError(f"The report can't be read: {_one_line(error)}") from error
    return Stage(con, columns)


def _look(field: Field) -> str:
    text = quoted(field.name)
    misfit = f"FILTER ({text} IS NOT NULL AND NOT {fits(field)})"
    number = is_number(field.name)
    return (
        f"count(*) {misfit}, any_value({text}) {misfit}, "
        f"coalesce(bool_and({number}) {misfit}, false), coalesce(max({digits_of(field.name)}) {misfit}, 0)"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
