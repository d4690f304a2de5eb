"""Pages of the second factor: adding one, signing in with it, losing it."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from itertools import count

import httpx2
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient
from tests.server.api import Api
from tests.server.studio.conftest import OWNER, Visitors
from tests.server.studio.visitor import PASSWORD, Visitor, add_user, guess_until_refused

from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action
from reelport.server.access.second_factors import STEP_SECONDS, compute_code, derive_secret
from reelport.server.limits.rate_limits import hash_owner
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ATTEMPTS, AUTHENTICATORS, USERS

AUTHENTICATOR, CODE = "/studio/account/authenticator", "/studio/sign-in/code"
_NUMBERS = count()


class Guarded:
    """A user who has added an authenticator, with the browser in which that was done."""

    def __init__(self, people: Api, visitors: Visitors) -> None:
        self.people, self.email = people, f"guarded-{next(_NUMBERS)}@demo.example"
        add_user(people.service, self.email, "analyst")
        self.visitor = visitors(self.email)
        self.before = self.visitor.client.cookies["reelport-session"]
        page = self.visitor.get(AUTHENTICATOR)
        self.page = self.visitor.send(page, AUTHENTICATOR, code=self.code_of(page), password=PASSWORD)
        self.recovery_codes = re.findall(r"(?:[a-z0-9]{4}-){3}[a-z0-9]{4}", self.page.text)

    @staticmethod
    def code_of(page: httpx2.Response) -> str:
        """The code of the secret that a page shows, as a telephone computes it."""
        secret = re.search(r"<pre[^>]*>([A-Z2-7 ]+)</pre>", page.text)
        assert secret
        return compute_code(base64.b32decode(secret[1].replace(" ", "")), _now_step())

    def code(self) -> str:
        """A code that counts now: of the step after the last one that was used."""
        with writing(self.people.service.db) as connection:
            own = USERS.c.email == self.email
            user_id = connection.execute(USERS.select().where(own)).one().id
            mine = AUTHENTICATORS.c.user_id == user_id
            seed = connection.execute(AUTHENTICATORS.select().where(mine)).one().seed
            connection.execute(AUTHENTICATORS.update().where(mine).values(last_step=0))
        return compute_code(derive_secret(self.people.service.service_secret, bytes.fromhex(seed)), _now_step())


def _now_step() -> int:
    return int(datetime.now(UTC).timestamp()) // STEP_SECONDS


def _browse_from(address: str, people: Api) -> Visitor:
    visitor = Visitor(people.client)
    visitor.client = TestClient(people.client.app, base_url="http://127.0.0.1:8642", client=(address, 1))
    visitor.client.portal = people.client.portal
    return visitor


@pytest.fixture
def guarded(people: Api, visitors: Visitors) -> Guarded:
    """A user with an authenticator."""
    return Guarded(people, visitors)


def test_an_authenticator_is_added_and_asked_for(guarded: Guarded, visitors: Visitors) -> None:
    """The page shows recovery codes once; after the password a page asks for the code, and leads on."""
    assert (guarded.page.status_code, len(guarded.recovery_codes)) == (200, 10)
    assert not re.search(r"(?:[a-z0-9]{4}-){3}", guarded.visitor.get(AUTHENTICATOR).text)
    visitor = visitors(None)
    form = visitor.get("/studio/account?a=1")
    page = visitor.send(form, "/studio/sign-in", email=guarded.email, password=PASSWORD)
    assert page.url.path == CODE
    assert "reelport-session" not in visitor.client.cookies
    assert visitor.get("/studio/account").url.path == "/studio/sign-in", "the password alone opens nothing"
    page = visitor.send(page, CODE, code=guarded.code())
    assert (page.status_code, str(page.url).partition("/studio")[2]) == (200, "/account?a=1")
    assert "reelport-halfway" not in visitor.client.cookies


def test_the_session_after_a_new_factor_is_another_one(guarded: Guarded, visitors: Visitors) -> None:
    """Whoever had copied the cookie before is out, and this browser goes on: the forms of its page work."""
    assert guarded.visitor.client.cookies["reelport-session"] != guarded.before
    thief = visitors(None)
    thief.client.cookies.set("reelport-session", guarded.before, domain="127.0.0.1", path="/")
    assert thief.get("/studio/account").url.path == "/studio/sign-in"
    assert guarded.visitor.send(guarded.page, "/studio/sign-out").url.path == "/studio/sign-in"


def test_guesses_of_codes_are_few_however_often_the_password_is_sent(guarded: Guarded, visitors: Visitors) -> None:
    """The right password in between gives no guess back."""
    visitor = visitors(None)

    def guess() -> int:
        page = visitor.sign_in(guarded.email)
        return page.status_code if page.url.path != CODE else visitor.send(page, CODE, code="000000").status_code

    statuses = guess_until_refused(guess)
    assert statuses[-1] == 429
    assert len(statuses) < 20


def test_guesses_of_codes_are_few_from_however_many_addresses(guarded: Guarded, people: Api) -> None:
    """Whoever has the password and a thousand machines has no more guesses at the code than with one."""
    numbers = count(1)

    def guess() -> int:
        visitor = _browse_from(f"198.51.100.{next(numbers)}", people)
        page = visitor.sign_in(guarded.email)
        assert page.url.path == CODE
        return visitor.send(page, CODE, code="000000").status_code

    statuses = guess_until_refused(guess, 60)
    assert statuses[-1] == 429
    assert len(statuses) < 40


def test_right_codes_give_no_guesses_at_others_back(guarded: Guarded) -> None:
    """Else somebody with an account could try one password on any number of people from one address."""
    service, address = guarded.people.service, "203.0.113.9"
    visitor, again = (_browse_from(address, guarded.people) for _ in range(2))

    def find_end() -> datetime:
        with reading(service.db) as connection:
            own = select(ATTEMPTS.c.full_at).where(ATTEMPTS.c.owner == hash_owner(address).hex())
            found: datetime = connection.execute(own).scalar_one()
            return found

    for number in range(90):
        service.login_attempts.begin(address, f"somebody-{number}@demo.example")
    before, page = find_end(), visitor.sign_in(guarded.email)
    again.client.cookies.update(visitor.client.cookies)
    for browser, code in ((visitor, guarded.recovery_codes[0]), (again, guarded.recovery_codes[1])):
        assert browser.send(page, CODE, follow=False, code=code).status_code == 303
    assert find_end() == before


def test_wrong_codes_are_in_the_log(guarded: Guarded, visitors: Visitors) -> None:
    """An owner sees that somebody has the password."""
    visitor = visitors(None)
    visitor.send(visitor.sign_in(guarded.email), CODE, code="000000")
    found = audit_log.list_actions(guarded.people.service.db, action=Action.SIGN_IN_FAILED, actor=guarded.email)
    assert len(found) == 1


def test_a_code_needs_the_password_before_it(guarded: Guarded, visitors: Visitors) -> None:
    """The form without its cookie leads to the sign-in, and so does another browser's text in that cookie."""
    visitor, other = visitors(None), visitors(None)
    page = visitor.sign_in(guarded.email)
    visitor.client.cookies.delete("reelport-halfway")
    assert visitor.send(page, CODE, code=guarded.recovery_codes[1]).url.path == "/studio/sign-in"
    other.client.cookies.set("reelport-halfway", "rph_nonsense", domain="127.0.0.1", path="/")
    assert other.get(CODE).url.path == "/studio/sign-in"


