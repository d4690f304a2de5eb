"""Links to views for people without an account: what they show, to whom, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from urllib.parse import parse_qsl

import httpx2
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from tests.cases import thin_out
from tests.server.studio.conftest import MEMBER, OWNER, RIVAL, Visitors, make_visitors
from tests.server.studio.visitor import FoundForm, Visitor, find_forms, guess_until_refused

from reelport.server import credentials
from reelport.server.access import audit_log, organizations
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.roles import Reach
from reelport.server.http.service import Service
from reelport.server.reports import removal
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.studio import saved_and_shared

VIEW = "metric=VIEWS&metric=TIME_WATCHED_SECONDS&by=VIDEO_ID&by=VIDEO_OWNER_CHANNEL_SLUG&from=2026-07-01&to=2026-07-10"
ROLLING = VIEW.partition("&from")[0] + "&range=last-7-days"
FORM, SHARED = "/studio/reports/new", "/studio/shared"


@pytest.fixture
def service(app: TestClient) -> Service:
    """What the app's requests share."""
    found: Service = app.app.state.service  # type: ignore[attr-defined]
    return found


@pytest.fixture
def visitors(app: TestClient) -> Iterator[Visitors]:
    """Makes a browser over the sample facts: signed in as a user, or not at all."""
    yield from make_visitors(app)


def share(visitor: Visitor, name: str = "For the board", days: str = "7") -> str:
    """Share the view by the form of the page; gives the path of the link."""
    page = visitor.send(visitor.get(f"{FORM}?{VIEW}"), SHARED, name=name, days=days)
    found = re.search(r"http://127\.0\.0\.1:8642(/studio/shared/[^<\s]+)", page.text)
    assert found, page.text
    return found[1]


def elsewhere(app: TestClient, address: str) -> TestClient:
    """A browser at another address: wrong links are counted there."""
    browser = TestClient(app.app, base_url="http://127.0.0.1:8642", client=(address, 1))
    browser.portal = app.portal
    return browser


def id_of(service: Service, name: str) -> str:
    """The id of a link that was made last under this name."""
    links = saved_and_shared.list_shared_views(service.db, Reach(1), datetime.now(UTC))
    return next(str(each.id) for each in links if each.name == name)


def numbers_of(page: str) -> list[str]:
    """Every number of a page, in full: a cell has it as its title where its text is shorter."""
    found = re.findall(r'<(?:td(?: title="([^"]*)")?|span title="([^"]*)")>([^<]*)<', page)
    assert len(found) > 30
    return [full or alone or text for full, alone, text in found]


def test_a_link_shows_the_numbers_of_its_view_and_nothing_else(visitors: Visitors) -> None:
    """They are those of the explorer's page; no link leads anywhere, no search engine keeps it, no address is told."""
    member = visitors(MEMBER)
    path = share(member)
    explored = member.get(f"/studio/explore?{VIEW}")
    for visitor in (visitors(None), visitors(RIVAL)):
        page = visitor.get(path)
        assert page.status_code == 200
        assert numbers_of(page.text) == numbers_of(explored.text)
        body = page.text.partition("<body>")[2]
        assert set(re.findall(r'href="([^"]*)"', body)) == {"#main"}
        assert re.findall(r"<form [^>]*>", body) == [f'<form id="export" method="get" action="{path}/export">']
        assert "<nav" not in body
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        assert "Last week" not in page.text  # nobody chooses days here
        assert page.headers["cache-control"] == "no-store"
        assert 'name="robots" content="noindex, nofollow"' in page.text
        assert MEMBER not in page.text


def test_a_link_is_shown_once_and_stored_as_a_hash(service: Service, visitors: Visitors) -> None:
    """Neither the list nor the log nor the state's files hold the token."""
    member = visitors(MEMBER)
    token = share(member, "Once").rpartition("/")[2]
    assert token not in member.get(SHARED).text
    assert token not in str(audit_log.list_actions(service.db))
    assert not [file for file in service.settings.data.glob("state*") if token.encode() in file.read_bytes()]
    entry = audit_log.list_actions(service.db)[0]
    assert (entry.actor.name, entry.action) == (MEMBER, "shared a view")
    assert entry.details == {"name": "Once", "days": 7}


