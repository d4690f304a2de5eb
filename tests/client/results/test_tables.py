"""A report's file as rows, Arrow, Polars, pandas and Parquet: the same values everywhere, and none of them guessed."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from tests.cases import thin_out

from reelport.catalog import CellType, Dimension, Metric
from reelport.cells import look_up_columns
from reelport.client.results.tables import Table
from reelport.errors import IncompleteDownload, SchemaDrift, StorageError

HEADER = "day,hour,video_title,views,estimated_earnings_eur,view_through_rate,brand_new"
MONEY = pa.decimal128(38, 6)


def table(folder: Path, text: str | bytes) -> Table:
    path = folder / "report.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Table.of(path)


def test_the_catalog_says_what_a_column_holds() -> None:
    """Days, hours, counts, money, rates and unknown names, in any case."""
    kinds = [(column.type, column.digits, column.known) for column in look_up_columns(HEADER.upper().split(","))]
    assert kinds == [
        (CellType.DAY, 0, True),
        (CellType.HOUR, 0, True),
        (CellType.TEXT, 0, True),
        (CellType.INTEGER, 0, True),
        (CellType.DECIMAL, 6, True),
        (CellType.DECIMAL, 2, True),
        (CellType.TEXT, 0, False),
    ]


def test_a_table_prints_its_shape_columns_and_path(tmp_path: Path) -> None:
    """As frames do; one whose file has gone prints too."""
    read = table(tmp_path, "day,estimated_earnings_eur,brand_new\n2026-01-01,1.000000,x\n")
    columns = [
        "day: day",
        "estimated_earnings_eur: decimal (6 digits after the point)",
        "brand_new: text, not in the catalog",
    ]
    assert repr(read).splitlines() == [f"Table(1 row x 3 columns, {str(read.path)!r})", *columns]
    assert str(read) == repr(read)
    read.path.unlink()
    assert repr(read).startswith("Table(rows can't be read, ")


def test_every_column_of_the_catalog_can_be_read(tmp_path: Path) -> None:
    """One row with a cell for each dimension and metric there is, and one with every cell empty."""
    cells = {
        CellType.TEXT: ("a", "a"),
        CellType.MONTH: ("2026-01", "2026-01"),
        CellType.INTEGER: ("7", 7),
        CellType.DECIMAL: ("1.50", Decimal("1.50")),
        CellType.DAY: ("2026-01-02", date(2026, 1, 2)),
        CellType.HOUR: ("2026-01-02T03:00:00Z", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        CellType.MINUTE: ("2026-01-02T03:04:00Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
    }
    every = [*Dimension, *Metric]
    lines = [[row.header for row in every], [cells[row.type][0] for row in every], [""] * len(every)]
    read = table(tmp_path, "".join(",".join(line) + "\n" for line in lines))
    wanted = [{row.header: cells[row.type][1] for row in every}, dict.fromkeys(row.header for row in every)]
    assert list(read.rows()) == wanted
    assert read.arrow().to_pylist() == wanted


def test_only_an_empty_cell_is_null(tmp_path: Path) -> None:
    """NA, null, NaN and an empty text in quotes are texts; an empty cell is null, at the end of a line too."""
    words = ["NA", "null", "NaN", "None", "#N/A", "-", " ", '""', ""]
    read = table(tmp_path, "video_title,brand_new\n" + "".join(f"{word},{word}\n" for word in words))
    wanted = [*words[:-2], "", None]
    assert [row["video_title"] for row in read.rows()] == wanted
    assert read.arrow()["brand_new"].to_pylist() == wanted
    assert read.polars()["brand_new"].to_list() == wanted
    frame = read.pandas()
    assert frame["brand_new"].isna().tolist() == [False] * 8 + [True]
    assert frame["brand_new"].tolist()[:8] == wanted[:8]


def test_money_stays_decimal_and_counts_stay_whole(tmp_path: Path) -> None:
    """No float unless it is asked for: not beside an empty cell, not for a sum that a double can't hold."""
    rows = "2026-01-01,2026-01-01T00:00:00Z,a,9007199254740993,12345678901234567.123457,0.04,x\n,,,,,,\n"
    read = table(tmp_path, f"{HEADER}\n{rows}")
    money = Decimal("12345678901234567.123457")
    assert next(read.rows())["estimated_earnings_eur"] == money
    arrow = read.arrow()
    assert [str(kind) for kind in arrow.schema.types] == [
        "date32[day]", "timestamp[us, tz=UTC]", "string", "int64", "decimal128(38, 6)", "decimal128(38, 2)", "string"
    ]  # fmt: skip
    assert read.polars()["estimated_earnings_eur"].to_list() == [money, None]
    assert read.polars()["views"].to_list() == [9007199254740993, None]
    assert str(read.polars().schema["hour"]) == "Datetime(time_unit='us', time_zone='UTC')"
    frame = read.pandas(exact=True)
    assert frame["estimated_earnings_eur"].tolist() == [money, None]
    assert frame["views"][0] == 9007199254740993
    assert str(frame["views"].dtype) == "Int64"


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", '","",', 'a","b', "NA", "🎬", "\ufeff", "أخبار", "\x00", "\u2028", "\x85"]
)  # fmt: skip
COUNTS = st.none() | st.integers(-(2**63), 2**63 - 1)
AMOUNTS = st.none() | st.decimals(-(10**20), 10**20, places=6, allow_nan=False, allow_infinity=False)


