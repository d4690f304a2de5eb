"""What people see whose role or owner limits them: the same numbers, of their own channels and metrics alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.sandboxes import sample_channels
from tests.server.api import finish_reports
from tests.server.studio.conftest import Visitors, make_visitors
from tests.server.studio.visitor import Visitor, add_user, find_forms

from reelport.catalog import Metric, Scope
from reelport.engine.resolved_query import resolve_query
from reelport.errors import AccessError
from reelport.query import ReportQuery
from reelport.server.access import channel_registry, keys, organizations
from reelport.server.access.roles import Reach, write_channels
from reelport.server.http.service import Service
from reelport.server.queue import jobs
from reelport.server.reports.ask import ask_report
from reelport.server.state.database import writing
from reelport.server.state.tables import SHARED_VIEWS, USERS
from reelport.server.studio.explore import read_tenant

pytestmark = pytest.mark.long

OWNER, VIEWER, BLIND, LIMITED = (f"{name}@demo.example" for name in ("ann", "vic", "bob", "lea"))
DAYS = "from=2026-07-01&to=2026-07-14"
DAY = date(2026, 7, 1)
EARNINGS = "ESTIMATED_EARNINGS_EUR"


@pytest.fixture(scope="module")
def service(app: TestClient) -> tuple[Service, TestClient]:
    """Studio over sample facts, with people of several roles; one sees a single channel of the organization's."""
    made: Service = app.app.state.service  # type: ignore[attr-defined]
    for email, role in ((VIEWER, "viewer"), (BLIND, "viewer-without-revenue"), (LIMITED, "analyst")):
        add_user(made, email, role)
    limit(made, {own_channels()[0]})
    return made, app


def own_channels() -> tuple[str, ...]:
    """The channels of the organization: more than one."""
    channels = sample_channels()["demo"]
    assert len(channels) > 1
    return channels


def limit(service: Service, channels: set[str]) -> None:
    """Let Lea see these channels alone."""
    with writing(service.db) as connection:
        mine = USERS.update().where(USERS.c.email == LIMITED)
        connection.execute(mine.values(channels=write_channels(channels)))


@pytest.fixture
def visitors(service: tuple[Service, TestClient]) -> Iterator[Visitors]:
    """Makes a signed-in browser."""
    yield from make_visitors(service[1])


def make_report(service: Service, channels: set[str] | None, metric: str = "VIEWS", day: date = DAY) -> str:
    """The id of a finished report that a key asked for."""
    now = datetime.now(UTC)
    organization = organizations.get_organization(service.db, "demo")
    reach = Reach(organization.id, channels=None if channels is None else frozenset(channels))
    caller = keys.identify_studio(service.db, reach, now)
    asked = ask_report(service.db, service.settings, caller, ReportQuery.of([metric], ["DAY"], day, day), now)
    body = f"day,{metric.lower()}\n{day},3\n".encode()
    list(finish_reports(service.settings, service.db, body))
    return asked.id


def read_total(page: httpx2.Response) -> int:
    """The exact number of the view's one metric."""
    assert page.status_code == 200
    found = re.search(r'<span title="([\d.]+)">', page.text)
    assert found
    return int(found[1])


def answers(visitor: Visitor, report: str) -> set[int]:
    """The statuses of everything that there is about a report."""
    path = f"/studio/reports/{report}"
    form = {"csrf": visitor.csrf}
    shown = [visitor.get(each) for each in (path, f"{path}/chart.svg")]
    shown += [visitor.client.post(f"{path}/download", data=form, follow_redirects=False)]
    if "New report" in visitor.get("/studio/reports").text:
        shown += [visitor.get(f"/studio/reports/new?report={report}")]
        shown += [visitor.client.post(f"{path}/{verb}", data=form) for verb in ("cancel", "delete")]
    return {each.status_code for each in shown}


def test_numbers_of_somebody_limited_are_those_of_the_channels(
    visitors: Visitors, service: tuple[Service, TestClient]
) -> None:
    """Channel by channel they add up to what an owner sees; the rest is no number of theirs."""
    address = f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}"
    whole = read_total(visitors(OWNER).get(address))
    parts = []
    for channel in own_channels():
        limit(service[0], {channel})
        page = visitors(LIMITED).get(address)
        parts.append(read_total(page) if "no numbers in these days" not in page.text else 0)
    limit(service[0], {own_channels()[0]})
    assert sum(parts) == whole
    assert sum(part > 0 for part in parts) > 1
    overview = visitors(LIMITED).get("/studio/overview?from=2026-07-01&to=2026-07-14&channel=").text
    slugs = [each.slug for each in channel_registry.list_channels(service[0].settings) if each.id in own_channels()]
    assert len([slug for slug in slugs if f'value="{slug}"' in overview]) <= 1
    assert f'title="{parts[0]:d}"' in overview


