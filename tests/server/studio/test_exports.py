"""What the menus of a page give: the rows that are seen, with exact numbers, in files named for what is in them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from urllib.parse import unquote, urlsplit

import httpx2
import pytest
from babel import Locale
from openpyxl import load_workbook
from starlette.testclient import TestClient
from tests.server.studio.conftest import LAST, MEMBER, RIVAL, Visitors, fetch_report, make_visitors
from tests.server.studio.visitor import Visitor, find_forms

from reelport.catalog import CellType, Dimension
from reelport.cells import Column
from reelport.charts.drawing import explain_absence
from reelport.query import ReportQuery
from reelport.server.settings import Settings
from reelport.server.studio import exports

pytestmark = pytest.mark.long

DAYS = "from=2026-07-01&to=2026-07-14"
COUNTRIES = Locale("en").territories
BOARD = f"metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&by=VISITOR_COUNTRY&by=VIDEO_ID&compare=previous&{DAYS}"


@pytest.fixture
def visitors(app: TestClient) -> Iterator[Visitors]:
    """Makes a browser over the sample facts."""
    yield from make_visitors(app)


def export(visitor: Visitor, asked: str, choice: str, *, follow: bool = True) -> httpx2.Response:
    """What a menu of the page of a view gives: its form is sent by the button of this choice."""
    page = visitor.get(f"/studio/explore?{asked}")
    assert f'<button form="export" name="as" value="{choice}">' in page.text
    form = next(form for form in find_forms(page.text) if form.action == "/studio/explore/export")
    return visitor.get(form.action, params=[*form.fields, ("as", choice)], follow_redirects=follow)


def read_csv(answer: httpx2.Response) -> list[list[str]]:
    """The rows of a CSV for people, its header first."""
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def read_table(page: str, part: str) -> list[list[str]]:
    """The rows of a page's table: what the row is of, then each number in full."""
    table = re.search(rf'<table id="table-{part}">(.*?)</table>', page, re.DOTALL)
    assert table
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</tr>", table[1], re.DOTALL)
    first = [
        unescape(re.findall(r'<(?:data value|time datetime|button form="choose" name="day" value)="([^"]*)"', row)[0])
        for row in rows
    ]
    cells = [re.findall(r'<td(?: title="([^"]*)")?>([^<]*)</td>', row) for row in rows]
    numbers = [[title or text for title, text in row if re.fullmatch(r"-?[\d.]+", title or text)] for row in cells]
    return [[cell, *row] for cell, row in zip(first, numbers, strict=True)]


def name_of(answer: httpx2.Response) -> str:
    """The name that a browser gives the file."""
    return unquote(answer.headers["content-disposition"].partition("filename*=UTF-8''")[2])


@pytest.mark.parametrize("order", ["", "&sort=change", "&rank=ESTIMATED_EARNINGS_EUR&reverse=yes", "&longer=VIDEO_ID"])
def test_a_leaderboard_is_exported_as_it_is_seen(visitors: Visitors, order: str) -> None:
    """Its rows in their order, its numbers in full; titles, shares and what was before stand beside them."""
    visitor = visitors(MEMBER)
    page = visitor.get(f"/studio/explore?{BOARD}{order}").text
    ranked = "estimated_earnings_eur" if "rank=" in order else "views"
    for part, title in (("VISITOR_COUNTRY", ["visitor_country_name"]), ("VIDEO_ID", ["video_title"])):
        header, *rows = read_csv(export(visitor, f"{BOARD}{order}", f"{part}.csv"))
        expected = [part.lower(), *title]
        for name in ("views", "estimated_earnings_eur"):
            expected += [name, *([f"{name}_share"] if name == ranked else []), f"{name}_before", f"{name}_change"]
        assert header == expected
        cells = [dict(zip(header, row, strict=True)) for row in rows]
        seen = read_table(page, part)
        assert len(seen) >= 5
        assert [[row[part.lower()], row["views"], row["estimated_earnings_eur"]] for row in cells] == seen
        if part == "VISITOR_COUNTRY":
            names = [COUNTRIES.get(row[part.lower()], "Unknown") for row in cells]
            assert [row[title[0]] for row in cells] == names
        for row in cells:
            now, before = float(row["views"]), float(row["views_before"] or 0)
            assert row["views_change"] == (f"{(now - before) / before:.6f}" if before else "")


