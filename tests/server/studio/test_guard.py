"""Every route of Studio with every role, what answers say to the browser, and large pages, written in threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy import text as sql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.patience import PATIENCE, until
from tests.server.api import Api
from tests.server.studio.conftest import BLIND_VIEWER, MEMBER, OPERATOR, OWNER, VIEWER, Visitors
from tests.server.studio.visitor import Visitor, add_user, links

import reelport.server.studio
from reelport.charts.svg import write_page_stylesheet
from reelport.server.access import organizations
from reelport.server.access.roles import Role
from reelport.server.state.database import reading, writing
from reelport.server.state.sqlite_engine import get_log
from reelport.server.state.tables import SESSIONS, USERS
from reelport.server.studio.pages import address_of, write_page
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.routes import ROUTES, StudioRoute
from reelport.server.studio.visit import Elsewhere, Refused, Visit, not_found

PEOPLE = {
    None: None,
    Role.VIEWER: VIEWER,
    Role.VIEWER_WITHOUT_REVENUE: BLIND_VIEWER,
    Role.ANALYST: MEMBER,
    Role.OWNER: OWNER,
    Role.OPERATOR: OPERATOR,
}
_STUDIO = Path(reelport.server.studio.__file__).parent
_PAGES = [re.sub("[{}]", "", route.path) for route in ROUTES if route.method == "GET" and not route.is_embedded]


def _name(route: StudioRoute) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.long
@pytest.mark.parametrize("role", RIGHTS, ids=str)
def test_a_route_is_open_to_the_roles_that_have_its_right_alone(visitors: Visitors, role: Role | None) -> None:
    """Whoever lacks the right is refused, and who isn't signed in is sent to sign in, before anything is done."""
    visitor = visitors(PEOPLE[role])
    wrong = {}
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        answer = visitor.client.request(route.method, path, follow_redirects=False)
        location = answer.headers.get("location", "")
        lacks = any(sentence in answer.text for sentence in ("Your role", "This is for"))
        refused = answer.status_code == 403 and lacks
        refused |= answer.status_code == 303 and location.startswith("/studio/sign-in?next=")
        if refused == (route.right in RIGHTS[role]):
            wrong[_name(route)] = answer.status_code
    assert not wrong


@pytest.mark.parametrize(
    ("sent_from", "following"),
    [
        ("http://127.0.0.1:8642/studio/reports/new?metric=VIEWS&from=2026-07-01", "/studio/reports/new?metric=VIEWS"),
        ("http://elsewhere.example/studio/reports/new?metric=VIEWS", ""),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_a_form_of_an_ended_session_leads_back_to_its_page(visitors: Visitors, sent_from: str, following: str) -> None:
    """With the view that was on it, which nobody has to choose again; never to another site."""
    answer = visitors(None).client.post("/studio/reports", headers={"Referer": sent_from}, follow_redirects=False)
    assert unquote(answer.headers["location"].partition("?next=")[2]).partition("&")[0] == following


@pytest.mark.parametrize("path", ["/evil.example/x", "\\evil.example/x", "studio/evil.example/x"])
def test_a_refused_form_leads_back_to_this_host_alone(visitors: Visitors, path: str) -> None:
    """Also from a page whose path a browser would take for another host's name."""
    page = visitors(OWNER).client.post("/studio/reports", headers={"Referer": f"http://127.0.0.1:8642/{path}"})
    (back,) = links(page.text, "Back")
    assert re.fullmatch(r"/(studio/)?evil\.example/x", back)


def test_every_form_that_changes_something_needs_its_token(visitors: Visitors) -> None:
    """No POST is answered without the token of the session, whoever sends it."""
    for email in (None, OWNER, OPERATOR):
        visitor = visitors(email)
        answered = [
            _name(route)
            for route in ROUTES
            if route.method == "POST" and visitor.client.post(route.path, follow_redirects=False).status_code < 300
        ]
        assert not answered


def test_every_page_tells_browsers_to_run_nothing_of_others(visitors: Visitors) -> None:
    """No inline script or style, no frame, no guessing of types, no copy in a cache."""
    for page in (visitors(None).get("/studio/sign-in"), visitors(OWNER).get("/studio/account")):
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy.split("; "))
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("mode", "dest"), [("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty"), ("", "")])
def test_a_page_of_another_site_can_hold_none_of_ours(visitors: Visitors, site: str, mode: str, dest: str) -> None:
    """As an image, a frame or a script's request each is refused before anything is done."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    for email in (None, OWNER):
        visitor = visitors(email)
        for path in _PAGES:
            held = visitor.client.get(path, headers=headers, follow_redirects=False)
            assert (held.status_code, "in a tab of its own" in held.text) == (403, True), path


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_of_another_site_leads_to_ours(visitors: Visitors, site: str) -> None:
    """A browser that follows it shows what whoever came by themselves would see."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for email in (None, OWNER):
        visitor = visitors(email)
        for path in _PAGES:
            assert "in a tab of its own" not in visitor.client.get(path, headers=headers, follow_redirects=False).text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/studio/nowhere", 404), ("PUT", "/studio/keys", 405)])
