"""Signing in and out, cookies, the token that each form carries, and links that set a password."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from tests import quick_users
from tests.cases import thin_out
from tests.patience import PATIENCE, until
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors
from tests.server.studio.visitor import PASSWORD, add_user, guess_until_refused

from reelport.server import logs
from reelport.server.access import audit_log, sessions, users
from reelport.server.access.grants import Password
from reelport.server.access.sessions import Browser, Session
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import writing
from reelport.server.state.tables import SESSIONS
from reelport.testing import Service

NO_BROWSER = Browser("", "")


def test_a_right_password_leads_to_the_page_that_was_asked_for(visitors: Visitors) -> None:
    """Whoever isn't signed in is sent to the sign-in, and from there to where they were going."""
    visitor = visitors(None)
    form = visitor.get("/studio/account?a=1&b=2")
    assert form.url.path == "/studio/sign-in"
    page = visitor.send(form, "/studio/sign-in", email=OWNER, password=PASSWORD)
    assert (page.status_code, str(page.url)) == (200, "http://127.0.0.1:8642/studio/account?a=1&b=2")
    assert OWNER in page.text


def test_unknown_address_and_wrong_password_are_told_alike(visitors: Visitors) -> None:
    """The page doesn't tell which addresses have an account; the password is never shown again."""
    pages = [visitors(None).sign_in(email, "not the password") for email in (OWNER, "nobody@demo.example")]
    ties = re.compile(r'value="([0-9a-f]{64}|rpc_[^"]*)"|data-passkey="[^"]*"')  # another one on each page
    said = [ties.sub("", page.text).replace(OWNER, "X").replace("nobody@demo.example", "X") for page in pages]
    assert said[0] == said[1]
    assert {page.status_code for page in pages} == {403}
    assert "not the password" not in pages[0].text


