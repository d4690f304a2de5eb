"""A second factor that the operator demands: nothing of Studio is shown before it is set up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import httpx2
import pytest
from tests.server.api import Api, open_api
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, VIEWER, Visitors
from tests.server.studio.device import Device, find_options
from tests.server.studio.oidc.conftest import GROUPS, Arrive, is_signed_in, know
from tests.server.studio.oidc.false_provider import CLIENT, SECRET, FalseProvider
from tests.server.studio.test_second_factors import AUTHENTICATOR, CODE, Guarded
from tests.server.studio.visitor import Visitor, find_forms

from reelport import UsageError
from reelport.server.access import second_factors, sessions
from reelport.server.access.roles import Role, demands_factor
from reelport.server.settings import read_settings
from reelport.server.state.database import writing
from reelport.server.state.tables import SESSIONS
from reelport.server.studio.rights import BEFORE_FACTOR, RIGHTS
from reelport.server.studio.routes import ROUTES

PASSKEYS = "/studio/account/passkeys"
# Who must have one, by the setting: those who sign in by a password, and those of the provider.
DEMANDED: dict[str, tuple[set[Role], set[Role]]] = {
    "optional": (set(), set()),
    "operators": ({Role.OPERATOR}, set()),
    "owners": ({Role.OPERATOR, Role.OWNER}, set()),
    "passwords": (set(Role), set()),
    "everyone": (set(Role), set(Role)),
}


@pytest.fixture(scope="module")
def api(served: FalseProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An app that demands a second factor of everyone."""
    address = served.url.replace("://", f"://{CLIENT}:{quote(SECRET)}@")
    given = {"oidc_url": address, "oidc_groups": GROUPS, "second_factor": "everyone"}
    with open_api(read_settings(data=tmp_path_factory.mktemp("data"), workers=0, **given)) as api:
        yield api


@pytest.mark.parametrize("of_whom", DEMANDED)
def test_the_setting_says_who_must_have_a_factor(of_whom: str) -> None:
    """The provider's own factor is trusted, unless one is demanded of everyone."""
    found = [
        {role for role in Role if demands_factor(of_whom, role, is_by_provider=is_by_provider)}
        for is_by_provider in (False, True)
    ]
    assert tuple(found) == DEMANDED[of_whom]


@pytest.mark.long
@pytest.mark.parametrize("email", [OWNER, MEMBER, VIEWER, OPERATOR])
def test_before_the_factor_every_page_leads_to_it(visitors: Visitors, email: str) -> None:
    """No page, no form and no file of Studio, but to set it up and to sign out; the menu is empty."""
    visitor, wrong = visitors(email), {}
    for route in ROUTES:
        if route.path == "/studio/sign-out":
            continue
        path = route.path.replace("{", "").replace("}", "")
        answer = visitor.client.request(route.method, path, follow_redirects=False)
        is_led = (answer.status_code, answer.headers.get("location")) == (303, AUTHENTICATOR)
        if is_led == (route.right in BEFORE_FACTOR):
            wrong[f"{route.method} {route.path}"] = answer.status_code
    assert not wrong
    page = visitor.get("/studio")
    assert (page.url.path, "asks you for a second factor" in page.text) == (AUTHENTICATOR, True)
    assert 'href="/studio/explore"' not in page.text
    assert visitor.send(page, "/studio/sign-out").url.path == "/studio/sign-in"


def test_every_role_may_set_up_its_factor() -> None:
    """Else somebody could neither go on nor do what is demanded."""
    assert all(rights >= BEFORE_FACTOR for role, rights in RIGHTS.items() if role is not None)


def test_after_the_factor_studio_opens(people: Api, visitors: Visitors) -> None:
    """At once, in the browser in which it was added."""
    guarded = Guarded(people, visitors)
    assert len(guarded.recovery_codes) == 10
    assert is_signed_in(guarded.visitor)
    text = guarded.visitor.get(AUTHENTICATOR).text
    assert "asks you for a second factor" not in text
    assert "Studio then asks you for another one" in text
    assert "the password alone then signs you in" not in text


