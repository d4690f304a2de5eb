"""The preview of a report: its rows and totals, its chart in the page and as a file."""

from __future__ import annotations

import re

from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, Visitors
from tests.server.studio.test_reports import finished, newest, waiting

from reelport.charts.drawing import explain_absence

BODY = b"day,views\n2026-01-01,3\n2026-01-02,1204\n2026-01-03,500\n"


def test_a_preview_shows_rows_totals_and_a_chart(people: Api, visitors: Visitors) -> None:
    """All rows of a small file, what they come to, and a figure that needs no style of its own."""
    page = visitors(MEMBER).get(f"/studio/reports/{finished(people, BODY)}")
    assert page.status_code == 200
    assert "<h1><bdi>Views by day" in page.text
    assert '<td class="time" title="2026-01-02"><bdi>2 Jan 2026</bdi>' in page.text
    assert '<figure class="chart" aria-label="Views by day" data-readings=' in page.text
    assert "<h2>Views by day</h2>" in page.text
    assert '<td class="number" title="1204"><bdi>1,204</bdi>' in page.text
    assert ">1,707<" in page.text
    assert "style=" not in page.text


def test_cells_of_a_preview_are_written_as_on_other_pages(people: Api, visitors: Visitors) -> None:
    """Countries and devices have their names, months theirs, each with its text in the file; other texts stay."""
    people.ask(**people.new(), dimensions=["MONTH", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE", "VIDEO_ID"])
    people.finish(b"month,visitor_country,visitor_device_type,video_id,views\n2026-02,FR,mobile,<b>FR</b>,-5\n,,,,\n")
    page = visitors(MEMBER).get(f"/studio/reports/{newest(people)}").text
    row = re.findall(r"<tbody>\s*<tr>(.*?)</tr>", page, re.DOTALL)[0]
    assert re.findall(r"<td class=\"\w+\"(?: title=\"([^\"]*)\")?><bdi>(.*?)</bdi>", row) == [
        ("2026-02", "Feb 2026"),
        ("FR", "France"),
        ("mobile", "Phone"),
        ("", "&lt;b&gt;FR&lt;/b&gt;"),
        ("-5", "\N{MINUS SIGN}5"),
    ]


def test_a_chart_is_a_file_too(people: Api, visitors: Visitors) -> None:
    """As SVG, and as PNG where the extra is there; another kind is not found."""
    visitor, report = visitors(MEMBER), finished(people, BODY)
    svg = visitor.get(f"/studio/reports/{report}/chart.svg")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert re.search(r"filename\*=UTF-8''views-by-[\w-]+\.svg$", svg.headers["content-disposition"])
    assert "highest 1,204 views (2 Jan 2026)" in svg.text
    png = visitor.get(f"/studio/reports/{report}/chart.png")
    assert png.status_code == (200 if explain_absence() is None else 404)
    assert png.content.startswith(b"\x89PNG") == (explain_absence() is None)
    assert visitor.get(f"/studio/reports/{report}/chart.gif").status_code == 404


def test_of_another_organization_there_is_no_preview(people: Api, visitors: Visitors, rival: str) -> None:
    """Its reports are not found; an own one that isn't finished has none yet."""
    for page in ("", "/chart.svg"):
        assert visitors(rival).get(f"/studio/reports/{finished(people, BODY)}{page}").status_code == 404
    member, own = visitors(MEMBER), waiting(people)
    assert 'class="preview"' not in member.get(f"/studio/reports/{own}").text
    answer = member.get(f"/studio/reports/{own}/chart.svg")
    assert answer.status_code == 409
    assert "This report has no file now" in answer.text


def test_a_file_that_is_gone_is_told(people: Api, visitors: Visitors) -> None:
    """With what to do, and no stack trace."""
    report = finished(people, BODY)
    for file in people.service.settings.files_root.glob(f"{report}*"):
        file.unlink()
    page, chart = (visitors(MEMBER).get(f"/studio/reports/{report}{part}") for part in ("", "/chart.svg"))
    assert (page.status_code, chart.status_code) == (200, 409)
    for answer in (page, chart):
        assert "ask for it again" in answer.text
    assert "What was asked" in page.text