def test_a_link_that_leads_to_this_machine_says_so(visitors: Visitors) -> None:
    """Links begin with the address by which the page was opened, where the service is not set to have another."""
    member = visitors(MEMBER)
    page = member.send(member.get(f"{FORM}?{VIEW}"), SHARED, name="Here", days="1")
    assert "It leads to this machine alone." in page.text
    member.client.headers["host"] = "reports.example.com"
    page = member.send(member.get(f"{FORM}?{VIEW}"), SHARED, name="There", days="1")
    assert "http://reports.example.com/studio/shared/" in page.text
    assert "this machine" not in page.text


def test_openings_are_counted_and_logged(service: Service, visitors: Visitors) -> None:
    """The list says how often and when last; the log tells of an opening without a name of anybody."""
    member, anybody = visitors(MEMBER), visitors(None)
    path = share(member, "Counted")
    assert "never" in member.get(SHARED).text
    for _ in range(3):
        anybody.get(path)
    assert "3 times, last" in member.get(SHARED).text
    assert "/studio/audit" not in member.get(SHARED).text
    visitors(None).get(share(member, "Another"))
    log = f"/studio/audit?action=opened%20a%20shared%20view&amp;subject={id_of(service, 'Counted')}"
    assert f'href="{log}"' in visitors(OWNER).get(SHARED).text
    opened = visitors(OWNER).get(log.replace("&amp;", "&")).text
    assert f"opened a shared view: Counted (id {id_of(service, 'Counted')}, opened 1)" in opened
    assert "Another" not in opened
    entry = audit_log.list_actions(service.db, subject=id_of(service, "Counted"))[0]
    assert (entry.actor.name, entry.action) == ("a shared link", "opened a shared view")


def test_revoked_and_unknown_links_are_told_alike(service: Service, visitors: Visitors) -> None:
    """Whoever has a link that ended can't tell it from one that never was."""
    member, anybody = visitors(MEMBER), visitors(None)
    path = share(member, "Revoked")
    assert anybody.get(path).status_code == 200
    page = member.send(member.get(SHARED), f"{SHARED}/{id_of(service, 'Revoked')}/revoke")
    assert "revoked" in page.text
    unknown = f"{SHARED}/{credentials.mint('rpv')}"
    pages = [anybody.get(address) for address in (path, unknown, f"{SHARED}/x", f"{path}0")]
    assert {page.status_code for page in pages} == {404}
    assert len({page.text for page in pages}) == 1
    entry = audit_log.list_actions(service.db)[0]
    assert (entry.actor.name, entry.action) == (MEMBER, "revoked a shared view")


def test_a_link_shows_no_channel_that_was_withdrawn(service: Service, sampled: Settings, visitors: Visitors) -> None:
    """It has the channels that the organization has read ever since it was made: one that is given again stays away."""
    member, anybody = visitors(MEMBER), visitors(None)
    path = share(member, "Channels")
    before = anybody.get(path).text
    with reading(service.db) as connection:
        channels = sorted(find_readable_channels(connection, 1))
    removal.remove_channels(service.db, sampled, "demo", channels[:1], datetime.now(UTC))
    after = anybody.get(path).text
    assert numbers_of(after) == numbers_of(member.get(f"/studio/explore?{VIEW}").text)
    assert numbers_of(after) != numbers_of(before)
    fewer = share(member, "Fewer")
    organizations.allow_channels(service.db, 1, channels[:1])
    assert numbers_of(member.get(f"/studio/explore?{VIEW}").text) == numbers_of(before)
    assert numbers_of(anybody.get(path).text) == numbers_of(after)
    assert numbers_of(anybody.get(fewer).text) == numbers_of(after)


def test_members_revoke_their_own_links_and_owners_all(service: Service, visitors: Visitors) -> None:
    """Another organization's people can't tell the id of a link from an unknown one."""
    owner, member, stranger = visitors(OWNER), visitors(MEMBER), visitors(RIVAL)
    share(owner, "The owner's")
    share(member, "The member's")
    path = f"{SHARED}/{id_of(service, 'The owner' + chr(39) + 's')}/revoke"
    assert path not in member.get(SHARED).text
    assert "The owner" not in stranger.get(SHARED).text
    assert member.client.post(path, data={"csrf": member.csrf}).status_code == 403
    assert stranger.client.post(path, data={"csrf": stranger.csrf}).status_code == 404
    path = f"{SHARED}/{id_of(service, 'The member' + chr(39) + 's')}/revoke"
    assert owner.send(owner.get(SHARED), path).status_code == 200


