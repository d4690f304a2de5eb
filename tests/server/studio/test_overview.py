"""The overview: numbers first, equal to the report's, up to the last complete day."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from babel import Locale
from starlette.testclient import TestClient
from tests import quick_users
from tests.fact_rows import make_plays
from tests.sandboxes import START, begin_sandbox, sample_channels
from tests.server.api import Api
from tests.server.studio.conftest import LAST, MEMBER, OWNER, Visitors, fetch_report, visit_as
from tests.server.studio.visitor import PASSWORD, FoundForm, Visitor, add_user, find_forms, links, text_of

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import label_value
from reelport.facts.loading.load import load_arrow
from reelport.query import ReportQuery
from reelport.server.access import keys, organizations
from reelport.server.access.keys import KeyDetails
from reelport.server.app import create_app
from reelport.server.http.service import Service
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected

AUDIENCE = (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS, Metric.AVERAGE_WATCH_TIME_SEC)
EARNED = Metric.ESTIMATED_EARNINGS_EUR
COUNTRIES = Locale("en").territories
RANGES = {
    "?range=7": (LAST - timedelta(6), LAST),
    "": (LAST - timedelta(27), LAST),
    "?range=90": (LAST - timedelta(89), LAST),
    "?range=365": (LAST - timedelta(364), LAST),
    "?range=last-week": (date(2026, 7, 20), date(2026, 7, 26)),
    "?range=this-month": (date(2026, 7, 1), LAST),
    "?range=last-month": (date(2026, 7, 1), LAST),
    "?range=lifetime": (START, LAST),
    "?from=2026-07-20&to=2026-07-06": (date(2026, 7, 6), date(2026, 7, 20)),
    "?from=2026-07-20&to=2026-12-24": (date(2026, 7, 20), LAST),
    "?range=7&channel=demo-news": (LAST - timedelta(6), LAST),
}


@pytest.fixture
def visit(visitor: Visitor) -> Callable[[str], str]:
    """The overview at these parameters, as a member sees it."""
    return lambda query: visitor.get(f"/studio/overview{query}").text


def begin_copy(folder: Path, temporary: pytest.TempPathFactory) -> Settings:
    """Sample facts that a test may change, and a member."""
    settings = read_settings(data=folder / "data", workers=0)
    begin_sandbox(settings, temporary)
    with connected(settings) as db:
        quick_users.add_user(db, "demo", MEMBER, "analyst", PASSWORD, datetime.now(UTC))
    return settings


def open_page(settings: Settings, email: str = MEMBER) -> str:
    """The page of an app of its own over these settings."""
    app = create_app(settings)
    with TestClient(app) as client:
        visitor = Visitor(client)
        visitor.sign_in(email, follow=False)
        page = visitor.get("/studio/overview")
        visitor.client.close()
        assert page.status_code == 200
        return page.text


def ask(
    settings: Settings, metrics: tuple[Metric, ...], days: tuple[date, date], by: tuple[Dimension, ...], channel: str
) -> list[tuple[Any, ...]]:
    """The rows of the report of these metrics, for the organization `demo`."""
    filters = {"videoOwnerChannelSlug": channel} if channel else {}
    names = [each.name for each in metrics], [each.name for each in by]
    return fetch_report(settings, ReportQuery.of(*names, *days, filters))


def find_cards(page: str) -> dict[str, str]:
    """The exact number of each card, by its metric."""
    found = re.findall(r'id="card-(\w+)".*?class="amount" title="([^"]*)"', page, re.DOTALL)
    return dict(found)


def find_lists(page: str) -> dict[str, dict[str, str]]:
    """The exact first number of each row of each list, by what the row names."""
    found = {}
    for section in re.findall(r"<section.*?</section>", page, re.DOTALL)[1:]:
        heading = text_of(re.findall(r"<h2.*?</h2>", section)[0]).strip()
        pattern = r"<bdi>(.*?)</bdi>(?:</a>)?(?: <small>(.*?)</small>)?.*?title=\"([^\"]*)\""
        found[heading] = {
            unescape(cell or name): number for name, cell, number in re.findall(pattern, section, re.DOTALL)
        }
    return found


def test_the_first_page_after_signing_in_is_the_overview(app: TestClient) -> None:
    """It shows the last 28 complete days, never today, and no form comes before a number."""
    visitor = Visitor(app)
    page = visitor.sign_in(MEMBER)
    visitor.client.close()
    assert page.url.path == "/studio/overview"
    said = text_of(page.text)
    assert "4 to 31 July 2026, compared with 6 June to 3 July 2026" in said
    assert "Complete to 31 July 2026" in said


@pytest.mark.parametrize("query", RANGES)
def test_numbers_are_those_of_the_report(visit: Callable[[str], str], sampled: Settings, query: str) -> None:
    """Of the same days and channel: the cards are its totals, the lists its first rows by views."""
    days, channel = RANGES[query], "demo-news" if "channel" in query else ""
    page = visit(query)
    totals = (*ask(sampled, AUDIENCE, days, (), channel)[0], *ask(sampled, (EARNED,), days, (), channel)[0])
    assert find_cards(page) == {
        metric.name: str(cell) for metric, cell in zip((*AUDIENCE, EARNED), totals, strict=True)
    }
    lists = find_lists(page)
    for heading, by in (("Top videos", Dimension.VIDEO_ID), ("Country", Dimension.VISITOR_COUNTRY)):
        found = ask(sampled, AUDIENCE[:1], days, (by,), channel)
        rows = {COUNTRIES.get(cell, cell or "Unknown"): str(views) for cell, views in found}
        assert lists[heading].items() <= rows.items()
        least = min(int(number) for number in lists[heading].values())
        assert len(lists[heading]) == min(10, len(rows))
        assert sum(int(number) > least for number in rows.values()) < 10


def test_lists_are_of_the_chosen_group_of_metrics(visit: Callable[[str], str], sampled: Settings) -> None:
    """Where the chart shows earnings, the lists do, too."""
    lists = find_lists(visit(f"?range=7&metric={EARNED.name}"))
    for heading, by in (("Top videos", Dimension.VIDEO_ID), ("Country", Dimension.VISITOR_COUNTRY)):
        found = ask(sampled, (EARNED,), RANGES["?range=7"], (by,), "")
        rows = {COUNTRIES.get(cell, cell or "Unknown"): Decimal(earned) for cell, earned in found}
        shown = {name: Decimal(earned) for name, earned in lists[heading].items()}
        assert shown.items() <= rows.items()
        assert sorted(shown.values()) == sorted(rows.values())[-10:]


def test_a_change_is_told_only_between_complete_days(visit: Callable[[str], str], sampled: Settings) -> None:
    """It is that of the report's totals. Where facts began later than the days before, none is told."""
    days = RANGES[""]
    before = (days[0] - timedelta(28), days[0] - timedelta(1))
    (now,), (then,) = (ask(sampled, AUDIENCE[:1], span, (), "")[0] for span in (days, before))
    change = f"{abs(now - then) / then * 100:,.1f}"
    assert change in text_of(re.findall(r'id="card-VIEWS".*?</a>', visit(""), re.DOTALL)[0])
    for query in ("?range=90", "?range=365", "?range=lifetime"):
        page = visit(query)
        assert "compared with" not in text_of(page)
        assert 'class="change' not in page