class Comer:
    """Somebody who comes by the provider, and adds an authenticator without a password."""

    def __init__(self, provider: FalseProvider, arrive: Arrive, visitor: Visitor, subject: str) -> None:
        self.email, self.visitor = know(provider, subject, "staff"), visitor
        assert arrive(visitor, subject).status_code == 303

    def add(self) -> httpx2.Response:
        """Add an authenticator."""
        page = self.visitor.get("/studio/explore")
        form = next(form for form in find_forms(page.text) if form.action == AUTHENTICATOR)
        assert "password" not in form.names
        return self.visitor.send(page, AUTHENTICATOR, code=Guarded.code_of(page))


def test_whom_the_provider_signs_in_adds_a_factor_without_a_password(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """And is asked for it after the provider, from then on."""
    comer = Comer(provider, arrive, visitors(None), "ann")
    codes = comer.add()
    assert (codes.status_code, "Recovery codes" in codes.text) == (200, True)
    assert is_signed_in(comer.visitor)
    again = visitors(None)
    answer = arrive(again, "ann", "/studio/account?a=1")
    assert httpx2.URL(answer.headers["location"]).path == CODE
    assert not is_signed_in(again)
    page = again.get(answer.headers["location"])
    assert again.send(page, CODE, code="000000").status_code == 403
    recovery = codes.text.partition('id="once"')[2].partition(">")[2].partition("\n")[0]
    assert str(again.send(page, CODE, code=recovery, follow=False).headers["location"]) == "/studio/account?a=1"
    assert is_signed_in(again)


def test_an_old_session_of_the_provider_adds_no_factor(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """There is no password to ask for: a stolen session must not be enough."""
    comer, service = Comer(provider, arrive, visitors(None), "bob"), people.service
    page, now = comer.visitor.get(AUTHENTICATOR), people.service_now()
    token = comer.visitor.client.cookies["reelport-session"]
    session = sessions.find_session(service.db, service.service_secret, token, now)
    assert session is not None
    old = replace(session, created_at=now - timedelta(minutes=11))
    offer = next(value for form in find_forms(page.text) for name, value in form.fields if name == "offer")
    given = offer, "", Guarded.code_of(page), sessions.Browser("", ""), now
    with pytest.raises(UsageError, match="more than ten minutes ago"):
        second_factors.add_authenticator(service.db, service.service_secret, old, *given)
    assert comer.add().status_code == 200


def test_a_new_factor_does_not_put_the_provider_off(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """The next session is as old as the one before: else factors, added in turn, would make it last for ever."""
    comer, service = Comer(provider, arrive, visitors(None), "eve"), people.service

    def find() -> sessions.Session:
        token = comer.visitor.client.cookies["reelport-session"]
        session = sessions.find_session(service.db, service.service_secret, token, people.service_now())
        assert session is not None
        return session

    first = find()
    aged = first.created_at - timedelta(minutes=9)
    with writing(service.db) as connection:
        connection.execute(SESSIONS.update().where(SESSIONS.c.id == first.id).values(created_at=aged))
    assert comer.add().status_code == 200
    second = find()
    assert second.id != first.id
    assert second.created_at == aged
    assert second.expires_at <= aged + timedelta(hours=12)


def test_a_passkey_does_not_stand_for_the_provider(provider: FalseProvider, visitors: Visitors, arrive: Arrive) -> None:
    """Who lost the access there would come in by it. After the provider, it is the second factor."""
    comer, device = Comer(provider, arrive, visitors(None), "cid"), Device()
    page = comer.visitor.get(AUTHENTICATOR)
    credential = device.create(find_options(page.text, "new"))
    assert comer.visitor.send(page, PASSKEYS, name="Laptop", credential=credential).status_code == 200
    assert is_signed_in(comer.visitor)
    alone = visitors(None)
    page = alone.get("/studio/sign-in")
    answer = device.answer(find_options(page.text, "passkey"))
    assert alone.send(page, "/studio/sign-in/passkey", credential=answer).status_code == 403
    assert not is_signed_in(alone)
    page = alone.get(arrive(alone, "cid").headers["location"])
    form = next(form for form in find_forms(page.text) if "credential" in form.names)
    fields = {**dict(form.fields), "credential": device.answer(find_options(page.text, "passkey"))}
    assert alone.client.post(CODE, data=fields).status_code == 200
    assert is_signed_in(alone)
