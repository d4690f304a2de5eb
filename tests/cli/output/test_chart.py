"""Charts in the terminal and in files; lists for people and programs; formats that can't hold every report."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from tests.cases import thin_out
from tests.charts.test_time_axis import TEXTS
from tests.disks import small_disk

from reelport.charts.chart_types import BarChart, Chart, LineChart
from reelport.charts.report_chart import make_label
from reelport.cli.output.chart import cut_to_width, plan_chart
from reelport.cli.output.delivery import Delivery, Format, refuse_early
from reelport.client.events import Event, Looked
from reelport.errors import StorageError, UsageError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails, State
from reelport.xlsx import MOST_ROWS

START = date(2026, 1, 1)


def ask(metrics: str, dimensions: str) -> ReportQuery:
    return ReportQuery.of(metrics.split(), dimensions.split(), START, date(2026, 6, 1))


def report(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "report.csv"
    path.write_text(text, encoding="utf-8")
    return path


def fitted(query: ReportQuery, tmp_path: Path, rows: Iterable[Sequence[object]], most: int) -> BarChart:
    """What a terminal of so many lines shows of a report of these rows."""
    chart = plan_chart(query, None)
    return chart.fit(chart.groups(written(query, tmp_path, rows)), most)


def picture(query: ReportQuery, tmp_path: Path, rows: Iterable[Sequence[object]]) -> Chart:
    """What a picture shows of a report of these rows."""
    chart = plan_chart(query, None)
    return chart.plan.draw(chart.groups(written(query, tmp_path, rows)))


def lines_of(query: ReportQuery, tmp_path: Path, rows: Iterable[Sequence[object]]) -> dict[str, object]:
    """The numbers by time of a picture of these rows."""
    shown = picture(query, tmp_path, rows)
    assert isinstance(shown, LineChart)
    return dict(zip(shown.times, shown.series[0].values, strict=True))


def bars_of(shown: Chart) -> list[tuple[str, object]]:
    """The bars of a chart, each with its number."""
    assert isinstance(shown, BarChart)
    return [(bar.label, bar.value) for bar in shown.bars]


def written(query: ReportQuery, tmp_path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """A report of a query with these rows."""
    with (tmp_path / "report.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[name.lower() for name in (*query.dimensions, *query.metrics)], *rows])
    return tmp_path / "report.csv"


def drawn(query: ReportQuery, path: Path, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=(path.parent / "terminal").open("w", encoding="utf-8"))
    plan_chart(query, None).draw(path, console)
    console.file.close()
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_days_are_bars_in_order_of_time(tmp_path: Path) -> None:
    """Rows of one day are added up; the longest bar is the largest day."""
    path = report(tmp_path, "day,video_title,views\n2026-01-02,a,5\n2026-01-01,b,20\n2026-01-01,c,20\n")
    title, first, second = drawn(ask("VIEWS", "DAY VIDEO_TITLE"), path)
    assert title == "Views by day"
    assert (first[:10], first.split()[-1]) == ("2026-01-01", "40")
    assert (second[:10], second.split()[-1]) == ("2026-01-02", "5")
    assert first.count("█") == pytest.approx(8 * second.count("█"), abs=8)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_names_are_the_largest_first_and_cut_to_the_terminal(tmp_path: Path, width: int) -> None:
    """Long titles, line ends in them, emoji and right-to-left text fit any width; the heading says what is left out."""
    titles = ['"two\nlines"', "🎬 " * 60, "أخبار اليوم", "", "今日" * 60, *(f"title {n}" for n in range(1404))]
    rows = [f"{title},{10000 - n}" for n, title in enumerate(titles)]
    lines = drawn(ask("VIEWS", "VIDEO_TITLE"), report(tmp_path, "\n".join(["video_title,views", *rows])), width)
    said = " ".join(lines)
    assert said.startswith("Top 20 of 1,409: views by video title")
    assert "two lines" in said
    assert "Unknown" in said
    assert {cell_len(line) for line in lines[-20:]} == {width}, "every number ends at the last column"
    assert re.search("\u2068.{11}\u2069", said), "right-to-left text is isolated from its bar and number"


def test_many_days_are_added_up_by_month_where_they_add_up(tmp_path: Path) -> None:
    """Half a year of views is months; of a rate whose parts weren't asked for, the last days, as they are."""
    days = [START + timedelta(days=n) for n in range(100)]
    path = report(tmp_path, "\n".join(["day,views,view_through_rate", *(f"{day},1,50.00" for day in days)]))
    title, *lines = drawn(ask("VIEWS", "DAY"), path)
    assert title == "Views by month"
    assert [(line[:7], line.split()[-1]) for line in lines] == [
        ("2026-01", "31"),
        ("2026-02", "28"),
        ("2026-03", "31"),
        ("2026-04", "10"),
    ]
    rate = drawn(ask("VIEW_THROUGH_RATE", "DAY"), path)
    assert rate[0] == "View-through rate by day, the last 62 of 100"
    assert len(rate) == 63