def test_a_range_goes_on_as_a_range_in_the_explorer(visit: Callable[[str], str]) -> None:
    """A view that is saved there moves on; days that were typed, and months, stay."""
    assert "range=last-week" in links(visit("?range=last-week"), "See more")[0]
    assert "range=" not in links(visit("?from=2026-07-01&to=2026-07-31"), "See more")[0]


def test_a_single_day_is_compared_with_the_same_weekday_before(visit: Callable[[str], str]) -> None:
    """By video, country and device: a Tuesday is no Monday."""
    page = visit("?from=2026-07-14&to=2026-07-14")
    assert "14 July 2026, compared with 7 July 2026" in text_of(page)
    lists = [part for part in page.split("<section")[1:] if "table-videos" in part or "ranking" in part]
    assert [part.count('class="change') > 2 for part in lists] == [True] * 3


def test_videos_and_countries_lead_to_their_own_pages(app: TestClient) -> None:
    """With the days of the overview."""
    visitor = Visitor(app)
    page = visitor.sign_in(MEMBER).text
    for path in ("videos", "countries"):
        address = unescape(re.findall(rf'href="(/studio/{path}/[^"]*)"', page)[0])
        assert "from=2026-07-04&to=2026-07-31" in address
        assert visitor.get(address).status_code == 200
    visitor.client.close()


