"""A report without a path is a table, and a pandas frame that is used as people use one."""

from __future__ import annotations

import asyncio
import gc
import math
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import thin_out
from tests.patience import run_child

from reelport import AsyncClient, Client, ReelportError, ReportQuery, Table, UsageError
from reelport.catalog import Dimension, Metric
from reelport.errors import SchemaDrift
from reelport.testing import Vendor

HEADER = "day,hour,month,video_title,views,live_viewers,estimated_earnings_eur,view_through_rate\n"
ROWS = (
    "2026-01-01,2026-01-01T03:00:00Z,2026-01,Cats,5,,0.300000,50.00\n"
    "2026-01-05,2026-01-05T23:00:00Z,2026-01,Dogs,10,7,0.100000,\n"
    "2026-02-01,,,,4,8,0.200000,12.50\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "report.csv"
    path.write_text(HEADER + ROWS)
    return Table.of(path)


@pytest.fixture
def df(table: Table) -> pd.DataFrame:
    return table.pandas()


def test_the_types_are_numpys(df: pd.DataFrame) -> None:
    """Times are datetime64, counts int64 or, where a cell is empty, Int64, money and rates float64, texts texts."""
    assert df.dtypes.astype(str).to_dict() == {
        "day": "datetime64[us]",
        "hour": "datetime64[us]",
        "month": "datetime64[us]",
        "video_title": "str",
        "views": "int64",
        "live_viewers": "Int64",
        "estimated_earnings_eur": "float64",
        "view_through_rate": "float64",
    }
    assert df.hour[1] == pd.Timestamp("2026-01-05T23:00:00")
    assert df.month[1] == pd.Timestamp("2026-01-01")
    assert [df[name].isna().tolist() for name in ("hour", "month", "video_title")] == [[False, False, True]] * 3
    assert df.live_viewers.isna().tolist() == [True, False, False]
    assert df.view_through_rate.isna().tolist() == [False, True, False]


def test_every_column_of_the_catalog_is_an_attribute() -> None:
    """No name of a metric or dimension needs brackets: each is a name in Python, and none is a frame's own."""
    names = [row.header for row in (*Metric, *Dimension)]
    assert not [name for name in names if not name.isidentifier() or hasattr(pd.DataFrame, name)]


def test_a_vendors_own_names_are_at_hand(tmp_path: Path) -> None:
    """Columns are attributes in lower case, whatever the file writes; its own names can be put on the frame."""
    path = tmp_path / "report.csv"
    path.write_bytes(b"\xef\xbb\xbfDay,VIEWS,Net Revenue\r\n2026-01-01,5,1.5\r\n")
    read = Table.of(path)
    assert read.pandas().views.tolist() == [5]
    assert read.pandas().set_axis(list(read.header), axis=1)["Net Revenue"].tolist() == ["1.5"]
    assert read.header == ("Day", "VIEWS", "Net Revenue")


def test_money_by_views_is_a_number_a_row(df: pd.DataFrame) -> None:
    """A ratio of two columns, also where the count has an empty cell."""
    assert (df.estimated_earnings_eur / df.views).round(4).tolist() == [0.06, 0.01, 0.05]
    ratio = df.estimated_earnings_eur / df.live_viewers
    assert ratio.isna().tolist() == [True, False, False]
    assert math.isclose(ratio[2], 0.025)


def test_days_are_summed_by_week(df: pd.DataFrame) -> None:
    """A frame under its days resamples, texts left out."""
    weeks = df.set_index("day").resample("W")[["views", "live_viewers", "estimated_earnings_eur"]].sum()
    assert weeks.views.tolist() == [5, 10, 0, 0, 4]
    assert df.drop(columns=["hour", "month", "video_title"]).set_index("day").resample("W").sum().views.sum() == 19


def test_a_report_of_days_and_numbers_is_summed_by_week_whole(tmp_path: Path) -> None:
    """`df.set_index("day").resample("W").sum()`, with nothing to drop first."""
    path = tmp_path / "report.csv"
    path.write_text("day,views,estimated_earnings_eur\n2026-01-01,5,0.25\n2026-01-02,6,0.5\n2026-01-05,1,\n")
    weeks = Table.of(path).pandas().set_index("day").resample("W").sum()
    assert [tuple(row) for row in weeks.itertuples(index=False)] == [(11, 0.75), (1, 0.0)]


def test_times_become_periods(df: pd.DataFrame) -> None:
    """`.dt.to_period("M")` of days, hours and months, without a warning."""
    for name in ("day", "hour", "month"):
        assert [str(each) for each in df[name].dt.to_period("M")][:2] == ["2026-01", "2026-01"]
    assert df.groupby(df.day.dt.to_period("M")).views.sum().tolist() == [15, 4]


def test_frames_are_merged_with_others(df: pd.DataFrame) -> None:
    """By day, by hour and by text, with frames that were made by hand."""
    days = pd.DataFrame({"day": pd.to_datetime(["2026-01-05", "2026-02-01"]), "campaign": ["a", "b"]})
    assert df.merge(days, on="day").campaign.tolist() == ["a", "b"]
    assert df.merge(days.assign(day=days.day + pd.Timedelta(hours=23)), left_on="hour", right_on="day").shape[0] == 1
    titles = pd.DataFrame({"video_title": ["Cats", "Dogs"], "genre": ["x", "y"]})
    assert df.merge(titles, on="video_title", how="left").genre.tolist()[:2] == ["x", "y"]
    assert pd.concat([df, df]).dtypes.equals(df.dtypes)


def test_numbers_are_plotted(df: pd.DataFrame, tmp_path: Path) -> None:
    """Lines over days and bars by title, of counts with empty cells too."""
    axes = df.plot(x="day", y=["views", "estimated_earnings_eur", "live_viewers"])
    assert [line.get_label() for line in axes.get_lines()] == [
        "views",
        "estimated_earnings_eur",
        "live_viewers",
    ]
    axes.figure.savefig(tmp_path / "lines.png")
    bars = df.groupby("video_title").views.sum().plot.bar()
    bars.figure.savefig(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000


def test_exact_money_is_decimal_and_the_rest_is_the_same(table: Table, df: pd.DataFrame) -> None:
    """Sums to the last digit, divisible and resampled like floats; every other column is as it is without."""
    exact = table.pandas(exact=True)
    money = ["estimated_earnings_eur", "view_through_rate"]
    assert exact.drop(columns=money).equals(df.drop(columns=money))
    assert df.estimated_earnings_eur.sum() != 0.6  # what floats come to
    assert exact.estimated_earnings_eur.sum() == Decimal("0.600000")
    assert exact.groupby("month").estimated_earnings_eur.sum().tolist() == [Decimal("0.400000")]
    assert (exact.estimated_earnings_eur / exact.views).tolist() == [Decimal("0.06"), Decimal("0.01"), Decimal("0.05")]
    assert exact.set_index("day").estimated_earnings_eur.resample("W").sum().sum() == Decimal("0.600000")
    assert exact.view_through_rate.tolist() == [Decimal("50.00"), None, Decimal("12.50")]


MONEY = st.none() | st.decimals(-(10**20), 10**20, places=6, allow_nan=False, allow_infinity=False)


@given(cells=st.lists(MONEY, max_size=40))
def test_a_float_is_the_nearest_to_the_decimal(tmp_path_factory: pytest.TempPathFactory, cells: list[Any]) -> None:
    """As Python's own `float` of each, to the last bit."""
    path = tmp_path_factory.mktemp("t") / "report.csv"
    lines = ["day,estimated_earnings_usd", *(f"2026-01-01,{'' if each is None else each:}" for each in cells)]
    path.write_text("\n".join(lines) + "\n")
    wanted = [math.nan if each is None else float(each) for each in cells]
    assert [repr(each) for each in Table.of(path).pandas().estimated_earnings_usd.tolist()] == list(map(repr, wanted))


def test_numbers_that_int64_cannot_hold_are_floats_or_exact(tmp_path: Path) -> None:
    """A vendor's fraction or huge number among counts: a float by default, every digit with `exact`."""
    path = tmp_path / "report.csv"
    path.write_text("day,views,uploads\n2026-01-01,12.5,99999999999999999999\n2026-01-02,,\n")
    read = Table.of(path)
    assert read.pandas().dtypes.astype(str).tolist()[1:] == ["float64", "float64"]
    assert read.pandas(exact=True).views.tolist() == [Decimal("12.5"), None]
    assert int(read.pandas(exact=True).uploads[0]) == 99999999999999999999


def test_months_are_read_as_other_vendors_write_them(tmp_path: Path) -> None:
    """The first day of a month stands for it as well; what is no month is refused, or left as it is on request."""
    path = tmp_path / "report.csv"
    path.write_text('month,views\n2026-01-01,1\n 2026-02 ,2\n"",3\n')
    months = Table.of(path).pandas().month
    assert months.tolist()[:2] == [pd.Timestamp(date(2026, 1, 1)), pd.Timestamp(date(2026, 2, 1))]
    assert months.isna().tolist() == [False, False, True]
    path.write_text("month,views\n2026-01,1\n2026-13,2\n")
    with pytest.raises(SchemaDrift, match="month: '2026-13' is no month"):
        Table.of(path).pandas()
    assert Table.of(path, text="month").pandas().month.tolist() == ["2026-01", "2026-13"]


def test_a_frame_without_rows_has_the_same_types(tmp_path: Path) -> None:
    """Times, counts, money and texts of a header alone."""
    path = tmp_path / "report.csv"
    path.write_text(HEADER)
    types = Table.of(path).pandas().dtypes.astype(str).tolist()
    assert types == [*["datetime64[us]"] * 3, "str", "int64", "int64", "float64", "float64"]


QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 4))
DAYS = [date(2026, 11, number) for number in (1, 2, 3, 4)]
Step = Callable[[Client], Table]
AsyncStep = Callable[[AsyncClient], Awaitable[Table]]


