"""What the explorer offers, and that a browser that goes away takes its view along."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import anyio
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message
from tests.server.explore.endless import ENDLESS, endless_data
from tests.server.studio.test_explore import DAYS
from tests.server.studio.test_subjects import find_total
from tests.server.studio.visitor import Visitor, add_user, links, text_of

from reelport.catalog import Dimension, Family, Metric
from reelport.catalog.labels import DIMENSION_GROUPS, capitalize
from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.http.service import Service
from reelport.server.settings import read_settings


def test_what_does_not_fit_is_greyed_with_its_reason(visitor: Visitor) -> None:
    """In the page's words, once for all of a family that the same refuses; the fields are disabled and described."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}").text
    assert re.search(
        r'<fieldset disabled class="off" aria-describedby="why-UPLOADS"><small id="why-UPLOADS">'
        r"Uploads can&#39;t be split by country\. Choose another split for these\.</small>\s*"
        r'<p><label><input type="checkbox">Uploads</label>',
        page,
    )
    assert page.count("Stock can&#39;t be split by country.") == 1
    assert "Views can&#39;t be split by this. What can: ads missed." in page
    assert re.search(r'value="TIME_WATCHED_SECONDS">', page)


def test_metrics_and_dimensions_stand_in_groups_with_their_sentences(visitor: Visitor) -> None:
    """Each once, that fits or not, below the heading of its family or of what it tells of."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}").text
    for id_, rows in (("metrics", list(Metric)), ("dimensions", [row for row in Dimension if row.grain is None])):
        part = re.search(rf'<details id="{id_}">.*?</details>', page, re.DOTALL)
        assert part is not None
        offered = re.findall(r'<p><label><input type="checkbox"[^>]*>[^<]*</label><small>([^<]*)</small>', part[0])
        assert sorted(map(unescape, offered)) == sorted(row.sentence for row in rows)
    headings = re.findall("<legend>([^<]*)</legend>", page)
    assert headings == [capitalize(label) for label in (*(family.label for family in Family), *DIMENSION_GROUPS)]


def test_several_values_are_chosen_from_a_searched_list(visitor: Visitor) -> None:
    """Without a script: values are searched by name or code, and the view is narrowed to any of the checked ones."""
    page = f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}"
    assert 'form="choose" name="pick" value="VISITOR_COUNTRY">Choose some</button>' in visitor.get(page).text
    assert 'name="search"' not in visitor.get(page).text  # there is nothing yet that a text could be searched in
    listed = visitor.get(f"{page}&pick=VISITOR_COUNTRY")
    assert dict(list_picked(listed.text))["VISITOR_COUNTRY:FR"] == ("France", False)
    for search in ("France", "fran"):
        assert [field for field, _ in list_picked(visitor.get(f"{listed.url}&search={search}").text)] == [
            "VISITOR_COUNTRY:FR"
        ]
    query = urlencode([*list_fields(listed.text), ("only", "VISITOR_COUNTRY:FR"), ("only", "VISITOR_COUNTRY:DE")])
    both = visitor.get(f"/studio/explore?{query}").text
    assert "of country France or Germany alone" in text_of(both)
    totals = [int(find_total(visitor.get(f"{page}&only=VISITOR_COUNTRY:{code}").text)) for code in ("FR", "DE")]
    assert int(find_total(both)) == sum(totals)
    report = visitor.get(links(both, "As a report")[0])
    assert "a report can't be narrowed so" in text_of(report.text)


def list_form(page: str) -> str:
    """The form with the values to choose from."""
    found = re.search(r'<form[^>]*class="picker".*?</form>', page, re.DOTALL)
    assert found is not None
    return found[0]


def list_fields(page: str) -> list[tuple[str, str]]:
    """What the form sends beside the values that are checked."""
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', list_form(page))
    return [(name, unescape(value)) for name, value in hidden]


def list_picked(page: str) -> list[tuple[str, tuple[str, bool]]]:
    """The values to choose from: what each sends, and its name, and whether it is chosen."""
    rows = re.findall(r'name="only" value="([^"]*)"( checked)?><bdi>([^<]*)</bdi>', list_form(page))
    return [(unescape(field), (unescape(name), bool(checked))) for field, checked, name in rows]


def test_values_of_any_dimension_are_chosen_though_it_is_no_leaderboard(visitor: Visitor) -> None:
    """A video by its title, from a list that also has what is chosen already, whatever is searched for."""
    listed = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}&pick=VIDEO_ID")
    ((first, (title, _)), (second, _), *_) = list_picked(listed.text)
    found = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}", params=None).text
    assert first not in found
    query = urlencode([*list_fields(listed.text), ("only", first)])
    chosen = f"/studio/explore?{query}"
    assert "by=VISITOR_COUNTRY" in chosen
    again = list_picked(visitor.get(f"{chosen}&pick=VIDEO_ID&search={second.partition(':')[2]}").text)
    assert [(field, is_chosen) for field, (_, is_chosen) in again] == [(first, True), (second, False)]
    searched = visitor.get(f"/studio/explore?metric=VIEWS&by=none&{DAYS}&pick=VIDEO_ID&{urlencode({'search': title})}")
    assert first in [field for field, _ in list_picked(searched.text)]


def test_a_filter_by_one_value_becomes_one_of_several(visitor: Visitor) -> None:
    """The channel that a report's filter keeps is checked in the list, whose form replaces that filter."""
    page = f"/studio/explore?metric=VIEWS&by=none&{DAYS}&videoOwnerChannelSlug=demo-news"
    listed = visitor.get(f"{page}&pick=VIDEO_OWNER_CHANNEL_SLUG")
    values = dict(list_picked(listed.text))
    assert values["VIDEO_OWNER_CHANNEL_SLUG:demo-news"] == ("Demo News", True)
    assert [field for field, (_, is_chosen) in values.items() if not is_chosen]
    assert "videoOwnerChannelSlug" not in dict(list_fields(listed.text))