def test_two_clicks_show_a_month(visit: Callable[[str], str]) -> None:
    """Below Custom; the newest ends with the last complete day."""
    page = visit("?metric=VIEWS")
    for text in ("/studio/overview?from=2026-07-01&to=2026-07-31&metric=VIEWS", ">Jul 2026</a>"):
        assert text in unescape(page)
    assert "1 to 31 July 2026" in text_of(visit("?from=2026-07-01&to=2026-07-31"))


def test_a_months_earnings_by_country_are_a_workbook_in_three_clicks(visitor: Visitor) -> None:
    """The last month beside the ranges, the card of earnings, and the button at the heading of the countries."""
    ranges = visitor.get("/studio/overview").text.partition("<details")[0]
    (month,) = links(ranges, "Last month")
    (card,) = [each for each in links(visitor.get(month).text, "earnings") if "ESTIMATED" in each]
    page = visitor.get(card).text
    assert '<button class="quiet off-paper" form="export-lists" name="as" value="VISITOR_COUNTRY.xlsx"' in page
    (_chart, lists) = (form for form in find_forms(page) if form.action == "/studio/explore/export")
    answer = visitor.get(lists.action, params=[*lists.fields, ("as", "VISITOR_COUNTRY.xlsx")])
    assert answer.content.startswith(b"PK")
    name = answer.headers["content-disposition"]
    assert "estimated-earnings" in name
    assert "2026-07-01_2026-07-31" in name


def test_a_card_chooses_what_the_chart_shows(visit: Callable[[str], str]) -> None:
    """By a link that keeps days and channel; the chart is compared with the days before."""
    page = visit("?range=7&channel=demo-news")
    (address,) = [each for each in links(page, "earnings") if "ESTIMATED" in each]
    assert set(address.partition("?")[2].split("&")) == {"range=7", "channel=demo-news", f"metric={EARNED.name}"}
    chosen = visit(f"?{address.partition('?')[2]}")
    assert re.findall(r'id="card-(\w+)"[^>]*aria-current', chosen) == [EARNED.name]
    assert "<h2>Estimated earnings (EUR) by day</h2>" in chosen
    assert "Days before" in chosen


@pytest.mark.parametrize("query", ["", "?range=90", "?range=7&channel=demo-news&metric=ESTIMATED_EARNINGS_EUR"])
def test_each_part_has_a_menu_that_gives_what_it_shows(visitor: Visitor, query: str) -> None:
    """The rows of its lists in their order, the line of its chart; changes only where the page tells some."""
    page = visitor.get(f"/studio/overview{query}").text
    charted, listed = (form for form in find_forms(page) if form.action == "/studio/explore/export")

    def export(form: FoundForm, choice: str) -> list[list[str]]:
        assert f'name="as" value="{choice}"' in page
        answer = visitor.get(form.action, params=[*form.fields, ("as", choice)])
        return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))

    lists, metric = find_lists(page), "ESTIMATED_EARNINGS_EUR" if "metric" in query else "VIEWS"
    headings = {"VIDEO_ID": "Top videos", "VISITOR_COUNTRY": "Country", "VISITOR_DEVICE_TYPE": "Device"}
    for part, heading in headings.items():
        header, *rows = export(listed, f"{part}.csv")
        first = header.index(metric.lower())
        cells = [COUNTRIES.get(row[0]) or label_value(Dimension[part], row[0]) or "Unknown" for row in rows]
        assert dict(zip(cells, (row[first] for row in rows), strict=True)) == lists[heading]
        assert (f"{metric.lower()}_change" in header) == ("compared with" in text_of(page))
    header, *days = export(charted, f"{metric}.csv")
    total = sum(Decimal(row[header.index(metric.lower())] or 0) for row in days)
    assert total == Decimal(find_cards(page)[metric])
    assert f'value="{metric}.svg"' in page
    address = visitor.get(listed.action, params=[*listed.fields, ("as", "VIDEO_ID.report")]).text
    assert "Top videos" not in address
    assert re.search(r'name="column" value="VIDEO_TITLE" checked', address)