def as_table(client: Client) -> Table:
    return client.reports.run(QUERY)


def as_table_of_windows(client: Client) -> Table:
    return client.with_options(windows=2).reports.run_range(QUERY)


def as_table_of_report(client: Client) -> Table:
    return client.reports.submit(QUERY).wait().download()


async def awaited(client: AsyncClient) -> Table:
    return await client.reports.run(QUERY)


async def awaited_of_windows(client: AsyncClient) -> Table:
    return await client.with_options(windows=2).reports.run_range(QUERY)


async def awaited_of_report(client: AsyncClient) -> Table:
    report = await client.reports.submit(QUERY)
    return await (await report.wait()).download()


def blocking(step: Step) -> Callable[[Vendor, Path], Table]:
    def go(vendor: Vendor, home: Path) -> Table:
        with Client(vendor.url, vendor.key, vendor.secret, ledger=home / "ledger.db") as client:
            return step(client)

    return go


def awaiting(step: AsyncStep) -> Callable[[Vendor, Path], Table]:
    def go(vendor: Vendor, home: Path) -> Table:
        async def run() -> Table:
            async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=home / "ledger.db") as client:
                return await step(client)

        return asyncio.run(run())

    return go


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The folder of temporary files, which holds no others."""
    folder, before = tmp_path / "temporary", tempfile.tempdir
    folder.mkdir()
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


EACH = [
    *map(blocking, (as_table, as_table_of_windows, as_table_of_report)),
    *map(awaiting, (awaited, awaited_of_windows, awaited_of_report)),
]


@pytest.mark.parametrize("fetch", thin_out(EACH, 3))
def test_a_report_without_a_path_is_a_table(
    fetch: Callable[[Vendor, Path], Table], vendor: Vendor, tmp_path: Path, temporary: Path
) -> None:
    """Its rows can be read after the client was closed, as often as wanted; with the table its file is gone."""
    table = fetch(vendor, tmp_path)
    assert [row["day"] for row in table.rows()] == DAYS
    text = table.as_text("day")
    rows = text.tuples()
    del table
    gc.collect()
    assert next(rows)[0] == "2026-11-01"
    assert text.arrow().num_rows == 4
    del text, rows
    gc.collect()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("fetch", thin_out(EACH, 3))
def test_a_failure_leaves_no_temporary_file(
    fetch: Callable[[Vendor, Path], Table], vendor: Vendor, tmp_path: Path, temporary: Path
) -> None:
    """What was begun is gone before the error is seen."""
    vendor.csv = lambda _: b"day,clicks\n2026-11-01,1\n"
    with pytest.raises(ReelportError) as caught:
        fetch(vendor, tmp_path)
    assert "clicks" in str(caught.value)
    assert list(temporary.iterdir()) == []


def test_windows_that_are_kept_apart_need_a_folder(client: Client, vendor: Vendor) -> None:
    """They are files of their own, and nothing is asked for without a place for them."""
    with pytest.raises(UsageError, match="name the folder"):
        client.reports.run_range(QUERY, keep_windows=True)  # type: ignore[call-overload]  # what is refused
    assert not vendor.asks


def test_a_fork_does_not_take_the_file_away() -> None:
    """A process that was forked off ends without removing what its parent still reads."""
    program = (
        "import os, sys\n"
        "from reelport.client.reports import Scratch\n"
        "print('ready', flush=True)\n"
        "scratch = Scratch()\n"
        "if not os.fork(): sys.exit()\n"
        "os.wait()\n"
        "print(scratch.folder.is_dir(), scratch.folder)\n"
    )
    there, folder = run_child(program).split()
    assert there == "True"
    assert not Path(folder).exists()
