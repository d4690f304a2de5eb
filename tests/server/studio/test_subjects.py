"""The pages of a video, a channel and a country: a view that is narrowed to it, with the numbers of its report."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient
from tests.server.studio.conftest import RIVAL, visit_as
from tests.server.studio.test_explore import DAYS
from tests.server.studio.visitor import Visitor, links, text_of


def find_total(page: str) -> str:
    """The first total of a page, as a report's file has it."""
    found = re.search(r'<dl class="totals">.*?<span title="(\d+)">', page, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("word", "dimension"),
    [("videos", "VIDEO_ID"), ("channels", "VIDEO_OWNER_CHANNEL_SLUG"), ("countries", "VISITOR_COUNTRY")],
)
def test_a_row_leads_to_the_page_of_what_it_names(visitor: Visitor, word: str, dimension: str) -> None:
    """With the days of the view, and the number that the row has; from there the view itself is one click away."""
    board = visitor.get(f"/studio/explore?metric=VIEWS&by={dimension}&{DAYS}&compare=previous").text
    row = re.search(rf'href="(/studio/{word}/[^"]*)".*?<td class="number"[^>]*>([\d,]+)</td>', board, re.DOTALL)
    assert row is not None
    page = visitor.get(row[1].replace("&amp;", "&"))
    assert page.status_code == 200
    assert find_total(page.text) == row[2].replace(",", "")
    assert "1 to 14 July 2026" in text_of(page.text)
    (view,) = links(page.text, "Show it in the explorer")
    assert find_total(visitor.get(view).text) == find_total(page.text)
    assert parse_qs(urlsplit(view).query)["compare"] == ["previous"]


def test_every_link_of_a_page_stays_on_it(visitor: Visitor) -> None:
    """Its ranges, headings and values lead to the same thing in other days, order and parts."""
    path = "/studio/countries/FR"
    page = visitor.get(f"{path}?{DAYS}").text
    swapped = re.findall(r'<a [^>]*data-swap[^>]*href="([^"]*)"', page)
    assert len(swapped) > 20
    assert {urlsplit(link).path for link in swapped} == {path}
    assert not any("FR" in urlsplit(link).query for link in swapped)
    narrowed = visitor.get(next(link for link in map(unescape, swapped) if "VISITOR_DEVICE_TYPE%3Amobile" in link))
    assert int(find_total(narrowed.text)) < int(find_total(page))


def test_a_video_shows_its_title_and_its_first_days(visitor: Visitor) -> None:
    """Beside what is usual in its channel; a country has no first days."""
    board = visitor.get(f"/studio/explore?metric=VIEWS&by=VIDEO_ID&{DAYS}").text
    link = re.search(r'<a href="(/studio/videos/[^"]*)"><bdi>([^<]*)</bdi>', board)
    assert link is not None
    said = text_of(visitor.get(link[1].replace("&amp;", "&")).text)
    assert f"{link[2]}" in said
    assert re.search(r"Since it was uploaded Uploaded \d+ \w+ 20\d\d", said)
    assert re.search(r"First 24 hours .* First 7 days .* First 28 days", said)
    assert "Since it was uploaded" not in visitor.get(f"/studio/countries/FR?{DAYS}").text


def test_a_thing_of_another_organization_has_no_numbers_and_no_title(visitor: Visitor, app: TestClient) -> None:
    """Its page says the same as that of one that nobody knows."""
    for rival in visit_as(app, RIVAL):
        board = rival.get(f"/studio/explore?metric=VIEWS&by=VIDEO_ID&{DAYS}").text
        found = re.search(r'href="/studio/videos/([^?]*)[^>]*><bdi>([^<]*)<', board)
    assert found is not None
    video, title = found.groups()
    foreign, unknown = (visitor.get(f"/studio/videos/{each}?{DAYS}").text for each in (video, "nowhere"))
    assert title not in foreign
    assert text_of(foreign).replace(video, "nowhere") == text_of(unknown)


@pytest.mark.parametrize(
    "value", ["%3Cscript%3Ealert(1)%3C/script%3E", "caf%C3%A9%20%26%20co", "x%22onload=%22y", "%00"]
)
def test_a_strange_name_is_only_a_name(visitor: Visitor, value: str) -> None:
    """It is text on the page, and no part of its markup."""
    answer = visitor.get(f"/studio/videos/{value}?{DAYS}")
    assert answer.status_code in {200, 404}
    assert "<script>alert" not in answer.text
    assert 'x"onload' not in answer.text


@pytest.mark.parametrize("value", ["%00", "two%0Alines", "a" * 1001])
def test_the_page_of_a_name_that_nothing_has_shows_no_numbers_of_others(visitor: Visitor, value: str) -> None:
    """What no view can be narrowed to is not found: the numbers of all would stand under that name."""
    for word in ("videos", "channels", "countries"):
        assert visitor.get(f"/studio/{word}/{value}?{DAYS}").status_code == 404


def test_an_address_without_days_leads_to_one_with_them(visitor: Visitor) -> None:
    """So that its link shows the same to whoever opens it later."""
    page = visitor.get("/studio/channels/demo-news")
    assert urlsplit(str(page.url)).path == "/studio/channels/demo-news"
    assert "from=2026-07-04&to=2026-07-31" in str(page.url)