def test_what_an_address_asks_for_in_vain_counts_for_nothing(visit: Callable[[str], str]) -> None:
    """Neither unknown words nor the channel of another organization: the page is the one without them."""
    plain = find_cards(visit(""))
    for query in (
        "?range=9",
        "?channel=rival-sport",
        "?metric=NO_ADS",
        "?from=2026-07-01",
        "?from=x&to=y",
        "?metric=x",
    ):
        page = visit(query)
        assert find_cards(page) == plain
        assert re.findall(r'id="card-(\w+)"[^>]*aria-current', page) == ["VIEWS"]


def pin_view(visitor: Visitor, name: str, query: str) -> None:
    """Save a view, and pin it to the overview."""
    page = visitor.send(visitor.get(f"/studio/explore?{query}"), "/studio/saved", name=name)
    (action,) = (form.action for form in find_forms(page.text) if form.action.endswith("/place"))
    assert visitor.send(page, action, pinned="yes").status_code == 200


def find_pins(page: str) -> dict[str, tuple[str, str]]:
    """The exact number of each pinned view, and its change as it is told, by the view's name."""
    (section,) = re.findall(r'id="pinned">.*?</section>', page, re.DOTALL)
    pattern = r"<li><a [^>]*><bdi>(.*?)</bdi></a>(?:<div class=\"pin\">.*?<strong title=\"([^\"]*)\">(.*?)</div>)?"
    return {
        name: (number, "".join(re.findall(r'class="change[^"]*">([^<]*)<', rest)))
        for name, number, rest in re.findall(pattern, section, re.DOTALL)
    }


@pytest.mark.parametrize(
    ("query", "metric", "days", "before"),
    [
        ("metric=VIEWS&metric=AVERAGE_WATCH_TIME_SEC&by=VIDEO_ID&{}", Metric.VIEWS, 14, 14),
        ("metric=VIEWS&rank=AVERAGE_WATCH_TIME_SEC&metric=AVERAGE_WATCH_TIME_SEC&{}", AUDIENCE[2], 14, 14),
        ("metric=ESTIMATED_EARNINGS_EUR&by=none&compare=weekdays&{}", EARNED, 10, 14),
        ("metric=VIEWS&by=none&compare=year&{}", Metric.VIEWS, 10, 0),
    ],
)
def test_a_pinned_view_tells_its_number(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, query: str, metric: Metric, days: int, before: int
) -> None:
    """The total of the metric that it is ranked by, as the report's, and its change where all days are complete."""
    copy = begin_copy(tmp_path, tmp_path_factory)
    span = LAST - timedelta(days - 1), LAST
    with TestClient(create_app(copy)) as client:
        for visitor in visit_as(client, MEMBER):
            pin_view(visitor, "Kept", query.format(f"from={span[0]}&to={span[1]}"))
            pins = find_pins(visitor.get("/studio/overview").text)
    ((total,),) = ask(copy, (metric,), span, (), "")
    change = ""
    if before:
        ((then,),) = ask(copy, (metric,), (span[0] - timedelta(before), LAST - timedelta(before)), (), "")
        change = f"{'-' if total < then else '+'}{abs(total - then) / then * 100:,.1f}%"
    assert pins == {"Kept": (str(total), change.replace("-", "\N{MINUS SIGN}"))}
    # All pins may together read as much as a view: what costs more is named, and has no number.
    assert find_pins(open_page(read_settings(data=copy.data, workers=0, explore_rows=5))) == {"Kept": ("", "")}