def test_what_has_no_route_is_refused_by_a_page(visitors: Visitors, method: str, path: str, status: int) -> None:
    """With the headers of every page: no frame may hold it, nor a cache. A wrong method is told the right ones."""
    for email in (None, OWNER):
        answer = visitors(email).client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert ("allow" in answer.headers) == (status == 405)


def test_rights_are_those_at_the_end_of_a_form(people: Api, visitors: Visitors) -> None:
    """Whoever loses a right while a form is half sent has lost it for that form too."""
    add_user(people.service, "eve@demo.example", "owner")
    visitor = visitors("eve@demo.example")
    csrf = visitor.csrf

    def send_slowly() -> Iterator[bytes]:
        yield f"csrf={csrf}".encode()
        with writing(people.service.db) as connection:
            connection.execute(USERS.update().where(USERS.c.email == "eve@demo.example").values(role="analyst"))
        yield b"&days=7"

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = visitor.client.post("/studio/keys/max-age", content=send_slowly(), headers=form)
    assert answer.status_code == 403
    assert organizations.get_organization(people.service.db, "demo").max_key_days is None


def test_a_page_is_shown_where_its_session_cannot_be_renewed(people: Api, visitors: Visitors) -> None:
    """A full disk, say: the answer may hold the only copy of a secret."""
    visitor = visitors(OWNER)
    with writing(people.service.db) as connection:
        connection.execute(SESSIONS.update().values(seen_at=datetime.now(UTC) - timedelta(hours=1)))
        connection.execute(sql("CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN DELETE FROM no_such_table; END"))
    try:
        assert visitor.get("/studio/account").status_code == 200
    finally:
        with writing(people.service.db) as connection:
            connection.execute(sql("DROP TRIGGER full"))


def test_no_template_holds_what_the_policy_forbids() -> None:
    """Styles and handlers are in files: the browser would drop them from a page. Nothing is marked as safe."""
    templates = [file.read_text() for file in (_STUDIO / "templates").glob("*.html")]
    assert templates
    for text in templates:
        assert " style=" not in text
        assert "<style" not in text
        assert " onclick=" not in text
        assert "autoescape false" not in text


def test_script_and_first_page_are_small(people: Api) -> None:
    """All script is under 40 KB, and the first page with all that it needs under 100 KB."""
    scripts = sum(file.stat().st_size for file in (_STUDIO / "static").glob("*.js"))
    styles = sum(file.stat().st_size for file in (_STUDIO / "static").glob("*.css"))
    page = people.client.get("/studio/sign-in")
    assert scripts < 40_000
    assert scripts + styles + len(page.content) < 100_000


@pytest.mark.parametrize("body", [b"a=1&" * 20_000, b"x" * 70_000])
def test_a_form_that_is_too_long_is_refused(visitors: Visitors, body: bytes) -> None:
    """What a form may hold is bounded."""
    visitor = visitors(None)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.client.post("/studio/sign-in", content=body, headers=kind).status_code in {400, 413}