@pytest.mark.parametrize(
    ("pick", "typed", "meant"),
    [("VISITOR_COUNTRY", "Frnace", "France"), ("VIDEO_OWNER_CHANNEL_SLUG", "demo nwes", "Demo News")],
)
def test_a_search_with_a_typo_suggests_what_was_meant(visitor: Visitor, pick: str, typed: str, meant: str) -> None:
    """By its name, with a link that searches for it."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=none&{DAYS}&pick={pick}&search={typed}")
    assert list_picked(page.text) == []
    assert re.search(rf"No value or title has this text\. Did you mean\s+{meant}", text_of(page.text))
    (link,) = links(page.text, meant)
    assert meant in [name for _, (name, _) in list_picked(visitor.get(link).text)]


def test_values_that_the_numbers_can_not_have_are_not_listed(visitor: Visitor) -> None:
    """Uploads have no countries, and days are no values to choose: the page is that of the view."""
    assert 'class="picker"' not in visitor.get(f"/studio/explore?metric=VIEWS&by=none&{DAYS}&pick=DAY").text
    page = visitor.get(f"/studio/explore?metric=UPLOADS&by=none&{DAYS}&pick=VISITOR_COUNTRY").text
    assert 'class="picker"' not in page
    assert 'value="VISITOR_COUNTRY">' not in page.partition('name="pick"')[2].partition("</select>")[0]


def test_choices_notes_and_headings_are_french_in_french(visitor: Visitor) -> None:
    """No sentence of the catalog stays English, nor what the page says of its days, columns and refusals."""
    address = f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&compare=previous&{DAYS}"
    page = visitor.get(address, headers={"Accept-Language": "fr"}).text
    said = text_of(page)
    assert '<option value="LIVE">Direct</option>' in page  # by a word, not by the report's code
    assert [row.name for row in (*Metric, *Dimension) if f"<small>{row.sentence}</small>" in page] == []
    for french in (
        "Vues par jour",
        "complet jusqu\N{RIGHT SINGLE QUOTATION MARK}au 31 juillet 2026",
        "Par rapport à : 17",
        "pas de répartition par pays",
        "valeurs ; les autres font",
        "Part du total Évolution",
        "Mesures : vues",
    ):
        assert french in said
    for english in (
        "Views by day",
        "Share of total",
        "Changed by",
        "can&#39;t be",
        "Compared with 1",
        " more<",
        "Days before",
    ):
        assert english not in page


__all__ = ["endless_data"]


async def leave_while_it_runs(app: Starlette, cookie: str) -> list[Message]:
    """Ask for the endless view, and hang up as soon as its statements run; what the service then sends."""
    service: Service = app.state.service
    sent: list[Message] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/studio/explore",
        "query_string": ENDLESS.url_query().encode(),
        "headers": [(b"cookie", cookie.encode()), (b"host", b"127.0.0.1:8642")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8642),
        "scheme": "http",
    }

    async def receive() -> Message:
        while not service.explorer.running_statements:  # noqa: ASYNC110 - what holds is no event
            await anyio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    with anyio.fail_after(60):
        await app(scope, receive, send)
        assert service.explorer.running_views == 0
        while service.explorer.running_statements:  # noqa: ASYNC110 - the same
            await anyio.sleep(0.01)
    return sent


def test_a_browser_that_goes_away_frees_its_slot(endless_data: Path) -> None:
    """The view has no end by itself: it is interrupted in the engine, and nothing is answered."""
    app = create_app(read_settings(data=endless_data, workers=0, explore_seconds=1000, explore_slots=1))
    with TestClient(app) as client:
        db = app.state.service.db
        demo = organizations.add_organization(db, "demo", datetime.now(UTC))
        organizations.allow_channels(db, demo.id, ["c1"])
        add_user(app.state.service, "mia@demo.example", "analyst")
        visitor = Visitor(client)
        visitor.sign_in("mia@demo.example", follow=False)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.client.cookies.items())
        assert client.portal is not None
        assert client.portal.call(leave_while_it_runs, app, cookie) == []
        visitor.client.close()