def test_a_rate_is_computed_anew_from_its_parts_and_never_averaged(tmp_path: Path) -> None:
    """The fill rate of two months is impressions by opportunities, rounded half up, where both are in the report."""
    days = [START + timedelta(days=n) for n in range(90)]
    rows = [(day, "0.9999", 1 if day.month < 3 else 0, 10 * day.day) for day in days]
    query = ask("FILL_RATE NB_IMPRESSION SELLABLE_INVENTORY", "DAY")
    assert bars_of(fitted(query, tmp_path, rows, 62)) == [
        ("2026-01", Decimal("0.0063")),  # 31 / 4960
        ("2026-02", Decimal("0.0069")),  # 28 / 4060
        ("2026-03", Decimal("0.0000")),
    ]
    assert set(lines_of(query, tmp_path, rows).values()) == {Decimal("0.9999")}, "days are as they are"


def test_what_has_nothing_to_divide_by_has_no_number(tmp_path: Path) -> None:
    """An empty cell of a rate is a gap and no 0, and comes last among names."""
    bars = picture(ask("FILL_RATE", "VIDEO_ID"), tmp_path, [("x1", ""), ("x2", "0.0000"), ("x3", "0.5000")])
    assert [(label, value is None) for label, value in bars_of(bars)] == [("x3", False), ("x2", False), ("x1", True)]
    lines = drawn(ask("FILL_RATE", "VIDEO_ID"), tmp_path / "report.csv")
    assert lines[-1].split() == ["x1", "-"]


def test_a_picture_of_three_years_is_by_month(tmp_path: Path) -> None:
    """1,096 days are 37 months that add up to the same; notes say whose numbers, and which months are cut."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2023, 7, 15), date(2026, 7, 14), {}, "EMBED")
    days = [query.start + timedelta(days=n) for n in range(1096)]
    shown = picture(query, tmp_path, [(day, day.day) for day in days])
    assert isinstance(shown, LineChart)
    assert (shown.heading, len(shown.times)) == ("Views by month", 37)
    assert sum(value or 0 for value in shown.series[0].values) == sum(day.day for day in days)
    assert shown.notes == (
        "15 July 2023 to 14 July 2026 (UTC), what your channels' players and pages showed",
        "Of Jul 2023 and Jul 2026 only a part is shown.",
    )


def test_times_without_rows_are_gaps_in_a_picture(tmp_path: Path) -> None:
    """Three days of three years are three months of 36, and not three points side by side."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2023, 1, 1), date(2025, 12, 31))
    shown = lines_of(query, tmp_path, [("2023-02-03", 5), ("2024-08-01", 9), ("2025-12-30", 4)])
    assert {time: value for time, value in shown.items() if value} == {"2023-02": 5, "2024-08": 9, "2025-12": 4}
    assert len(shown) == 35


@pytest.mark.parametrize("metric", ["STORAGE_USED_BYTES", "VIEW_THROUGH_RATE"])
def test_of_what_does_not_add_up_over_time_a_picture_shows_the_last_days(tmp_path: Path, metric: str) -> None:
    """A stock, and a rate without its parts, over two years: as many days as can be told apart, and it says so."""
    query = ReportQuery.of([metric], ["DAY"], date(2024, 1, 1), date(2025, 12, 31))
    rows = [(query.start + timedelta(days=n), n) for n in range(731)]
    assert picture(query, tmp_path, rows).heading.endswith(" by day, the last 400 of 731")
    shown = lines_of(query, tmp_path, rows)
    assert (len(shown), list(shown.items())[-1]) == (400, ("2025-12-31", Decimal(730)))


