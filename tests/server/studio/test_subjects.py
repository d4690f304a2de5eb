"""Pages of one video, channel or country, and pictures of videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from starlette.testclient import TestClient
from tests.sandboxes import begin_sandbox, sample_channels
from tests.server.studio.conftest import MEMBER, RIVAL, visit_as
from tests.server.studio.test_explore import DAYS
from tests.server.studio.visitor import Visitor, add_user, links, text_of

from reelport.errors import UsageError
from reelport.facts.loading.load import load_arrow
from reelport.server.app import create_app
from reelport.server.settings import read_settings
from reelport.server.studio.pages import find_picture


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
    row = re.search(rf'href="(/studio/{word}/[^"]*)".*?<td[^>]*>([\d,]+)</td>', board, re.DOTALL)
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


HOSTS = "img.example.com, cdn.example.net"
GOOD = (
    "https://img.example.com/a.jpg",
    "https://cdn.example.net/v/1/x80.jpg?w=80&h=45#'top'",
    "https://img.example.com/",
    "https://img.example.com//evil.example/a.jpg",
    "https://img.example.com/%22%3E%3Cscript%3E",
)
BAD = (
    "",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "http://img.example.com/a.jpg",
    "//img.example.com/a.jpg",
    "/studio/sign-out",
    "https:img.example.com/a.jpg",
    "https:/img.example.com/a.jpg",
    "https:///img.example.com/a.jpg",
    "https://img.example.com",
    "https://evil.example/a.jpg",
    "https://evil.example/https://img.example.com/a.jpg",
    "https://evil.example#@img.example.com/",
    "https://img.example.com.evil.example/a.jpg",
    "https://evil-img.example.com/a.jpg",
    "https://a.img.example.com/a.jpg",
    "https://img.example.com./a.jpg",
    "https://img.example.com:443/a.jpg",
    "https://img.example.com:8443/a.jpg",
    "https://img.example.com@evil.example/a.jpg",
    "https://user:word@img.example.com/a.jpg",
    "https://img.example.com\\@evil.example/a.jpg",
    "https://img.example.com\\.evil.example/a.jpg",
    "https://img.example.com/\\evil.example/a.jpg",
    "https://evil.example\\img.example.com/a.jpg",
    "https://\N{LATIN SMALL LETTER DOTLESS I}mg.example.com/a.jpg",
    "https://img.example.com\N{FULLWIDTH SOLIDUS}.evil.example/a.jpg",
    "https://img\N{IDEOGRAPHIC FULL STOP}example\N{IDEOGRAPHIC FULL STOP}com/a.jpg",
    "https://img.example.com\N{ZERO WIDTH SPACE}/a.jpg",
    "https://img.example.com\t/a.jpg",
    " https://img.example.com/a.jpg",
    "https://img.example.com/a.jpg\n",
    "https://img.example.com/a.jpg\n//evil.example",
    'https://img.example.com/"><script>alert(1)</script>',
    'https://img.example.com/" onerror="alert(1)',
    "https://img.example.com/`onerror=alert(1)",
    "https://img.example.com/\0",
    f"https://img.example.com/{'a' * 3000}",
)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Studio over sample facts, whose most watched videos have good and bad addresses."""
    settings = read_settings(
        data=tmp_path_factory.mktemp("pictured") / "data", workers=0, thumbnail_hosts=HOSTS, explore_rows=10**9
    )
    begin_sandbox(settings, tmp_path_factory)
    app = create_app(settings)
    with TestClient(app) as client:
        add_user(app.state.service, MEMBER, "analyst")
        yield client


@pytest.fixture
def member(pictured: TestClient) -> Iterator[Visitor]:
    """A member of the organization `demo`."""
    yield from visit_as(pictured, MEMBER)


def list_videos(page: str) -> list[str]:
    """The ids of the overview's top videos."""
    return [unescape(each) for each in re.findall(r'href="/studio/videos/([^?]*)\?', page)]


def list_sources(page: str) -> list[str]:
    """Whatever a page's images are loaded from; every image has the same attributes."""
    images = re.findall(r"<img\b[^>]*>", page)
    sources = [re.match(r'<img src="([^"]*)" alt="" width="80" height="45" loading="lazy"', each) for each in images]
    assert all('referrerpolicy="no-referrer">' in each for each in images)
    assert None not in sources
    return [unescape(each[1]) for each in sources if each]