def test_whatever_a_form_holds_is_answered(visitors: Visitors) -> None:
    """Bytes that are no text, and texts that no database takes, are refused, not failed over."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff\xfe=1", b"csrf=%00&email=%00", b"csrf=%ED%A0%80&email=%ED%A0%80&password=%ED%A0%80"):
        assert visitors(None).client.post("/studio/sign-in", content=body, headers=kind).status_code in {400, 403}
    visitor = visitors(None)
    assert visitor.sign_in("a\0b@demo.example", "\ud800".encode("utf-8", "replace").decode()).status_code == 403


def test_a_menu_shows_what_the_role_may_open(visitors: Visitors) -> None:
    """Nobody is offered a page that is refused; each that is offered opens."""
    for email in (OWNER, MEMBER, VIEWER, BLIND_VIEWER, OPERATOR):
        visitor = visitors(email)
        page = visitor.get("/studio")
        menu = page.text.partition("<nav")[2].partition("</nav>")[0]
        for path in [part.partition('"')[0] for part in menu.split('href="')[1:]]:
            assert visitor.get(path).status_code == 200, path


def test_pages_take_numbers_for_a_person_alone() -> None:
    """Only by a reach is there a tenant: no page makes one for a whole organization. A shared link has its own."""
    made = re.compile(r"\bTenant\(|\bfind_readable_channels\b|\blist_readable_channels\b|\bReach\(")
    found = {file.name for file in _STUDIO.rglob("*.py") if made.search(file.read_text())}
    assert found <= {"saved_and_shared.py", "keys.py"}


def test_each_right_is_somebodys() -> None:
    """No right that a route needs is left out of the table of roles, but those that a command alone gives."""
    by_command = {Right.LOOK, Right.READ_PLATFORM}
    assert {route.right for route in ROUTES} == set().union(*RIGHTS.values(), by_command) - {Right.CHANGE_ANYBODYS}
    assert Right.OPERATE not in RIGHTS[Role.OWNER]


def test_a_page_that_takes_long_keeps_nobody_else_waiting(api: Api) -> None:
    """The next page of its organization waits for it; another organization's is written meanwhile."""
    begun: list[str] = []
    release = threading.Event()

    async def answer(request: Request) -> Response:
        organization, page = request.url.path.strip("/").split("/")

        def write() -> Response:
            begun.append(page)
            if page == "long":
                release.wait()
            return PlainTextResponse(page)

        return await write_page(Visit(request, api.service, None, "", datetime.now(UTC)), organization, write)

    app = Starlette(routes=[Route("/{organization}/{page}", answer)])
    with TestClient(app) as client, ThreadPoolExecutor(2) as threads:
        try:
            long = threads.submit(client.get, "/demo/long")
            until(lambda: begun == ["long"])
            following = threads.submit(client.get, "/demo/next")
            assert client.get("/rival/page").text == "page"
            assert begun == ["long", "page"]
            assert not following.done()
        finally:
            release.set()
        assert (long.result().text, following.result().text) == ("long", "next")


def test_forms_that_wait_for_the_state_keep_no_page_of_others_waiting(people: Api, visitors: Visitors) -> None:
    """As many as large pages are written at a time: what writes the state takes none of their turns."""
    service, senders, names = people.service, list[Visitor](), ("first", "second", "third")
    for name in names:
        organizations.add_organization(service.db, name, datetime.now(UTC))
        add_user(service, f"ann@{name}.example", "owner", name)
        senders.append(visitors(f"ann@{name}.example"))
    reader, log = senders.pop(), get_log(service.db)
    assert log is not None
    forms = [(each.client, {"csrf": each.csrf, "name": "Key", "scope": "read_reports"}) for each in senders]
    with ThreadPoolExecutor(3) as threads:
        with writing(service.db):
            sent = [threads.submit(client.post, "/studio/keys", data=form) for client, form in forms]
            assert until(lambda: len(log._waiting) == len(sent))  # noqa: SLF001 - they are there
            assert threads.submit(reader.get, "/studio/saved").result(PATIENCE).status_code == 200
            assert not any(each.done() for each in sent)
        assert ["Key" in each.result().text for each in sent] == [True, True]


def test_the_styles_of_charts_are_a_file_of_the_pages(visitors: Visitors) -> None:
    """Nobody signs in for them; a browser keeps them for good under the address that names their content."""
    answer = visitors(None).get(address_of("charts.css"))
    assert answer.text == write_page_stylesheet()
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert visitors(None).get("/studio/static/charts.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br", "gzip"), ("", None), ("gzip;q=0", None), ("identity, gzip;q=0.5", None)],
)
def test_styles_and_scripts_are_compressed_for_those_who_take_it(
    visitors: Visitors, accepted: str, coding: str | None
) -> None:
    """The content is the same, and caches in between keep both apart."""
    answer = visitors(None).client.get(address_of("studio.js"), headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "addEventListener" in answer.text


def test_no_page_is_compressed(visitors: Visitors) -> None:
    """A page holds secrets beside what its address says: its length must not tell of them."""
    answer = visitors(OWNER).client.get("/studio/explore?metric=guess", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("refusal", [not_found(), Elsewhere("/studio")], ids=lambda each: type(each).__name__)
def test_a_refusal_passes_a_transaction(api: Api, refusal: Refused | Elsewhere) -> None:
    """An endpoint may raise one while it reads or writes the state."""
    for transaction in (reading, writing):
        with pytest.raises(type(refusal)), transaction(api.service.db):
            raise refusal
