"""Bar charts of reports: what is drawn, what is refused, and that nothing is made up."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from reelport.cli.charts import chart_of, number, words
from reelport.errors import UsageError
from reelport.query import ReportQuery

START = date(2026, 1, 1)


def ask(metrics: str, dimensions: str) -> ReportQuery:
    return ReportQuery.of(metrics.split(), dimensions.split(), START, date(2026, 6, 1))


def report(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "report.csv"
    path.write_text(text, encoding="utf-8")
    return path


def drawn(query: ReportQuery, path: Path, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=(path.parent / "terminal").open("w", encoding="utf-8"))
    chart_of(query, None).draw(path, console)
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
    """Long titles, line ends in them, emoji and right-to-left text fit any width; the title says what is left out."""
    titles = ['"two\nlines"', "🎬 " * 60, "أخبار اليوم", "", *(f"title {n}" for n in range(40))]
    rows = [f"{title},{1000 - n}" for n, title in enumerate(titles)]
    lines = drawn(ask("VIEWS", "VIDEO_TITLE"), report(tmp_path, "\n".join(["video_title,views", *rows])), width)
    assert all(len(line) <= width for line in lines)
    assert "the first 20 of 44" in " ".join(lines)
    assert "two lines" in " ".join(lines)
    assert "(empty)" in " ".join(lines)


def test_many_days_are_shown_by_month_where_they_add_up(tmp_path: Path) -> None:
    """Half a year of views is six bars; of a rate, which doesn't add up, the last days."""
    days = [START + timedelta(days=n) for n in range(100)]
    path = report(tmp_path, "\n".join(["day,views,view_through_rate", *(f"{day},1,50.00" for day in days)]))
    assert [line[:7] for line in drawn(ask("VIEWS", "DAY"), path)[1:]] == ["2026-01", "2026-02", "2026-03", "2026-04"]
    rate = drawn(ask("VIEW_THROUGH_RATE", "DAY"), path)
    assert rate[0] == "View through rate by day, the last 62 of 100"
    assert len(rate) == 63


def test_an_empty_report_has_nothing_to_draw(tmp_path: Path) -> None:
    """A header alone is no error."""
    assert drawn(ask("VIEWS", "DAY"), report(tmp_path, "day,views\n")) == ["The report has no rows to draw."]


@pytest.mark.parametrize(
    ("query", "to"),
    [
        (ask("VIEW_THROUGH_RATE", "DAY VIDEO_TITLE"), None),
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
        chart_of(query, to)


@pytest.mark.parametrize(("name", "begins"), [("views.png", b"\x89PNG"), ("views.SVG", b"<svg")])
@pytest.mark.parametrize("dimension", ["DAY", "VIDEO_TITLE", "MONTH", "HOUR"])
def test_pictures_are_files(tmp_path: Path, name: str, begins: bytes, dimension: str) -> None:
    """PNG and SVG are drawn without a network, for time and for names, with rows and without."""
    for rows in ("", "2026-01,5\n2026-02,7\n"):
        path = report(tmp_path, f"{dimension.lower()},views\n{rows}")
        chart_of(ask("VIEWS", dimension), str(tmp_path / name)).draw(path, Console(quiet=True))
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_numbers_and_names_read_well() -> None:
    """Thousands are set apart, small numbers keep two digits, names are words."""
    assert [number(value) for value in (0, 7, 1234567, 0.4, 1234.5)] == ["0", "7", "1,234,567", "0.40", "1,234"]
    assert words("ESTIMATED_EARNINGS_EUR") == "Estimated earnings EUR"