@pytest.mark.parametrize("days", thin_out(["", "0", "2", "-7", "7.0", "\uff17", "1000000"], 3))
def test_a_link_lives_as_long_as_the_form_offers(visitors: Visitors, days: str) -> None:
    """Any other number of days is refused with a sentence."""
    visitor = visitors(MEMBER)
    page = visitor.send(visitor.get(f"{FORM}?{VIEW}"), SHARED, name="x", days=days)
    assert page.status_code == 422
    assert "A link lives 1, 7, 30, 90 days." in page.text


def test_a_name_is_shown_as_text(visitors: Visitors) -> None:
    """Whatever is in it."""
    page = visitors(None).get(share(visitors(MEMBER), "<script>alert(1)</script>")).text
    assert "<script>alert" not in page
    assert unescape(page).count("<script>alert(1)</script>") == 2


def test_guesses_are_slowed_down_at_their_own_address(service: Service, visitors: Visitors) -> None:
    """Beyond a burst of wrong links an address waits; valid ones count for nothing, and open all the same."""
    path = share(visitors(MEMBER), "Guessed")
    anybody = visitors(None)
    for _ in range(12):
        assert anybody.get(path).status_code == 200
    assert guess_until_refused(lambda: anybody.get(f"{SHARED}/rpv_guess").status_code)[-1] == 429
    assert service.login_attempts.begin("192.0.2.7", "link") == 0
    assert anybody.get(path).status_code == 200
    well_formed = f"{SHARED}/{credentials.mint('rpv')}"
    assert guess_until_refused(lambda: anybody.get(well_formed).status_code)[-1] == 429


def test_a_link_gives_the_tables_that_it_shows_as_files(app: TestClient, service: Service, visitors: Visitors) -> None:
    """The rows and numbers of its page, to nobody after it has ended; never a part that it doesn't show."""
    member, anybody = visitors(MEMBER), visitors(None)
    path = share(member, "With files")
    page = anybody.get(path).text
    for part in ("lines", "VIDEO_ID", "VIDEO_OWNER_CHANNEL_SLUG", "TIME_WATCHED_SECONDS"):
        assert f'<button form="export" name="as" value="{part}.csv">' in page
        answer = anybody.get(f"{path}/export?as={part}.csv")
        assert answer.content == member.get(f"/studio/explore/export?{VIEW}&as={part}.csv").content
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert anybody.get(f"{path}/export?as={part}.xlsx").content.startswith(b"PK")
    assert "As a report" not in page
    for other in ("VISITOR_COUNTRY.csv", "VIEWS.svg", "VIDEO_ID.report", ""):
        assert anybody.get(f"{path}/export?as={other}").status_code == 404
    member.send(member.get(SHARED), f"{SHARED}/{id_of(service, 'With files')}/revoke")
    assert elsewhere(app, "192.0.2.20").get(f"{path}/export?as=lines.csv").status_code == 404


def embed(visitor: Visitor, name: str, **given: str) -> httpx2.Response:
    """Make an embed of the view by the second form of the page."""
    page = visitor.get(f"{FORM}?{ROLLING}")
    form = next(form for form in find_forms(page.text) if "hosts" in form.names)
    return visitor.client.post(form.action, data={**multiple(form), "name": name, **given})


def multiple(form: FoundForm) -> dict[str, list[str]]:
    """The fields of a form, those of one name together."""
    return {name: [value for each, value in form.fields if each == name] for name, _ in form.fields}


def frame_of(page: str) -> str:
    """The path of the embed that a page shows once."""
    found = re.search(r'<iframe src="http://127\.0\.0\.1:8642(/studio/embed/[\w-]+)"', unescape(page))
    assert found, page
    return found[1]


def test_an_embed_stands_in_pages_of_its_hosts_alone(visitors: Visitors) -> None:
    """Its policy names exactly them; it knows nobody who is signed in, sets no cookie, and leads nowhere."""
    member, anybody = visitors(MEMBER), visitors(None)
    made = embed(member, "On our site", hosts="www.example.com, https://Intranet.example.com:8443/", days="90")
    path = frame_of(made.text)
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    for visitor in (member, anybody):
        page = visitor.client.get(path, headers=framed)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"].split("; ")
        assert "frame-ancestors https://www.example.com https://intranet.example.com:8443" in policy
        assert {"default-src 'none'", "form-action 'none'", "base-uri 'none'"} <= set(policy)
        assert not [rule for rule in policy if rule.startswith("script-src")]
        assert "x-frame-options" not in page.headers
        assert "set-cookie" not in page.headers
        assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
        assert not re.search(r"<(a|form|script|button)\b", page.text)
        assert MEMBER not in page.text
    assert numbers_of(page.text) == numbers_of(member.get(f"/studio/explore?{ROLLING}").text)
    assert "https://www.example.com, https://intranet.example.com:8443" in member.get(SHARED).text