def cell(value: object) -> str:
    """A value as a cell: None alone is empty."""
    text = "" if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)
    bare = value is not None and text and not set(text) & set(',"\r\n')
    return text if bare or value is None else '"' + text.replace('"', '""') + '"'


@settings(max_examples=settings().max_examples * 5 // 2)
@given(rows=st.lists(st.tuples(TEXTS, COUNTS, AMOUNTS, TEXTS), max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object]], end: str
) -> None:
    """Any text, count and amount comes back as it was, row by row and by Arrow."""
    header = "video_title,views,estimated_earnings_usd,brand_new"
    lines = [header, *(",".join(map(cell, row)) for row in rows)]
    read = table(tmp_path_factory.mktemp("t"), "".join(line + end for line in lines))
    assert list(read.tuples()) == rows
    assert [tuple(row.values()) for row in read.arrow().to_pylist()] == rows


@given(rows=st.lists(TEXTS | st.just(""), max_size=5))
def test_a_column_alone_keeps_its_empty_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[str | None]) -> None:
    """In a report of one column a blank line is a row."""
    read = table(tmp_path_factory.mktemp("t"), "".join(line + "\n" for line in ["brand_new", *map(cell, rows)]))
    assert [row["brand_new"] for row in read.rows()] == rows
    assert read.arrow()["brand_new"].to_pylist() == rows


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("views", "12.5", Decimal("12.5")),
        ("views", "+5", 5),
        ("views", " 5 ", 5),
        ("ecpm_eur", " 1.5", Decimal("1.5")),
        ("day", "2026-01-02 ", date(2026, 1, 2)),
        ("views", "99999999999999999999", 99999999999999999999),
        ("views", '""', None),
        ("estimated_earnings_eur", "0.123456789", Decimal("0.123456789")),
        ("ecpm_eur", "1e-9", Decimal("1e-9")),
        ("estimated_earnings_eur", "7", Decimal(7)),
        ("hour", "2026-01-02 03:00:00", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        ("hour", "2026-01-02T03:00:00.000Z", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        ("hour", "2026-01-02T03:00:00+02:00", datetime(2026, 1, 2, 1, tzinfo=UTC)),
        ("day", "2026-01-02T00:00:00Z", date(2026, 1, 2)),
    ],
)
def test_another_vendors_way_to_write_is_read_exactly(tmp_path: Path, column: str, text: str, value: object) -> None:
    """More digits than the catalog says, or another form of a time, are no reason to lose any of it."""
    read = table(tmp_path, f"{column},video_title\n{text},a\n,b\n")
    assert [row[column] for row in read.rows()] == [value, None]
    arrow = read.arrow()
    assert arrow[column].to_pylist() == [value, None]
    assert not pa.types.is_floating(arrow.schema.field(column).type)
    assert pq.read_table(read.parquet(tmp_path / "report.parquet")).equals(arrow)


@pytest.mark.parametrize(
    ("column", "text"),
    [("views", "NA"), ("views", "1,234"), ("view_through_rate", "NaN"), ("day", "20260102"), ("hour", "5"),
     ("views", "1_000"),
     ("views", " "), ("hour", " "), ("estimated_earnings_eur", "1,5"),
     ("views", "٣"), ("estimated_earnings_eur", "1" * 39), ("views", "9" * 5000)],
)  # fmt: skip
def test_a_cell_of_another_kind_is_refused(tmp_path: Path, column: str, text: str) -> None:
    """It is said which cell; it becomes neither null nor text by itself, but text where that is wished for."""
    path = table(tmp_path, f'video_title,{column}\na,\nb,"{text}"\n').path
    with pytest.raises(SchemaDrift, match=column):
        Table.of(path).arrow()
    with pytest.raises(SchemaDrift, match=column):
        Table.of(path).parquet(tmp_path / "out.parquet")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.csv"]
    for wished in ([column.upper()], column):
        assert Table.of(path, text=wished).arrow()[column].to_pylist() == [None, text]