def test_lines_are_exported_beside_the_days_that_they_are_compared_with(visitors: Visitors) -> None:
    """All metrics as the page's table has them, or one as its chart does."""
    visitor = visitors(MEMBER)
    header, *rows = read_csv(export(visitor, BOARD, "lines.csv"))
    of_views = ["views", "views_before"]
    assert header == ["day", "day_before", *of_views, "estimated_earnings_eur", "estimated_earnings_eur_before"]
    assert [row[:2] for row in rows][::13] == [["2026-07-01", "2026-06-17"], ["2026-07-14", "2026-06-30"]]
    seen = read_table(visitor.get(f"/studio/explore?{BOARD}").text, "lines")
    assert [[row[0], *row[2:]] for row in rows] == seen
    alone = read_csv(export(visitor, BOARD, "VIEWS.csv"))
    assert alone == [header[:4], *(row[:4] for row in rows)]


def test_a_workbook_has_the_same_cells_typed(visitors: Visitors) -> None:
    """Days are days and numbers are numbers, to the last digit."""
    visitor = visitors(MEMBER)
    for part in ("lines", "VIDEO_ID"):
        header, *rows = read_csv(export(visitor, BOARD, f"{part}.csv"))
        book = load_workbook(io.BytesIO(export(visitor, BOARD, f"{part}.xlsx").content))
        names, *cells = book.active.iter_rows(values_only=True)
        assert list(names) == header
        for texts, values in zip(rows, cells, strict=True):
            for text, value in zip(texts, values, strict=True):
                match value:
                    case datetime():
                        assert f"{value:%Y-%m-%d}" == text
                    case int() | float():
                        assert float(text) == value
                    case _:
                        assert (value or "") == text
        assert not {name for name, value in zip(header, cells[0], strict=True) if isinstance(value, str)} - {
            "video_id",
            "video_title",
        }