def test_an_embed_is_no_link_and_a_link_no_embed(app: TestClient, visitors: Visitors) -> None:
    """The address of a frame can be read by everybody who sees its page: it opens neither Studio's page nor files."""
    member, anybody = visitors(MEMBER), elsewhere(app, "192.0.2.21")
    token = frame_of(embed(member, "Framed", hosts="www.example.com", days="30").text).rpartition("/")[2]
    linked = share(member, "Linked").rpartition("/")[2]
    assert anybody.get(f"/studio/embed/{token}").status_code == 200
    for path in (f"{SHARED}/{token}", f"{SHARED}/{token}/export?as=lines.csv", f"/studio/embed/{linked}"):
        refused = anybody.get(path)
        assert refused.status_code == 404
        assert "frame-ancestors 'none'" in refused.headers["content-security-policy"]
    for kind in ("document", "image", "empty", "object"):
        other = anybody.get(f"/studio/embed/{token}", headers={"Sec-Fetch-Dest": kind})
        assert (other.status_code, "set-cookie" in other.headers) == (403, False)


def test_an_embed_moves_on_with_the_days_and_ends_when_it_is_revoked(
    app: TestClient, service: Service, visitors: Visitors
) -> None:
    """It keeps the range by its name; the log says for which hosts it was made."""
    member, anybody = visitors(MEMBER), elsewhere(app, "192.0.2.22")
    path = frame_of(embed(member, "Ends", hosts="www.example.com", days="365").text)
    entry = audit_log.list_actions(service.db)[0]
    assert entry.details == {"name": "Ends", "days": 365, "hosts": ["https://www.example.com"]}
    (found,) = (
        each
        for each in saved_and_shared.list_shared_views(service.db, Reach(1), datetime.now(UTC))
        if each.name == "Ends"
    )
    assert ("range", "last-7-days") in parse_qsl(found.parameters)
    assert not {"from", "to"} & {name for name, _ in parse_qsl(found.parameters)}
    member.send(member.get(SHARED), f"{SHARED}/{found.id}/revoke")
    assert anybody.get(path).status_code == 404


@pytest.mark.parametrize(
    ("hosts", "wrong"),
    [
        ("", "Name the hosts"),
        ("*", "No host: *"),
        ("*.example.com", "No host: *.example.com"),
        ("example.com; script-src *", "No host: example.com;, *"),
        ("a.example\r\nSet-Cookie: x=1", "No host: set-cookie:, x=1"),
        ("http://example.com 'self'", "No host: http://example.com, 'self'"),
        ("example.com/path -a.example", "No host: example.com/path, -a.example"),
        (" ".join(f"h{number}.example" for number in range(11)), "1 to 10"),
    ],
)
def test_a_host_of_an_embed_is_a_host(visitors: Visitors, hosts: str, wrong: str) -> None:
    """Whatever else it is, such as more of a policy or another header, is refused with every wrong one."""
    page = embed(visitors(MEMBER), "Wrong", hosts=hosts, days="30")
    assert page.status_code == 422
    assert wrong in unescape(page.text)
    assert "Wrong" not in page.text


def test_the_name_of_a_frame_stays_within_its_quotes(visitors: Visitors) -> None:
    """Pasted into a page it brings no tag of its own."""
    page = embed(visitors(MEMBER), '"><script>alert(1)</script>', hosts="www.example.com", days="30").text
    frame = re.search(r"<pre id=\"once\"[^>]*>(.*?)</pre>", page)
    assert frame
    assert 'title="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in unescape(frame[1])
    assert "<script>alert" not in page


def test_the_log_of_a_failure_holds_no_token(app: TestClient, service: Service, visitors: Visitors) -> None:
    """Whoever reads the service's log can't open the link. The very last test: the explorer is closed in it."""
    path = share(visitors(MEMBER), "Fails")
    service.explorer.close()
    with capture_logs() as written:
        answer = TestClient(app.app, base_url="http://127.0.0.1:8642", client=("192.0.2.9", 1)).get(path)
    assert answer.status_code == 500
    failure = next(each for each in written if each["event"] == "a page failed")
    assert failure["path"] == f"{SHARED}/…"
    assert path.rpartition("/")[2] not in str([{**each, "exc_info": None} for each in written])