def test_names_that_read_alike_are_bars_of_their_own(tmp_path: Path) -> None:
    """What is cut may leave two labels equal: they keep their rows."""
    rows = [("x" * 80 + "1", 2), ("x" * 80 + "2", 1)]
    query = ReportQuery.of(["VIEWS"], ["VIDEO_TITLE"], START, START, {"visitorDomainGroup": "x"}, "ALL")
    shown = picture(query, tmp_path, rows)
    assert [value for _, value in bars_of(shown)] == [2, 1]
    assert shown.notes == ("1 January 2026 (UTC), what your channels own, showed or claimed", "Domain group: x")


def test_an_empty_report_has_nothing_to_draw(tmp_path: Path) -> None:
    """A header alone is no error."""
    assert drawn(ask("VIEWS", "DAY"), report(tmp_path, "day,views\n")) == ["The report has no rows to draw."]


@pytest.mark.parametrize(
    ("query", "to"),
    [
        (ask("VIEW_THROUGH_RATE VIEWS", "DAY VIDEO_TITLE"), None),
        (ask("LIVE_VIEWERS", "DAY CHANNEL_SLUG"), None),
        (ask("VIEWS", "DAY CONTENT_TAG"), None),
        (ask("BRAND_NEW", "DAY VIDEO_ID"), None),
        (ask("VIEWS", ""), None),
        (ask("VIEWS", "DAY"), "views.gif"),
    ],
)
def test_what_would_be_a_wrong_picture_is_refused(query: ReportQuery, to: str | None) -> None:
    """Sums of what doesn't add up are never drawn, and this is said before anything is asked for."""
    with pytest.raises(UsageError, match="--chart"):
        plan_chart(query, to)


@pytest.mark.parametrize(("name", "begins"), thin_out([("views.png", b"\x89PNG"), ("views.SVG", b"<svg")], 4))
@pytest.mark.parametrize("dimension", ["DAY", "VIDEO_TITLE", "MONTH", "HOUR"])
def test_pictures_are_files(tmp_path: Path, name: str, begins: bytes, dimension: str) -> None:
    """PNG and SVG are drawn without a network, for time and for names, with rows and without, and are never empty."""
    for rows in ("", "2026-01,5\n2026-02,7\n"):
        path = report(tmp_path, f"{dimension.lower()},views\n{rows}")
        plan_chart(ask("VIEWS", dimension), str(tmp_path / name)).draw(path, Console(quiet=True))
        content = (tmp_path / name).read_bytes()
        assert content.startswith(begins)
        assert len(content) > 1000


def test_a_picture_of_no_rows_says_so(tmp_path: Path) -> None:
    """Not empty axes."""
    for metric, rows, said in (
        ("VIEWS", "", "The report has no rows to draw."),
        ("FILL_RATE", "2026-01-01,\n", "There is no number to draw."),
    ):
        path = report(tmp_path, f"day,{metric.lower()}\n{rows}")
        plan_chart(ask(metric, "DAY"), str(tmp_path / "none.svg")).draw(path, Console(quiet=True))
        assert f">{said}</text>" in (tmp_path / "none.svg").read_text(encoding="utf-8")


def test_reports_of_another_shape_are_refused(tmp_path: Path) -> None:
    """A vendor that splits a report further than it was asked to, or gives other columns, isn't drawn wrong."""
    with pytest.raises(UsageError, match="--chart: there are several rows of '2026-01-01'"):
        picture(ask("LIVE_VIEWERS", "DAY"), tmp_path, [("2026-01-01", 1), ("2026-01-01", 2)])
    with pytest.raises(UsageError, match="no number"):
        picture(ask("BRAND_NEW", "DAY"), tmp_path, [("2026-01-01", "n/a")])
    (tmp_path / "report.csv").write_text("day,other\n2026-01-01,1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no column views, but day, other"):
        plan_chart(ask("VIEWS", "DAY"), None).groups(tmp_path / "report.csv")


def test_a_full_disk_leaves_the_chart_that_was_there(tmp_path: Path) -> None:
    """The new picture takes the old one's place whole, or not at all."""
    query = ask("VIEWS", "DAY")
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "chart.png").write_bytes(b"old")
        (disk / "filler").write_bytes(b"x" * 56_000)
        with pytest.raises(StorageError, match=r"chart\.png can't be written"):
            plan_chart(query, str(disk / "chart.png")).draw(written(query, tmp_path, [("2026-01-01", 5)]), Console())
        assert (disk / "chart.png").read_bytes() == b"old"
        assert sorted(path.name for path in disk.iterdir()) == ["chart.png", "filler"]