def test_a_stolen_session_changes_no_factor(guarded: Guarded) -> None:
    """Neither removes nor renews anything without a code, and its own user can't reset it as an owner."""
    for action in (f"{AUTHENTICATOR}/remove", "/studio/account/recovery-codes"):
        page = guarded.visitor.get(AUTHENTICATOR)
        assert guarded.visitor.send(page, action, code="000000").status_code == 403
    page = guarded.visitor.get(AUTHENTICATOR)
    page = guarded.visitor.send(page, f"{AUTHENTICATOR}/remove", code=guarded.recovery_codes[2])
    assert "password alone signs you in" in page.text


def test_an_owner_resets_what_somebody_lost(guarded: Guarded, visitors: Visitors) -> None:
    """Then the password alone signs in; the log names owner and person. Another organization's person isn't found."""
    owner, other_owner = visitors(OWNER), f"other-{guarded.email}"
    add_user(guarded.people.service, other_owner, "owner")
    with reading(guarded.people.service.db) as connection:
        user = connection.execute(USERS.select().where(USERS.c.email == guarded.email)).one().id
        own = connection.execute(USERS.select().where(USERS.c.email == OWNER)).one().id
    page = owner.get("/studio/people")
    form = {"csrf": owner.csrf}
    assert owner.client.post(f"/studio/people/{own}/factors", data=form).status_code == 404
    with reading(guarded.people.service.db) as connection:
        other = connection.execute(USERS.select().where(USERS.c.email == other_owner)).one().id
    refused = owner.client.post(f"/studio/people/{other}/factors", data=form)
    assert (refused.status_code, "Only the operator of the platform" in refused.text) == (422, True)
    assert f"/studio/people/{other}/factors" not in page.text
    assert owner.client.post("/studio/people/rpu_nobody/factors", data=form).status_code == 404
    assert owner.send(page, f"/studio/people/{user}/factors").status_code == 200
    assert visitors(None).sign_in(guarded.email).url.path != CODE
    found = audit_log.list_actions(guarded.people.service.db, action=Action.FACTORS_RESET)
    assert (found[0].actor.name, found[0].subject) == (OWNER, guarded.email)


def test_the_picture_keeps_to_the_policy(people: Api, visitors: Visitors) -> None:
    """The code is drawn within the page: no style, no script, nothing to load. Its secret is nowhere in the address."""
    add_user(people.service, "scan@demo.example", "analyst")
    page = visitors("scan@demo.example").get(AUTHENTICATOR)
    assert "<svg" in page.text
    assert " style=" not in page.text
    assert "otpauth://totp/Reelport:scan@demo.example?secret=" in page.text
    assert page.headers["cache-control"] == "no-store"