def put(client: TestClient, addresses: dict[str, str | None]) -> None:
    """Load these addresses of videos' pictures."""
    root = client.app.state.service.settings.facts_root  # type: ignore[attr-defined]
    owner = sample_channels()["demo"][0]
    rows = [
        {"id": video, "owner_channel_id": owner, "title": f"<{video}>", "thumbnail_url": address}
        for video, address in addresses.items()
    ]
    load_arrow(root, "videos", pa.Table.from_pylist(rows), f"pictures-{hash(tuple(addresses.items()))}")


@pytest.mark.parametrize("address", GOOD)
def test_a_picture_of_an_allowed_host_is_found(address: str) -> None:
    """As its address is written."""
    assert find_picture(address, ("img.example.com", "cdn.example.net")) == address


@pytest.mark.parametrize("address", BAD)
def test_no_other_address_is_a_picture(address: str) -> None:
    """No other host, scheme, port or user; nothing that a browser would read as another address than it looks."""
    assert find_picture(address, ("img.example.com", "cdn.example.net")) is None
    assert find_picture("https://img.example.com/a.jpg", ()) is None


def test_pages_show_the_pictures_that_may_be_loaded(member: Visitor, pictured: TestClient) -> None:
    """Beside titles of the overview, and on a video's page; elsewhere is a place of the same size."""
    page = member.get("/studio/overview").text
    videos = list_videos(page)
    assert len(videos) == 10
    assert list_sources(page) == []
    assert page.count('<span class="thumb">') == 10
    put(pictured, dict(zip(videos, [*GOOD[:2], *BAD[1:5], BAD[-5], None], strict=False)))
    answer = member.get("/studio/overview")
    assert list_sources(answer.text) == list(GOOD[:2])
    assert answer.text.count('<span class="thumb">') == 10
    own, without = (member.get(f"/studio/videos/{video}").text for video in (videos[1], videos[7]))
    assert list_sources(own) == [GOOD[1]]
    assert list_sources(without) == []
    assert without.count('<span class="thumb">') == 1
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["img-src"] == "'self' https://img.example.com https://cdn.example.net"
    assert policy["default-src"] == "'none'"


def test_every_bad_address_leaves_its_place_empty(member: Visitor, pictured: TestClient) -> None:
    """None of it gets into a page, escaped or not."""
    videos = list_videos(member.get("/studio/overview").text)
    loadable = [each for each in BAD if "\0" not in each]
    for begin in range(0, len(loadable), len(videos)):
        tried = loadable[begin : begin + len(videos)]
        put(pictured, dict(zip(videos, tried, strict=False)) | dict.fromkeys(videos[len(tried) :]))
        page = member.get("/studio/overview").text
        assert "<img" not in page
        assert "evil.example" not in page
        assert "alert(1)" not in page


def test_nothing_is_loaded_from_elsewhere_unless_a_host_is_allowed(visitor: Visitor) -> None:
    """By default: no picture, though the sample has addresses, and no host in the policy."""
    answer = visitor.get("/studio/overview")
    (video, *_rest) = list_videos(answer.text)
    for page in (answer, visitor.get(f"/studio/videos/{video}")):
        assert "<img" not in page.text
        assert "img-src 'self';" in page.headers["content-security-policy"]


def test_pages_that_need_no_account_name_no_host(pictured: TestClient) -> None:
    """Whoever is not signed in loads pictures from nowhere."""
    for anybody in (Visitor(pictured),):
        assert "img-src 'self';" in anybody.get("/studio/sign-in").headers["content-security-policy"]
        anybody.client.close()


@pytest.mark.parametrize(
    "hosts",
    [
        "img.example.com; script-src *",
        "*",
        "*.example.com",
        "https://img.example.com",
        "img.example.com:8443",
        "img.example.com/a",
        "img.example.com 'unsafe-inline'",
        "img.example.com\nevil.example",
        "img.example.com,,evil.example",
        "'self'",
        "data:",
        "\N{LATIN SMALL LETTER DOTLESS I}mg.example.com",
    ],
)
def test_a_setting_is_hosts_and_nothing_else(tmp_path: Path, hosts: str) -> None:
    """What could add to the policy, or mean more hosts than it names, is refused with what it takes."""
    with pytest.raises(UsageError, match="hosts with commas between them"):
        read_settings(data=tmp_path, thumbnail_hosts=hosts)