def test_a_workbook_reads_columns_as_the_table_does(tmp_path: Path) -> None:
    """What is kept as text is a text; names stand as in the file; a row of another width leaves no file."""
    read = table(tmp_path, 'VIDEO_TITLE,VIEWS\na,1\n"",\n"b, ""c""",2\n')
    assert cells_of(read.xlsx(tmp_path / "a.xlsx")) == [("VIDEO_TITLE", "VIEWS"), ("a", 1), (None, None), ('b, "c"', 2)]
    assert cells_of(read.as_text("views").xlsx(tmp_path / "b.xlsx"))[1] == ("a", "1")
    cut = table(tmp_path, "day,views\n2026-01-01,1\n2026-01-02\n")
    with pytest.raises(IncompleteDownload):
        cut.xlsx(tmp_path / "c.xlsx")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.xlsx", "b.xlsx", "report.csv"]


def cells_of(path: Path) -> list[tuple[object, ...]]:
    """All values of a workbook's sheet."""
    return list(load_workbook(path)["report"].values)


def test_what_is_no_whole_table_is_an_error(tmp_path: Path) -> None:
    """Short rows, a quote that never closes, bytes that are no text, two columns of one name, no file."""
    for rows in ("a,1\nb\n", "a,1,2\n", 'a,"1\n'):
        with pytest.raises(IncompleteDownload):
            table(tmp_path, f"video_title,views\n{rows}").arrow()
    with pytest.raises(SchemaDrift, match="UTF-8"):
        table(tmp_path, b"video_title,views\n\xff,1\n").arrow()
    with pytest.raises(SchemaDrift, match="one name"):
        table(tmp_path, "views,views\n")
    with pytest.raises(StorageError):
        Table.of(tmp_path / "none.csv")


def test_a_report_without_rows_has_its_columns(tmp_path: Path) -> None:
    """A header alone, with or without its line end, is a table of typed columns."""
    for text in ("day,views", "day,views\n", "\ufeffday,views\r\n"):
        read = table(tmp_path, text)
        assert list(read.rows()) == []
        assert (read.arrow().num_rows, read.arrow().schema.types) == (0, [pa.date32(), pa.int64()])
        assert read.polars().shape == (0, 2)
        assert read.pandas().shape == (0, 2)
        assert pq.read_table(read.parquet(tmp_path / "empty.parquet")).schema.names == ["day", "views"]


@pytest.mark.long
def test_a_huge_cell_is_a_cell(tmp_path: Path) -> None:
    """A text larger than Arrow's blocks and than what Python's own reader takes."""
    huge = "x" * (9 << 20)
    read = table(tmp_path, f'video_title,views\n"{huge}",1\nb,2\n')
    assert [len(str(row["video_title"])) for row in read.rows()] == [len(huge), 1]
    assert read.arrow()["views"].to_pylist() == [1, 2]


@pytest.mark.long
def test_rows_and_parquet_take_little_memory(tmp_path: Path) -> None:
    """A file of 40 MB goes through a process that may use 24 MB more than it had with its libraries loaded."""
    path = tmp_path / "report.csv"
    path.write_text("day,video_title,views\n" + f'2026-01-01,"{"t" * 480}",5\n' * 80_000)
    code = (
        "import sys, resource, pyarrow.parquet\n"
        "from reelport.client.results.tables import Table\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "table = Table.of(sys.argv[1]); next(table.rows()); before = most()\n"
        "assert sum(row['views'] for row in table.rows()) == 400_000\n"
        "print(most() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) < 24


@pytest.mark.parametrize(
    ("call", "library", "extra"),
    thin_out([("arrow()", "pyarrow", "arrow"), ("polars()", "polars", "polars"), ("polars()", "pyarrow", "polars"),
     ("pandas()", "pandas", "pandas"), ("parquet('x.parquet')", "pyarrow", "arrow")], 3),
)  # fmt: skip
def test_an_absent_library_is_named_with_its_extra(tmp_path: Path, call: str, library: str, extra: str) -> None:
    """Where a library isn't installed the error says what to install; rows need none."""
    path = table(tmp_path, "day,views\n2026-01-01,5\n").path
    code = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"  # what Python itself takes for 'not there'
        "from reelport.client.results.tables import Table\n"
        "from reelport.errors import UsageError\n"
        f"table = Table.of({str(path)!r})\n"
        "assert len(list(table.rows())) == 1\n"
        f"try: table.{call}\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert f"pip install 'reelport[{extra}]'" in done.stdout
    assert library in done.stdout