def test_a_foreign_channel_is_no_channel_of_the_limited(
    visitors: Visitors, service: tuple[Service, TestClient]
) -> None:
    """One of another organization doesn't come in by a list; nor by a filter that names it."""
    foreign = next(channels[0] for name, channels in sample_channels().items() if name != "demo")
    limit(service[0], {foreign})
    page = visitors(LIMITED).get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}")
    limit(service[0], {own_channels()[0]})
    assert "There are no numbers in these days" in unescape(page.text)


def test_reports_over_other_channels_are_not_found(visitors: Visitors, service: tuple[Service, TestClient]) -> None:
    """Not listed, counted, shown, previewed, drawn, downloaded, asked for again, cancelled or deleted."""
    own, _, wide = (
        make_report(service[0], {own_channels()[0]}),
        make_report(service[0], {own_channels()[1]}),
        make_report(service[0], None),
    )
    limited, owner = visitors(LIMITED), visitors(OWNER)
    listed = limited.get("/studio/reports").text
    assert (own in listed, wide in listed) == (True, False)
    assert all(each in owner.get("/studio/reports").text for each in (own, wide))
    assert answers(limited, wide) == {404}
    assert 404 not in answers(limited, own)


def test_a_report_that_somebody_limited_asks_for_has_their_channels(
    visitors: Visitors, service: tuple[Service, TestClient]
) -> None:
    """The same question as an owner's is another report: it isn't answered with the owner's file."""
    question = {"metric": "VIEWS", "by": "VISITOR_COUNTRY", "from": "2026-07-02", "to": "2026-07-02"}
    reports = []
    for email in (OWNER, LIMITED):
        visitor = visitors(email)
        page = visitor.get("/studio/reports/new", params=question)
        reports.append(visitor.send(page, "/studio/reports").url.path)
    assert reports[0] != reports[1]
    claims = []
    while (claim := jobs.claim(service[0].db, "test-worker", running=99, lease_seconds=60)) is not None:
        claims.append(claim.channels)
    assert frozenset({own_channels()[0]}) in claims


def test_without_revenue_there_are_no_earnings_anywhere(
    visitors: Visitors, service: tuple[Service, TestClient]
) -> None:
    """Not offered, not shown by an address that names them, not in reports; a viewer who may sees them."""
    blind, viewer = visitors(BLIND), visitors(VIEWER)
    money = f"/studio/explore?metric={EARNINGS}&by=VISITOR_COUNTRY&{DAYS}"
    revenue = [metric.name for metric in Metric if Scope.ACCESS_REVENUE in metric.family.scopes]
    page = blind.get(money).text
    assert not [name for name in revenue if f'value="{name}"' in page]
    assert "access_revenue" in page
    assert "\N{EURO SIGN}" not in page
    assert EARNINGS in viewer.get(money).text
    overview = {
        visitor: visitor.get("/studio/overview?from=2026-07-01&to=2026-07-14").text for visitor in (blind, viewer)
    }
    assert "\N{EURO SIGN}" not in overview[blind]
    assert "\N{EURO SIGN}" in overview[viewer]
    report = make_report(service[0], None, EARNINGS)
    assert report not in blind.get("/studio/reports").text
    assert answers(blind, report) == {404}
    assert 404 not in answers(viewer, report)


def test_a_viewer_is_offered_nothing_that_is_refused(visitors: Visitors, service: tuple[Service, TestClient]) -> None:
    """No link and no form of a page leads to where a report is asked for, a view saved or a link made."""
    report = make_report(service[0], None, day=date(2026, 7, 3))
    for path in (f"explore?metric=VIEWS&{DAYS}", "reports", f"reports/{report}", "saved"):
        page = visitors(VIEWER).get(f"/studio/{path}")
        assert page.status_code == 200
        led_to = {form.action for form in find_forms(page.text) if form.method == "post"}
        assert led_to <= {"/studio/sign-out", f"/studio/reports/{report}/download"}
        assert "/studio/reports/new" not in page.text