def test_each_line_is_a_file_to_keep_too(visitors: Visitors) -> None:
    """With what it shows in words, days and filters, and the days that it is compared with; another metric has none."""
    visitor = visitors(MEMBER)
    filters = "channelSlug=demo-news&only=VISITOR_COUNTRY:FR"
    asked = f"metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&{DAYS}&compare=previous&{filters}"
    answer = export(visitor, asked, "ESTIMATED_EARNINGS_EUR.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    named = "filename*=UTF-8''estimated-earnings-EUR-by-day".lower()
    assert named in answer.headers["content-disposition"].lower()
    for words in (
        "Estimated earnings (EUR) by day",
        "1 to 14 July 2026 (UTC)",
        "Your channel: demo-news",
        "Country: France",
        "Days before",
    ):
        assert f">{words}" in answer.text
    png = export(visitor, asked, "ESTIMATED_EARNINGS_EUR.png")
    assert png.content.startswith(b"\x89PNG") == (explain_absence() is None)
    for other in ("TIME_WATCHED_SECONDS.svg", "VIEWS.gif", "views.svg", "VISITOR_COUNTRY.svg", "lines.csv.svg", ""):
        address = f"/studio/explore/export?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}&as={other}"
        assert visitor.get(address).status_code == 404


def test_a_file_is_named_for_the_part_and_its_filters(visitors: Visitors) -> None:
    """What a view keeps by a cell alone stands in the name, too."""
    asked = f"metric=VIEWS&by=VIDEO_ID&videoOwnerChannelSlug=demo-news&only=VISITOR_COUNTRY:FR&{DAYS}"
    for choice, stem in (
        ("VIDEO_ID.csv", "views-by-video"),
        ("VIEWS.xlsx", "views-by-day"),
        ("lines.csv", "views-by-day"),
    ):
        ending = choice.rpartition(".")[2]
        named = name_of(export(visitors(MEMBER), asked, choice))
        assert named == f"{stem}_demo-news_fr_2026-07-01_2026-07-14.{ending}"


def test_a_part_is_asked_for_as_a_report_with_its_titles(visitors: Visitors) -> None:
    """The page that would ask for it has the part's columns alone; a program of it is one step further."""
    visitor = visitors(MEMBER)
    for choice, fragment in (("report", ""), ("curl", "curl"), ("python", "python")):
        answer = export(visitor, BOARD, f"VIDEO_ID.{choice}", follow=False)
        address = urlsplit(answer.headers["location"])
        assert (answer.status_code, address.path, address.fragment) == (303, "/studio/reports/new", fragment)
        page = visitor.get(answer.headers["location"]).text
        assert "Views and estimated earnings (EUR) by video and video title, 1 to 14 July 2026" in unescape(page)
        assert not fragment or f'<section class="snippet" id="{fragment}">' in page
        assert 'role="alert"' not in page


@pytest.mark.parametrize(
    ("dimensions", "days"),
    [(("DAY",), 14), (("DAY", "VISITOR_COUNTRY"), 14), (("DAY", "VIDEO_ID", "VIDEO_TITLE"), 28), (("VIDEO_ID",), 3)],
)
def test_the_size_of_a_report_is_told_before_it_is_asked_for(
    visitors: Visitors, sampled: Settings, dimensions: tuple[str, ...], days: int
) -> None:
    """About as many rows and bytes as its file has: within a third, of other channels none."""
    query = ReportQuery.of(["VIEWS", "TIME_WATCHED_SECONDS"], dimensions, LAST - timedelta(days - 1), LAST)
    rows = fetch_report(sampled, query)
    size = len(format_csv(rows))
    columns = "".join(f"&column={name}" for name in (*dimensions, *query.metrics))
    page = visitors(MEMBER).get(f"/studio/reports/new?from={query.start}&to={query.end}{columns}").text
    told = re.search(r'<p id="size">About ([\d,]+) rows, ([\d.]+) (bytes|kB) as CSV\.</p>', page)
    assert told
    assert int(told[1].replace(",", "")) == pytest.approx(len(rows), rel=0.34)
    assert float(told[2]) * {"bytes": 1, "kB": 1000}[told[3]] == pytest.approx(size, rel=0.34)


def test_a_report_without_rows_or_dimensions_is_told_too(visitors: Visitors) -> None:
    """A total is one row; days before the first facts have none."""
    visitor, days = visitors(MEMBER), "from=2025-01-01&to=2025-01-03"
    assert '<p id="size">One row.</p>' in visitor.get(f"/studio/reports/new?{DAYS}&column=VIEWS").text
    page = visitor.get(f"/studio/reports/new?{days}&column=VIEWS&column=DAY").text
    assert '<p id="size">The days that were looked at have no rows.</p>' in page


def format_csv(rows: list[tuple[object, ...]]) -> str:
    """The rows as a report's file has them, without their header."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def test_another_organization_exports_its_own_rows(visitors: Visitors) -> None:
    """The address of a table carries no rights: who follows it gets the rows of the own channels."""
    own = read_csv(export(visitors(MEMBER), BOARD, "VIDEO_ID.csv"))
    others = read_csv(export(visitors(RIVAL), BOARD, "VIDEO_ID.csv"))
    assert not {row[0] for row in own[1:]} & {row[0] for row in others[1:]}


@pytest.mark.parametrize(
    "choice", ["", "VIDEO_ID", "VIDEO_TITLE.csv", "VIEWS.gif", "VIDEO_ID.png", "../x.csv", "lines.svg"]
)
def test_what_a_page_does_not_show_is_not_exported(visitors: Visitors, choice: str) -> None:
    """A part or a form that no menu has is not found."""
    assert visitors(MEMBER).get(f"/studio/explore/export?{BOARD}", params={"as": choice}).status_code == 404


@pytest.mark.parametrize("wrong", ["metric=VIEWZ", "metric=VIEWS&by=VIDEO", "metric=VIEWS&from=2026-07-99"])
@pytest.mark.parametrize("form", ["csv", "svg"])
def test_a_view_with_a_mistake_is_not_exported_as_another(visitors: Visitors, wrong: str, form: str) -> None:
    """A page says what it shows instead; a file could not."""
    answer = visitors(MEMBER).get(f"/studio/explore/export?{wrong}&as=VIEWS.{form}")
    assert (answer.status_code, "There is no" in answer.text) == (422, True)


def test_no_cell_of_an_export_is_a_formula() -> None:
    """A title that begins like one gets an apostrophe in the CSV; quotes, commas and line ends stay in their cell."""
    titles = ['=HYPERLINK("http://x")', "@a", "a\r\nb", 'say "so", é', "-5"]
    column = Column(Dimension.VIDEO_TITLE.header, CellType.TEXT)
    content = exports.write_csv([(column, titles)]).decode("utf-8-sig")
    assert [row[0] for row in csv.reader(io.StringIO(content, newline=""))][1:] == [
        '\'=HYPERLINK("http://x")',
        "'@a",
        "a\r\nb",
        'say "so", é',
        "-5",
    ]
