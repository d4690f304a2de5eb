"""The form that asks for a report, and the preview of a finished one."""

from __future__ import annotations

import json
import re
import shlex
from datetime import date, timedelta
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors
from tests.server.studio.test_reports import finished, newest, waiting

from reelport.charts.drawing import explain_absence
from reelport.query import ReportQuery
from reelport.server.access import audit_log
from reelport.server.access.roles import Reach
from reelport.server.reports import report_list
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.server.studio import report_form

VIEW = "metric=VIEWS&by=VIDEO_ID&from=2026-07-01&to=2026-07-04&channelSlug=demo-news"
FORM = "/studio/reports"


def query_of(api: Api, report_id: str) -> ReportQuery:
    """What a report asks for, by the state."""
    with reading(api.service.db) as connection:
        text = connection.execute(select(REPORTS.c.query).where(REPORTS.c.id == report_id)).scalar_one()
    return ReportQuery.from_wire(json.loads(text))


def test_a_view_is_said_in_words_and_asked_for_as_said(people: Api, visitors: Visitors) -> None:
    """The report is that of the view, by Studio's key; it says who asked, and so does the log."""
    visitor = visitors(MEMBER)
    page = visitor.get(f"{FORM}/new?{VIEW}")
    assert "Views by day, video and video title for demo-news, 1 to 4 July 2026" in page.text
    answer = visitor.send(page, FORM, follow=False)
    report_id = answer.headers["location"].removeprefix(f"{FORM}/")
    assert query_of(people, report_id).to_wire() == {
        "metrics": ["VIEWS"],
        "dimensions": ["DAY", "VIDEO_ID", "VIDEO_TITLE"],
        "startDate": "2026-07-01",
        "endDate": "2026-07-04",
        "product": "CONTENT",
        "filters": {"channelSlug": "demo-news"},
    }
    entry = audit_log.list_actions(people.service.db)[0]
    assert (entry.actor.name, entry.action, entry.subject) == (MEMBER, "asked for a report", report_id)
    assert MEMBER in visitor.get(f"{FORM}/{report_id}").text
    again = visitors(OWNER).send(page, FORM, follow=False)
    assert again.status_code == 403  # a form of somebody else's session
    people.finish(b"day,video_id,views\n")


def test_the_columns_of_a_report_are_chosen(people: Api, visitors: Visitors) -> None:
    """Some of the view's, others that go with them, in the order of the form; days that change keep them."""
    visitor = visitors(MEMBER)
    page = visitor.get(f"{FORM}/new?{VIEW}")
    offered = re.findall(r'name="column" value="(\w+)"( checked)?', page.text.partition(f'action="{FORM}"')[0])
    chosen = [name for name, checked in offered if checked]
    assert chosen == ["DAY", "VIDEO_ID", "VIDEO_TITLE", "VIEWS"]
    assert {"VISITOR_COUNTRY", "TIME_WATCHED_SECONDS"} <= {name for name, _ in offered}
    assert "STORAGE" not in {name for name, _ in offered}
    columns = "&".join(f"column={name}" for name in ("none", "VIDEO_TITLE", "VISITOR_COUNTRY", "VIEWS"))
    page = visitor.get(f"{FORM}/new?{VIEW}&{columns}".replace("from=2026-07-01", "from=2026-07-02"))
    asked = visitor.send(page, FORM, follow=False).headers["location"].removeprefix(f"{FORM}/")
    query = query_of(people, asked)
    assert (query.dimensions, query.metrics) == (("VIDEO_TITLE", "VISITOR_COUNTRY"), ("VIEWS",))
    assert query.start == date(2026, 7, 2)
    people.finish(b"video_title,visitor_country,views\n")
    totals = visitor.get(f"{FORM}/new?report={asked}&column=none&column=VIEWS")
    assert "Views in all" in totals.text


@pytest.mark.parametrize("columns", ["column=none", "column=VIEWZ", "column=none&column=VIEWS&column=OUTCOME"])
def test_columns_that_make_no_report_are_refused_with_a_sentence(visitors: Visitors, columns: str) -> None:
    """No number, an unknown name, what doesn't go together: the page says so, and offers no ask."""
    page = visitors(MEMBER).get(f"{FORM}/new?{VIEW}&{columns}")
    assert page.status_code == 200
    assert 'role="alert"' in page.text
    assert "Ask for the report" not in page.text


def test_a_column_that_the_view_is_narrowed_by_stays(visitors: Visitors) -> None:
    """Without it nobody could tell which rows of the file are those of the view."""
    page = visitors(MEMBER).get(f"{FORM}/new?{VIEW}&only=VISITOR_COUNTRY:FR&column=none&column=VIEWS")
    assert re.search(r'value="VISITOR_COUNTRY" checked disabled', page.text)
    assert "Views by country for demo-news" in page.text