def test_what_is_new_stands_beside_the_numbers(people: Api, visitors: Visitors) -> None:
    """Finished reports for everybody, keys that expire soon for those who may change them."""
    details = KeyDetails("Ending", "3")
    keys.create_key(
        people.service.db, people.service.service_secret, "demo", ["read_reports"], datetime.now(UTC), details=details
    )
    people.finished()
    owner, member = (text_of(visitors(each).get("/studio/overview").text) for each in (OWNER, MEMBER))
    assert "A report is ready Views by day" in owner
    assert "The key Ending expires" in owner
    assert "A report is ready" in member
    assert "expires" not in member


def test_days_that_were_restated_lately_are_told(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Those that were over for longer: a day that is loaded for the first time is no news."""
    rows = make_plays([(datetime(2026, 7, 25, 12, tzinfo=UTC), 7)], owner_channel_id=sample_channels()["demo"][0])
    copy = begin_copy(tmp_path, tmp_path_factory)
    assert "Restated" not in text_of(open_page(copy))
    load_arrow(copy.facts_root, "plays", rows, "restated", replace=(date(2026, 7, 25), date(2026, 7, 25)))
    assert "Restated in the last 7 days: 25 July 2026" in text_of(open_page(copy))


def test_an_organization_without_channels_is_told_so(sampled: Settings, app: TestClient) -> None:
    """Its cards are empty, and nothing is anybody else's."""
    service: Service = app.app.state.service  # type: ignore[attr-defined]
    organizations.add_organization(service.db, "empty", datetime.now(UTC))
    add_user(service, "eve@empty.example", "analyst", "empty")
    said = text_of(open_page(sampled, "eve@empty.example"))
    assert "empty may read no channel yet" in said
    assert "Top videos" not in said


def test_a_service_without_facts_says_that_no_day_is_complete(tmp_path: Path) -> None:
    """Nothing is drawn, and no range is offered."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    app = create_app(settings)
    with TestClient(app):
        organizations.add_organization(app.state.service.db, "demo", datetime.now(UTC))
        add_user(app.state.service, MEMBER, "analyst")
    page = open_page(settings)
    assert "demo may read no channel yet" in text_of(page)
    assert "Nothing yet." in text_of(page)
    assert "28 days" not in page
    assert "<svg" not in page


def test_without_facts_of_earnings_there_is_no_card_of_them(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The other cards stand alone."""
    copy = begin_copy(tmp_path, tmp_path_factory)
    rmtree(copy.facts_root / "earnings")
    (copy.facts_root / "_tables" / "earnings").unlink()
    assert set(find_cards(open_page(copy))) == {metric.name for metric in AUDIENCE}


def test_what_costs_too_much_is_left_out_and_said(sampled: Settings) -> None:
    """No part of a number is shown as the whole."""
    page = open_page(read_settings(data=sampled.data, workers=0, explore_rows=5))
    assert "Part of this page costs more than a page may." in text_of(page)
    assert not find_cards(page)


def test_the_page_is_small(app: TestClient) -> None:
    """Under 100 KB with all that a browser fetches with it, as it comes over the line."""
    visitor = Visitor(app)
    page = visitor.sign_in(MEMBER)
    assets = [visitor.get(unescape(each)) for each in re.findall(r'"(/studio/static/[^"]*)"', page.text)]
    visitor.client.close()
    assert len(assets) >= 4
    assert len(page.content) + sum(int(each.headers["content-length"]) for each in assets) < 100_000
