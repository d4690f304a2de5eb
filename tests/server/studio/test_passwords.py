"""Setting a password by a link: who may, what the page tells, and how often one may guess."""

from __future__ import annotations

import re

import httpx2
from tests.server.api import Api
from tests.server.studio.conftest import OWNER, Visitors
from tests.server.studio.visitor import PASSWORD, add_user, guess_until_refused

from reelport.server import logs
from reelport.server.access import users

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