def test_an_svg_needs_no_extra(tmp_path: Path) -> None:
    """The library that renders PNG isn't even loaded."""
    path = report(tmp_path, "day,views\n2026-01-01,5\n")
    code = (
        "import sys; from datetime import date; from pathlib import Path; from rich.console import Console\n"
        "from reelport.cli.output.chart import plan_chart; from reelport.query import ReportQuery\n"
        "query = ReportQuery.of(['VIEWS'], ['DAY'], date(2026, 1, 1), date(2026, 1, 1))\n"
        "plan_chart(query, sys.argv[2]).draw(Path(sys.argv[1]), Console(quiet=True))\n"
        "print('resvg_py' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(path), str(tmp_path / "chart.svg")]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "False\n"
    assert (tmp_path / "chart.svg").read_bytes().startswith(b"<svg")


@given(TEXTS, st.integers(2, 40))
def test_no_label_is_wider_than_it_may_be(text: str, width: int) -> None:
    """Columns of a terminal are counted; what is left is the label's beginning."""
    label = make_label(text)
    short = cut_to_width(label, width)
    assert cell_len(short) <= width
    assert cut_to_width(short, width) == short
    if short != label:
        assert label.startswith(short.removesuffix("…"))


_NASTY = "a\x1b[2J\x9b31m\u202eb"
_PRINT = """
from reelport.cli.output.listing import print_fields, print_json, print_list
nasty = {nasty!r}
print_fields({{"token": nasty}}, as_json=False)
print_list([{{"token": nasty}}], as_json=False)
print_json({{"token": nasty}})
"""


def _run(stdout: int) -> None:
    command = [sys.executable, "-c", _PRINT.format(nasty=_NASTY)]
    subprocess.run(command, stdout=stdout, check=True, timeout=300, env={**os.environ, "TERM": "dumb"})


def test_a_terminal_gets_no_control_characters_and_a_pipe_all() -> None:
    """A text of a vendor can't steer the terminal of who looks at it; a program reads it as it is."""
    master, slave = os.openpty()
    _run(slave)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert not set(shown) & {"\x1b", "\x9b", "\u202e"}
    assert "a [2J 31m b" in shown
    reader, writer = os.pipe()
    _run(writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        fields, _, listed, *parts = pipe.read().splitlines()
    assert fields == f"token  {_NASTY}"
    assert listed == _NASTY
    assert json.loads("".join(parts)) == {"token": _NASTY}


def look(state: State, rows: int | None) -> Looked:
    return Looked("R-1", "IN_PROGRESS", 1.0, 0.0, ReportDetails("R-1", state, rows=rows))


def test_a_report_that_outgrows_a_workbook_is_refused_while_it_is_made() -> None:
    """Nobody waits an hour for rows that have no place; what is known of the report is shown before that."""
    told: list[Event] = []
    tell = refuse_early(Delivery(output="views.xlsx"), told.append)
    fits = [Looked("R-1", "IN_PROGRESS", 1.0, 0.0), look(State.QUEUED, None), look(State.RUNNING, MOST_ROWS)]
    for event in fits:
        tell(event)
    with pytest.raises(UsageError, match=r"The report has 1,048,576 rows so far, and XLSX holds 1,048,575\. Take"):
        tell(look(State.RUNNING, MOST_ROWS + 1))
    with pytest.raises(UsageError, match=r"The report has 1,048,576 rows, and XLSX holds"):
        tell(look(State.FINISHED, MOST_ROWS + 1))
    assert told == [*fits, look(State.RUNNING, MOST_ROWS + 1), look(State.FINISHED, MOST_ROWS + 1)]


def test_no_other_format_is_refused_for_its_rows() -> None:
    """They hold any number."""
    told: list[Event] = []
    for to in (Delivery(output="views.parquet"), Delivery(output="views.xlsx.csv"), Delivery(form=Format.NDJSON)):
        refuse_early(to, told.append)(look(State.RUNNING, MOST_ROWS + 1))
    assert len(told) == 3