def test_no_sql_is_built_for_a_metric_beyond_the_role(service: tuple[Service, TestClient]) -> None:
    """Even if a page forgot to look: the engine takes the scopes with the channels."""
    organization = organizations.get_organization(service[0].db, "demo")
    reach = Reach(organization.id, frozenset({Scope.READ_REPORTS.value}))
    tenant = read_tenant(service[0].db, reach)
    resolve_query(ReportQuery.of(["VIEWS"], ["DAY"], DAY, DAY), tenant)
    with pytest.raises(AccessError, match="access_revenue"):
        resolve_query(ReportQuery.of([EARNINGS], ["DAY"], DAY, DAY), tenant)


def test_saved_views_that_name_what_others_see_are_not_listed(visitors: Visitors) -> None:
    """A filter's value may be a channel of others; earnings are not for everybody. The own ones stay."""
    owner = visitors(OWNER)
    for name, query in (
        ("Of a channel", f"metric=VIEWS&by=VISITOR_COUNTRY&videoOwnerChannelSlug=some-channel&{DAYS}"),
        ("Of a search", f"metric=VIEWS&by=VIDEO_ID&{DAYS}"),
        ("Of money", f"metric={EARNINGS}&by=VISITOR_COUNTRY&{DAYS}"),
        ("Of all", f"metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}"),
    ):
        page = owner.get(f"/studio/explore?{query}")
        if name == "Of a search":
            owner.send(page, "/studio/saved", name=name, pick="VIDEO_ID", search="somebody")
        else:
            owner.send(page, "/studio/saved", name=name)
    names = ("Of a channel", "Of a search", "Of money", "Of all")
    seen = {
        email: [name for name in names if name in visitors(email).get("/studio/saved").text]
        for email in (OWNER, LIMITED, BLIND)
    }
    assert seen == {
        OWNER: ["Of a channel", "Of a search", "Of money", "Of all"],
        LIMITED: ["Of money", "Of all"],
        BLIND: ["Of a channel", "Of a search", "Of all"],
    }


def test_a_link_that_lost_channels_does_not_name_them_to_the_limited(
    visitors: Visitors, service: tuple[Service, TestClient]
) -> None:
    """Of such a link what is left may be within their channels; its filter is of somebody else's. The own ones stay."""
    owner, limited = visitors(OWNER), visitors(LIMITED)
    for visitor, slug in ((owner, "slug-of-others"), (limited, "slug-of-mine")):
        query = f"metric=VIEWS&by=VISITOR_COUNTRY&videoOwnerChannelSlug={slug}&{DAYS}"
        visitor.send(visitor.get(f"/studio/explore?{query}"), "/studio/shared", name="News")
    with writing(service[0].db) as connection:
        connection.execute(SHARED_VIEWS.update().values(channels=write_channels(own_channels()[:1])))
    seen = {visitor: visitor.get("/studio/shared").text for visitor in (owner, limited)}
    assert "slug-of-others" in seen[owner]
    assert ("slug-of-others" in seen[limited], "slug-of-mine" in seen[limited]) == (False, True)


def test_an_owner_limits_a_person_on_a_page(visitors: Visitors, service: tuple[Service, TestClient]) -> None:
    """The list says how many channels somebody sees; the own page doesn't offer it for owners."""
    owner = visitors(OWNER)
    with writing(service[0].db) as connection:
        person = connection.execute(USERS.select().where(USERS.c.email == VIEWER)).one().id
        own = connection.execute(USERS.select().where(USERS.c.email == OWNER)).one().id
    path = f"/studio/people/{person}/channels"
    page = owner.send(owner.get(path), path, which="some", channel=[own_channels()[0]])
    assert "That person sees those channels" in page.text
    assert f'{path}" aria-label="Channels of {VIEWER}">1<' in page.text
    refused = owner.send(owner.get(path), path, which="some", channel=["of-somebody-else"])
    assert (refused.status_code, "read the channel of-somebody-else" in refused.text) == (422, True)
    mine = f"/studio/people/{own}/channels"
    refused = owner.send(owner.get(mine), mine, which="some", channel=[own_channels()[0]])
    assert (refused.status_code, "An owner sees every channel" in refused.text) == (422, True)
    assert owner.send(owner.get(path), path, which="all").status_code == 200