@pytest.mark.parametrize(
    "path",
    thin_out(
        [
            "https://evil.example/",
            "//evil.example/studio",
            "/studio//evil.example",
            "/studio@evil.example",
            "\\\\evil.example",
            "/studio\\evil",
            "javascript:alert(1)",
            "/graphql",
            "/studio/\r\nx: y",
            "/studio/../graphql",
            "/studio/explore/../..",
        ],
        3,
    ),
)
def test_a_sign_in_leads_to_studio_alone(visitors: Visitors, path: str) -> None:
    """Another address in `next` is not followed."""
    visitor = visitors(None)
    form = visitor.get("/studio/sign-in")
    answer = visitor.send(form, "/studio/sign-in", email=OWNER, password=PASSWORD, next=path, follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio")


def test_the_session_of_a_sign_in_is_a_new_one(visitors: Visitors) -> None:
    """A cookie that was put into the browser before is worth nothing after signing in."""
    visitor = visitors(OWNER)
    planted = visitor.client.cookies["reelport-session"]
    again = visitors(None)
    form = again.get("/studio/sign-in")
    again.client.cookies.set("reelport-session", planted, domain="127.0.0.1", path="/")
    sent = again.client.post("/studio/sign-in", data={"csrf": _csrf(form.text), "email": MEMBER, "password": PASSWORD})
    assert sent.status_code == 403  # the form is not of that session
    form = visitor.get("/studio/account")
    entered = {"csrf": _csrf(form.text), "email": MEMBER, "password": PASSWORD}
    assert visitor.client.post("/studio/sign-in", data=entered, follow_redirects=False).status_code == 303
    assert visitor.client.cookies["reelport-session"] != planted
    again.client.cookies.set("reelport-session", planted, domain="127.0.0.1", path="/")
    assert again.get("/studio/account").url.path == "/studio/sign-in"


def test_whoever_signed_out_is_out(visitors: Visitors) -> None:
    """The cookie that the browser had before is worth nothing."""
    visitor = visitors(OWNER)
    before = visitor.client.cookies["reelport-session"]
    visitor.send(visitor.get("/studio/account"), "/studio/sign-out")
    assert "reelport-session" not in visitor.client.cookies
    visitor.client.cookies.set("reelport-session", before)
    assert visitor.get("/studio/account").url.path == "/studio/sign-in"


@pytest.mark.parametrize("csrf", ["", "0" * 64, None])
def test_a_form_that_another_page_made_changes_nothing(visitors: Visitors, csrf: str | None) -> None:
    """A form without this session's token is refused, and the session goes on."""
    visitor, other = visitors(OWNER), visitors(MEMBER)
    given = _csrf(other.get("/studio/account").text) if csrf is None else csrf
    assert visitor.client.post("/studio/sign-out", data={"csrf": given}).status_code == 403
    assert visitor.get("/studio/account").url.path == "/studio/account"


def test_a_form_from_another_site_is_refused_even_with_the_token(visitors: Visitors) -> None:
    """What the browser says of where a form comes from counts."""
    visitor = visitors(OWNER)
    sent = visitor.client.post(
        "/studio/sign-out",
        data={"csrf": _csrf(visitor.get("/studio/account").text)},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert sent.status_code == 403


def test_cookies_are_for_our_host_and_for_no_script(people: Api) -> None:
    """By TLS they are bound to the host and to TLS; on plain HTTP they work as far as browsers let them."""
    plain = people.client.get("/studio/sign-in").headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    tls = people.client.get("https://testserver/studio/sign-in").headers["set-cookie"]
    assert tls.startswith("__Host-reelport-form=")
    assert "Secure" in tls
    assert "Path=/" in tls
    assert "Domain" not in tls


def test_another_password_ends_every_session(visitors: Visitors, people: Api) -> None:
    """Whoever knew the old password is out in all browsers."""
    email = "eve@demo.example"
    quick_users.add_user(people.service.db, "demo", email, "analyst", PASSWORD, datetime.now(UTC))
    visitor = visitors(email)
    users.change_password(people.service.db, email, "another long password")
    assert visitor.get("/studio/account").url.path == "/studio/sign-in"


def test_a_session_ends_when_it_is_not_used(people: Api) -> None:
    """Its life is moved on by use, but not beyond fourteen days."""
    db, secret, now = people.service.db, people.service.service_secret, datetime.now(UTC)
    life = timedelta(hours=12)
    session = sessions.begin_session(db, secret, Password(OWNER, PASSWORD), NO_BROWSER, now)
    assert isinstance(session, Session)
    assert sessions.find_session(db, secret, session.token, now + life - timedelta(seconds=1))
    assert sessions.find_session(db, secret, session.token, now + life) is None
    sessions.renew_session(db, session, NO_BROWSER, now + timedelta(hours=10))
    assert sessions.find_session(db, secret, session.token, now + timedelta(hours=21))
    sessions.renew_session(db, session, NO_BROWSER, now + timedelta(days=13, hours=23))
    assert sessions.find_session(db, secret, session.token, now + timedelta(days=14)) is None


def test_a_page_moves_the_end_of_its_session_on(visitors: Visitors, people: Api) -> None:
    """Where the session was last seen some minutes ago: its cookie comes again, and lives as long as a new one."""
    email, db, now = "busy@demo.example", people.service.db, datetime.now(UTC)
    user = quick_users.add_user(db, "demo", email, "analyst", PASSWORD, now)
    visitor = visitors(email)
    assert "set-cookie" not in visitor.get("/studio/account").headers
    with writing(db) as connection:
        idle = {"seen_at": now - timedelta(minutes=5), "expires_at": now + timedelta(minutes=30)}
        connection.execute(SESSIONS.update().where(SESSIONS.c.user_id == user.id).values(**idle))
    assert "set-cookie" in visitor.get("/studio/account").headers
    (session,) = sessions.list_sessions(db, user.id, now)
    assert session.seen_at >= now
    assert session.expires_at > now + timedelta(hours=1)


def test_a_session_of_another_secret_is_none(people: Api) -> None:
    """A cookie that another service signed is refused without a look at the state."""
    db, secret, now = people.service.db, people.service.service_secret, datetime.now(UTC)
    password = Password(OWNER, PASSWORD)
    session = sessions.begin_session(db, secret, password, NO_BROWSER, now)
    assert isinstance(session, Session)
    assert sessions.find_session(db, ServiceSecret(b"another secret of the service"), session.token, now) is None


def test_guesses_are_slowed_down_at_their_own_address_alone(visitors: Visitors, people: Api) -> None:
    """Beyond a burst of wrong passwords an address waits; the user's other addresses don't."""
    email = "guessed@demo.example"
    quick_users.add_user(people.service.db, "demo", email, "analyst", PASSWORD, datetime.now(UTC))
    visitor = visitors(None)
    assert guess_until_refused(lambda: visitor.sign_in(email, "a wrong password").status_code)[-1] == 429
    assert until(lambda: int(visitor.sign_in(email, "a wrong password").headers.get("retry-after", "0")) > 0)
    assert until(lambda: "Too many wrong passwords or codes" in visitor.sign_in(email, "a wrong password").text)
    assert people.service.login_attempts.begin("192.0.2.7", email) == 0


def test_the_log_tells_of_sign_ins_and_of_wrong_passwords_once_a_minute(visitors: Visitors, people: Api) -> None:
    """Guesses don't fill the log; a sign-in is in it with the user's address."""
    email = "logged@demo.example"
    quick_users.add_user(people.service.db, "demo", email, "analyst", PASSWORD, datetime.now(UTC))
    for _ in range(3):
        visitors(None).sign_in(email, "a wrong password")
    visitors(email)
    told = [each.action for each in audit_log.list_actions(people.service.db) if each.actor.name == email]
    assert told == ["signed in", "failed to sign in"]


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found
    return found[1]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process has loaded")
def test_the_explorers_engine_is_opened_while_somebody_signs_in(tmp_path: Path) -> None:
    """A process that has shown no page has no engine; after the sign-in's page it has one, before anybody asks."""
    with Service(tmp_path) as service:

        def has_engine() -> bool:
            return "_duckdb" in Path(f"/proc/{service.pid}/maps").read_text()

        assert not has_engine()
        assert httpx2.get(f"{service.url}/studio/sign-in", timeout=PATIENCE).status_code == 200
        assert until(has_engine)


LINK = re.compile(r"http://[^\s<]+(/studio/password/rpl_[A-Za-z0-9_-]+)")
PEOPLE = "/studio/people"


def find_id(people: Api, email: str) -> str:
    """A user's id."""
    return next(each.id for each in users.list_users(people.service.db) if each.email == email)


def find_link(page: httpx2.Response) -> str:
    """The path of the link that a page shows."""
    found = LINK.search(page.text)
    assert found is not None, page.text
    return found[1]


def test_a_new_person_sets_a_password_by_the_link_and_signs_in(visitors: Visitors) -> None:
    """The owner hands on a link that the page shows once; no cookie of the owner's is needed for it."""
    owner, new = visitors(OWNER), visitors(None)
    shown = owner.send(owner.get(PEOPLE), PEOPLE, email="new@demo.example", role="analyst")
    path = find_link(shown)
    assert path not in owner.get(PEOPLE).text
    for _ in range(3):  # as programs that check mail do
        assert new.client.head(path).status_code == 200
        page = new.get(path)
    assert "new@demo.example" in page.text
    done = new.send(page, path, new="first long password", again="first long password")
    assert (done.status_code, "The password is set" in done.text) == (200, True)
    assert new.sign_in("new@demo.example", "first long password").url.path != "/studio/sign-in"
    assert new.get(path).status_code == 404


def test_the_page_of_a_link_tells_nobody_its_address(visitors: Visitors) -> None:
    """Not by a Referer, nor by a cache, nor by the page that says it isn't valid."""
    owner = visitors(OWNER)
    path = find_link(owner.send(owner.get(PEOPLE), PEOPLE, email="quiet@demo.example", role="analyst"))
    visitor = visitors(None)
    page = visitor.get(path)
    refused = visitor.send(page, path, new="short", again="short")
    differ = visitor.send(page, path, new="one long password", again="other long password")
    for each in (page, refused, differ):
        assert each.headers["referrer-policy"] == "no-referrer"
        assert each.headers["cache-control"] == "no-store"
    assert (refused.status_code, differ.status_code) == (400, 400)
    assert "12 to 1,000 characters" in refused.text
    assert visitor.get(path).status_code == 200


def test_a_link_sets_the_password_whoever_is_signed_in_there(visitors: Visitors, people: Api) -> None:
    """An owner who opens it in the own browser stays who it is."""
    add_user(people.service, "kim@demo.example", "analyst")
    owner = visitors(OWNER)
    made = owner.send(owner.get(PEOPLE), f"{PEOPLE}/{find_id(people, 'kim@demo.example')}/password")
    path = find_link(made)
    assert visitors("kim@demo.example").get("/studio/account").url.path == "/studio/account"
    kim = visitors("kim@demo.example")
    owner.send(owner.get(path), path, new="kims next password", again="kims next password")
    assert OWNER in owner.get("/studio/account").text
    assert kim.get("/studio/account").url.path == "/studio/sign-in"
    assert visitors(None).sign_in("kim@demo.example", PASSWORD).status_code == 403


def test_wrong_links_are_limited_by_address_and_valid_ones_open(visitors: Visitors, people: Api) -> None:
    """Guessing is slowed down where it comes from, and nowhere else; a valid link works there all the same."""
    owner, visitor = visitors(OWNER), visitors(None)
    path = find_link(owner.send(owner.get(PEOPLE), PEOPLE, email="late@demo.example", role="analyst"))
    answers = guess_until_refused(lambda: visitor.get("/studio/password/rpl_guess").status_code)
    assert answers[0] == 404
    assert answers[-1] == 429
    assert people.service.login_attempts.begin("192.0.2.9", "link") == 0
    page = visitor.get(path)
    assert page.status_code == 200
    done = visitor.send(page, path, new="first long password", again="first long password")
    assert (done.status_code, visitor.get(path).status_code) == (200, 429)
    assert visitor.sign_in("late@demo.example", "first long password").url.path != "/studio/sign-in"


def test_a_defect_of_the_page_does_not_put_the_link_into_the_log() -> None:
    """Whatever logs the address of a page logs no token."""
    assert "abc" not in logs.redact_text("/studio/password/rpl_abc0123 failed, session rpw_abc0123")