def test_every_problem_of_a_view_is_told_and_nothing_is_asked(people: Api, visitors: Visitors) -> None:
    """The page tells all of them at once and shows the mended question; a form that holds them is refused."""
    visitor = visitors(MEMBER)
    page = visitor.get(f"{FORM}/new?metric=VIEWZ&by=VIDEO_IDD&from=2026-07-04&to=nonsense")
    told = unescape(page.text)
    for sentence in ("VIEWZ", "VIDEO_IDD", "nonsense"):
        assert sentence in told
    before = report_list.count_by_filter(people.service.db, Reach(1), people.service_now())
    sent = visitor.send(page, FORM, metric="VIEWZ", follow=False)
    assert sent.status_code == 422
    assert "VIEWZ" in sent.text
    assert report_list.count_by_filter(people.service.db, Reach(1), people.service_now()) == before


def test_a_report_is_asked_for_again_with_other_days(people: Api, visitors: Visitors) -> None:
    """Of any report, a key's too: as many days up to the last complete day, or those that were chosen."""
    people.ask(metrics=["VIEWS"], dimensions=[], startDate="2025-03-01", endDate="2025-03-05")
    people.finish(b"views\n1\n")
    with reading(people.service.db) as connection:
        wanted = select(REPORTS.c.id).order_by(REPORTS.c.created_at.desc()).limit(1)
        earlier = connection.execute(wanted).scalar_one()
    visitor = visitors(MEMBER)
    page = visitor.get(f"{FORM}/new?report={earlier}")
    yesterday = people.service_now().date() - timedelta(days=1)
    assert f'value="{yesterday}"' in page.text
    assert f'value="{yesterday - timedelta(days=4)}"' in page.text
    page = visitor.get(f"{FORM}/new?report={earlier}&from=2025-04-01&to=2025-04-02")
    assert "Views in all, 1 to 2 April 2025" in page.text
    asked = visitor.send(page, FORM, follow=False).headers["location"].removeprefix(f"{FORM}/")
    assert query_of(people, asked).to_wire() == {
        "metrics": ["VIEWS"],
        "dimensions": [],
        "startDate": "2025-04-01",
        "endDate": "2025-04-02",
        "product": "CONTENT",
    }
    people.finish(b"views\n1\n")
    wrong = visitor.get(f"{FORM}/new?report={earlier}&from=x&to=2999-01-01")
    assert "&#39;x&#39; is no day" in wrong.text
    assert "Ask for the report" not in wrong.text


def test_a_foreign_report_is_not_asked_for_again(people: Api, visitors: Visitors, rival: str) -> None:
    """What another organization asked isn't shown, and its id is unknown."""
    people.ask(**people.new())
    people.finish(b"views\n1\n")
    with reading(people.service.db) as connection:
        earlier = connection.execute(select(REPORTS.c.id).limit(1)).scalar_one()
    visitor = visitors(rival)
    assert visitor.get(f"{FORM}/new?report={earlier}").status_code == 404
    page = visitor.get(f"{FORM}/new")
    assert visitor.send(page, FORM, report=earlier).status_code == 404


def test_the_programs_hold_no_secret(visitors: Visitors) -> None:
    """They take key and secret from the environment, and say the address that the browser used."""
    page = unescape(visitors(MEMBER).get(f"{FORM}/new?{VIEW}").text)
    assert "rps_" not in page
    assert "rpk_" not in page
    assert page.count("http://127.0.0.1:8642") == 3
    assert page.count("REELPORT_API_SECRET") == 2


def test_no_program_holds_what_a_terminal_takes_for_a_key() -> None:
    """A link may put any text into a filter: pasted, an interrupt would end the quotes, and the next line would run."""
    filters = {"channelSlug": "a\x03\necho run\n\x1b[201~\u202e"}
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 7, 1), date(2026, 7, 4), filters)
    command, python, curl = report_form.write_programs(query, "https://reports.example").values()
    for program in (curl, python, command):
        assert program.replace("\n", "").isprintable()
        assert "\necho run" not in program
    assert "cannot be typed into a terminal" in command


@given(st.text(min_size=1, max_size=30))
def test_a_value_stays_a_value_in_every_program(value: str) -> None:
    """No text of a filter ends its quotes, whatever quotes, dollar signs, line ends or marks it holds."""
    value = value.encode("utf-8", "replace").decode()
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 7, 1), date(2026, 7, 4), {"channelSlug": value})
    command, python, curl = report_form.write_programs(query, "https://reports.example").values()
    assert f"channelSlug={value}" in shlex.split(command) or not value.isprintable()
    line = next(line for line in curl.splitlines() if "mutation" in line)
    assert json.loads(line)["variables"]["input"]["filters"] == {"channelSlug": value}
    found: dict[str, object] = {}
    calls = re.sub(r"(?s)with Client.*", "", python)
    exec(compile(calls, "snippet", "exec"), found)  # noqa: S102 - our own program
    assert found["query"] == query


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
