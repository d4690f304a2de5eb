"""Workbooks, read back by another library."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from reelport.errors import UsageError
from reelport.xlsx import MOST_ROWS, write_xlsx

Rows = Sequence[Sequence[str | None]]


def sheet_of(names: Sequence[str], rows: Rows) -> Any:  # noqa: ANN401 - openpyxl has no types
    """The sheet of a workbook with these rows."""
    file = BytesIO()
    write_xlsx(file, names, rows, len(rows))
    return load_workbook(file)["report"]


def values_of(names: Sequence[str], rows: Rows) -> list[list[object]]:
    """The values of all cells below the header."""
    return [[cell.value for cell in row] for row in sheet_of(names, rows).iter_rows(min_row=2)]


def test_cells_have_their_columns_types() -> None:
    """Counts and money are numbers in a format, days, months, hours and minutes are times, a text stays one."""
    names = ["DAY", "MONTH", "HOUR", "MINUTE", "VIDEO_TITLE", "VIEWS", "ESTIMATED_EARNINGS_EUR"]
    row = ["2026-10-31", "2026-10", "2026-10-31T05:00:00Z", "2026-10-31T05:04:00+01:00", "007", "12345", "-0.125000"]
    sheet = sheet_of(names, [row])
    assert [cell.value for cell in sheet[1]] == names
    assert [(cell.value, cell.number_format) for cell in sheet[2]] == [
        (datetime.fromisoformat("2026-10-31"), "yyyy-mm-dd"),
        (datetime.fromisoformat("2026-10-01"), "yyyy-mm"),
        (datetime.fromisoformat("2026-10-31T05:00"), "yyyy-mm-dd hh:mm"),
        (datetime.fromisoformat("2026-10-31T04:04"), "yyyy-mm-dd hh:mm"),
        ("007", "General"),
        (12345, "#,##0"),
        (-0.125, "#,##0.000000"),
    ]
    assert sheet.freeze_panes == "A2"


def test_an_empty_cell_is_empty_and_keeps_its_row() -> None:
    """Rows below one without any value are where they are in the CSV."""
    assert values_of(["VIDEO_TITLE", "VIEWS"], [["a", None], [None, ""], ["", "3"]]) == [
        ["a", None],
        [None, None],
        [None, 3],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740993",
        "1234567890.1234567",
        "1" + "0" * 400,
        "many",
        "2026-13-01",
    ],
)
def test_a_number_that_a_sheet_would_round_stays_a_text(text: str) -> None:
    """So does what is no number: nothing that the CSV has is lost or refused."""
    assert values_of(["VIEWS", "ESTIMATED_EARNINGS_EUR"], [[text, text]]) == [[text, text]]


@pytest.mark.parametrize("text", ["2026-02-30", "1900-02-28", "day one", "9999-12-31T23:30:00-05:00"])
def test_a_day_that_a_sheet_does_not_have_stays_a_text(text: str) -> None:
    """Spreadsheets disagree about days before March 1900."""
    assert values_of(["DAY", "HOUR"], [[text, text]]) == [[text, text]]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**14), max_value=10**14))
def test_money_keeps_each_digit(amount: Decimal) -> None:
    """The number read back is the amount, or the text is."""
    [[found]] = values_of(["ESTIMATED_EARNINGS_EUR"], [[str(amount)]])
    assert Decimal(str(found)) == amount


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "@SUM(A1)",
        "{=A1}",
        "https://example.org/",
        "mailto:a@example.org",
        "<r><t>bold</t></r>",
        "<b>&amp;",
        "_x0041_",
        " blanks ",
        "two\nlines",
        "1e5",
        "Émoji 🎬",
        "a\x00\x1b\r\uffffb",
    ],
)
def test_a_text_is_the_text_that_it_is(text: str) -> None:
    """Never a formula, a link, a number or markup."""
    sheet = sheet_of(["VIDEO_TITLE"], [[text]])
    found = unescape(sheet["A2"].value)  # of what XML can't hold, and of what looks like such an escape
    assert (found, sheet["A2"].data_type, sheet["A2"].hyperlink) == (text, "s", None)


def test_more_rows_than_a_sheet_has_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The sentence has both numbers and what to do."""
    with pytest.raises(UsageError, match=r"1,048,576 rows, and XLSX holds 1,048,575\. Take --format csv or parquet"):
        write_xlsx(tmp_path / "views.xlsx", ["VIEWS"], iter(()), MOST_ROWS + 1)
    assert not list(tmp_path.iterdir())


def test_a_text_that_is_too_long_is_refused_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    """A cell holds 32,767 UTF-16 units; the library would cut it."""
    whole, long = "🎬" * 16_383, "🎬" * 16_384
    write_xlsx(tmp_path / "views.xlsx", ["VIDEO_TITLE"], [[whole]], 1)
    assert load_workbook(tmp_path / "views.xlsx")["report"]["A2"].value == whole
    with pytest.raises(UsageError, match=r"Row 2, column VIDEO_TITLE: the text is longer than the 32,767 characters"):
        write_xlsx(tmp_path / "views.xlsx", ["VIDEO_TITLE"], [["short"], [long]], 2)
    assert [each.name for each in tmp_path.iterdir()] == ["views.xlsx"]


def test_a_disk_that_takes_no_more_is_an_os_error() -> None:
    """Callers translate those into the project's own errors."""
    with pytest.raises(OSError, match="No space left"):
        write_xlsx(Path("/dev/full"), ["VIEWS"], [["1"]], 1)


def test_the_same_rows_give_the_same_bytes() -> None:
    """Nothing of the moment is in the file."""
    files = [BytesIO(), BytesIO()]
    for file in files:
        write_xlsx(file, ["DAY", "VIEWS"], [["2026-10-31", "1"]], 1)
    assert files[0].getvalue() == files[1].getvalue()


def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    """One row is held at a time."""

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            rows = ([f"title {number}", str(number)] for number in range(count))
            write_xlsx(tmp_path / "views.xlsx", ["VIDEO_TITLE", "VIEWS"], rows, count)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is loaded only once
    assert peak(20_000) < peak(2_000) + 200_000
