"""Passkeys over plain HTTP: what a browser would never send, too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.server.api import Api, open_api
from tests.server.studio.conftest import OWNER, Visitors
from tests.server.studio.device import Device, find_options
from tests.server.studio.visitor import PASSWORD, Visitor, add_user, guess_until_refused

from reelport.server.access import audit_log, grants, keys, passkeys, second_factors, users
from reelport.server.access.audit_log import Action
from reelport.server.access.grants import ClientCredentials, Grant, Password, Refusal, Terms
from reelport.server.access.passkeys import Answer, Site
from reelport.server.settings import read_settings
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import PASSKEYS, RECOVERY_CODES

FACTORS, CODE, SIGN_IN = "/studio/account/authenticator", "/studio/sign-in/code", "/studio/sign-in/passkey"
_NUMBERS = count(1)
Browsers = Callable[[], Visitor]


@pytest.fixture
def browsers(people: Api) -> Iterator[Browsers]:
    """Makes browsers, each at an address of its own: what one tries too often keeps no other waiting."""
    made: list[Visitor] = []

    def make() -> Visitor:
        visitor = Visitor(people.client)
        number = next(_NUMBERS)
        address = f"198.51.{number // 250}.{number % 250}"
        visitor.client = TestClient(people.client.app, base_url="http://127.0.0.1:8642", client=(address, 1))
        visitor.client.portal = people.client.portal
        made.append(visitor)
        return visitor

    yield make
    for each in made:
        each.client.close()


class Owned:
    """A person with a passkey, and the browser in which it was added."""

    def __init__(self, people: Api, browsers: Browsers) -> None:
        self.people, self.browsers, self.device = people, browsers, Device()
        self.email = f"passkey-{next(_NUMBERS)}@demo.example"
        add_user(people.service, self.email, "analyst")
        self.visitor = browsers()
        self.visitor.sign_in(self.email)
        self.page = self.add(self.device)
        self.recovery_codes = re.findall(r"(?:[a-z0-9]{4}-){3}[a-z0-9]{4}", self.page.text)

    def add(self, device: Device, *, password: str = PASSWORD, **how: bool) -> httpx2.Response:
        """Add a passkey of a device."""
        page = self.visitor.get(FACTORS)
        credential = device.create(find_options(page.text, "new"), **how)
        name, path = "My <b>laptop</b>", "/studio/account/passkeys"
        return self.visitor.send(page, path, name=name, password=password, credential=credential)

    def sign_in(self, device: Device | None = None, **how: object) -> int:
        """Sign in by a passkey in a new browser, and give the answer's status: 303 or 403."""
        visitor = self.browsers()
        page = visitor.get("/studio/sign-in")
        credential = (device or self.device).answer(find_options(page.text, "passkey"), **how)  # type: ignore[arg-type]
        return visitor.send(page, SIGN_IN, credential=credential, follow=False).status_code

    def count_passkeys(self) -> int:
        """How many passkeys the person has."""
        db = self.people.service.db
        return len(second_factors.read_factors(db, users.get_user_id(db, self.email)).passkeys)


@pytest.fixture
def owned(people: Api, browsers: Browsers) -> Owned:
    """A person with a passkey."""
    return Owned(people, browsers)


def test_a_passkey_stands_for_both_factors(owned: Owned) -> None:
    """It signs in alone; the password alone doesn't any more, nor gets a code of somebody who has no authenticator."""
    assert (owned.page.status_code, len(owned.recovery_codes)) == (200, 10)
    assert owned.sign_in() == 303
    found = audit_log.list_actions(owned.people.service.db, action=Action.SIGNED_IN, actor=owned.email)
    assert found[0].details == {"by": "a passkey"}
    visitor = owned.browsers()
    page = visitor.sign_in(owned.email)
    assert page.url.path == CODE
    assert visitor.send(page, CODE, code="000000").status_code == 403
    page = visitor.get(CODE)
    assert visitor.send(page, CODE, credential="", code=owned.recovery_codes[0]).url.path != CODE
    assert "My &lt;b&gt;laptop" in owned.visitor.get(FACTORS).text


def test_a_passkey_is_the_second_factor_of_its_own_user_alone(owned: Owned, people: Api, browsers: Browsers) -> None:
    """Whoever has the password of one person and the passkey of another one gets into neither account by both."""
    other = Owned(people, browsers)
    for owner, path in ((other, CODE), (owned, "/studio/overview")):
        visitor = browsers()
        page = visitor.sign_in(owned.email)
        options = find_options(page.text, "passkey")
        form = next(each for each in re.split("<form", page.text) if 'id="passkey"' in each)
        fields = dict(re.findall(r'name="(csrf|challenge)" value="([^"]*)"', form))
        answer = visitor.client.post(CODE, data={**fields, "credential": owner.device.answer(options)})
        assert answer.url.path == path


def test_an_answer_is_worth_something_once(owned: Owned) -> None:
    """Whoever saw it sends it again from the same browser, whose device counts nothing."""
    visitor = owned.browsers()
    page = visitor.get("/studio/sign-in")
    credential = owned.device.answer(find_options(page.text, "passkey"))
    assert visitor.send(page, SIGN_IN, credential=credential, follow=False).status_code == 303
    visitor.client.cookies.delete("reelport-session")
    assert visitor.send(page, SIGN_IN, credential=credential, follow=False).status_code == 403


def test_an_answer_to_another_browser_is_worth_nothing(owned: Owned) -> None:
    """A challenge that somebody has fetched and another person's device has signed signs nobody in."""
    mine, theirs = owned.browsers(), owned.browsers()
    page, their_page = mine.get("/studio/sign-in"), theirs.get("/studio/sign-in")
    options = find_options(their_page.text, "passkey")
    credential = owned.device.answer(options)
    challenge = re.search(r'name="challenge" value="([^"]*)"', their_page.text)
    assert challenge
    assert mine.send(page, SIGN_IN, credential=credential).status_code == 403
    assert mine.send(page, SIGN_IN, credential=credential, challenge=challenge[1]).status_code == 403
    assert theirs.send(their_page, SIGN_IN, credential=credential, follow=False).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://127.0.0.1:8643"},
        {"origin": "https://127.0.0.1:8642"},
        {"origin": "http://127.0.0.1:8642.evil.example"},
        {"host": "evil.example"},
        {"host": "localhost"},
    ],
    ids=str,
)
def test_an_answer_for_another_host_is_worth_nothing(owned: Owned, wrong: dict[str, str]) -> None:
    """Neither signs it in, nor is a passkey of it added."""
    assert owned.sign_in(replace(owned.device, **wrong)) == 403  # type: ignore[arg-type]
    assert owned.add(Device(**wrong)).status_code == 403  # type: ignore[arg-type]
    assert owned.count_passkeys() == 1


def test_a_device_must_verify_its_user(owned: Owned) -> None:
    """Whoever found the device signs in nobody; one that verifies nobody is not added."""
    assert owned.sign_in(verified=False) == 403
    assert owned.add(Device(), verified=False).status_code == 403
    assert owned.sign_in() == 303


def test_a_signature_of_another_key_is_worth_nothing(owned: Owned) -> None:
    """Or one of another kind of answer, or for another person, though the passkey is known."""
    assert owned.sign_in(replace(Device(), id=owned.device.id, user=owned.device.user)) == 403
    assert owned.sign_in(kind="webauthn.create") == 403
    assert owned.sign_in(replace(owned.device, user="cnB1X25vYm9keQ")) == 403
    assert owned.sign_in(Device()) == 403


def test_a_counter_that_does_not_go_on_tells_of_a_copy(owned: Owned) -> None:
    """The device signs on beyond what it signed last; a copy of its key signs what was signed."""
    owned.device.count = 5
    assert owned.sign_in() == 303
    for stale in (5, 4, 0):
        owned.device.count = stale
        assert owned.sign_in() == 403
    owned.device.count = 6
    assert owned.sign_in() == 303


_DEEP = "[" * 20_000
_WRONG = (
    "{",
    "null",
    "[]",
    '"x"',
    _DEEP,
    '{"id":' + _DEEP,
    "{}",
    '{"id":1,"rawId":2,"type":3,"response":4}',
    '{"id":"AA","rawId":"A","type":"public-key","response":{"clientDataJSON":"A","authenticatorData":"A","signature":"A"}}',
    '{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"AA","attestationObject":"AA"}}',
    '{"id":"\ud800"}'.encode("utf-8", "replace").decode(),
    '{"id":"\\ud800","rawId":"\\ud800","type":"public-key","response":{"clientDataJSON":"","authenticatorData":""}}',
    '{"id":"' + "A" * 60_000 + '"}',
    '{"id":' + "9" * 5_000 + "}",
)


@pytest.mark.parametrize("credential", _WRONG, ids=lambda text: text[:20])
def test_a_text_that_is_no_answer_is_refused_with_a_page(owned: Owned, credential: str) -> None:
    """However it is wrong: at the sign-in, as a new passkey, and as the second factor."""
    visitor = owned.browsers()
    page = visitor.get("/studio/sign-in")
    assert visitor.send(page, SIGN_IN, credential=credential).status_code == 403
    page = visitor.sign_in(owned.email)
    form = next(each for each in re.split("<form", page.text) if 'id="passkey"' in each)
    fields = dict(re.findall(r'name="(csrf|challenge)" value="([^"]*)"', form))
    assert visitor.client.post(CODE, data={**fields, "credential": credential}).status_code == 403
    page = owned.visitor.get(FACTORS)
    path = "/studio/account/passkeys"
    assert owned.visitor.send(page, path, name="x", password=PASSWORD, credential=credential).status_code == 403


def test_answers_are_limited_in_length_and_number(owned: Owned) -> None:
    """An address waits after some that are wrong; another one signs in meanwhile."""
    visitor = owned.browsers()
    page = visitor.get("/studio/sign-in")
    assert visitor.send(page, SIGN_IN, credential="x" * 70_000).status_code == 413

    def guess() -> int:
        return visitor.send(page, SIGN_IN, credential="{}").status_code

    assert guess_until_refused(guess)[-1] == 429
    assert owned.sign_in() == 303


def test_a_stolen_session_changes_no_passkey(owned: Owned) -> None:
    """Adding one takes the password, removing one a code or a passkey; nobody gets hold of another one's."""
    assert owned.add(Device(), password="a wrong password").status_code == 403  # noqa: S106 - of tests alone
    removal = "/studio/account/passkeys/remove"
    page = owned.visitor.get(FACTORS)
    for code in ("", "000000"):
        assert owned.visitor.send(page, removal, code=code).status_code == 403
    assert owned.add(owned.device).status_code == 403, "the same one again"
    assert owned.count_passkeys() == 1
    other = Owned(owned.people, owned.browsers)
    page = other.visitor.get(FACTORS)
    with reading(owned.people.service.db) as connection:
        user_id = users.find_user_id(connection, owned.email)
        foreign = passkeys.list_passkeys(connection, user_id)[0].id
    assert other.visitor.send(page, removal, passkey=foreign, code=other.recovery_codes[0]).status_code == 403
    given = {"csrf": other.visitor.csrf, "name": "x"}
    renamed = other.visitor.client.post(f"/studio/account/passkeys/{foreign}/rename", data=given)
    assert renamed.status_code == 404
    assert owned.sign_in() == 303


def test_recovery_codes_stay_until_the_last_factor_goes(owned: Owned) -> None:
    """One of two passkeys is removed by the other one, and the second by a code: then the password alone signs in."""
    db, second = owned.people.service.db, Device()
    assert owned.add(second).url.path == FACTORS, "no other codes are made"
    removal = "/studio/account/passkeys/remove"
    page = owned.visitor.get(FACTORS)
    first, last = re.findall(r'<option value="([a-z0-9]+)">My', page.text)
    answer = second.answer(find_options(page.text, "removal"))
    assert owned.visitor.send(page, removal, passkey=first, credential=answer).is_success
    assert owned.sign_in() == 403
    assert owned.sign_in(second) == 303
    page = owned.visitor.get(FACTORS)
    assert owned.visitor.send(page, removal, passkey=last, code=owned.recovery_codes[0]).is_success
    assert owned.count_passkeys() == 0
    with reading(db) as connection:
        mine = RECOVERY_CODES.c.user_id == users.find_user_id(connection, owned.email)
        assert connection.execute(RECOVERY_CODES.select().where(mine)).all() == []
    assert owned.sign_in(second) == 403
    assert owned.browsers().sign_in(owned.email).url.path != CODE
    found = audit_log.list_actions(db, actor=owned.email)
    told = {each.action for each in found}
    assert {"added a passkey", "removed a passkey"} <= told


def test_a_challenge_is_short_lived(owned: Owned) -> None:
    """Five minutes after its page nothing answers it."""
    service, site, now = owned.people.service, Site.of("http://127.0.0.1:8642"), owned.people.service_now()
    challenge = passkeys.make_challenge(service.service_secret, "browser", now)
    given = Answer(site, "browser", challenge, owned.device.answer(json.loads(passkeys.write_request(site, challenge))))
    check = passkeys.check_answer
    late = now + passkeys.CHALLENGE_LIFE + timedelta(seconds=1)
    assert check(service.db, service.service_secret, given, late) is None
    assert check(service.db, service.service_secret, replace(given, browser="another"), now) is None
    assert check(service.db, service.service_secret, given, now) is not None


@pytest.mark.parametrize(
    ("address", "origin", "host"),
    [
        ("https://Reports.example/base/", "https://reports.example", "reports.example"),
        ("https://reports.example:443", "https://reports.example", "reports.example"),
        ("https://reports.example:8443/", "https://reports.example:8443", "reports.example"),
        ("http://localhost:80", "http://localhost", "localhost"),
        ("http://localhost:8642", "http://localhost:8642", "localhost"),
    ],
)
def test_a_site_is_that_of_the_public_address(address: str, origin: str, host: str) -> None:
    """As browsers write it: without path and usual port, in small letters."""
    assert Site.of(address) == Site(origin, host)


def test_behind_a_proxy_passkeys_are_those_of_the_public_host(tmp_path: Path) -> None:
    """Whatever host the request names: one that a phishing page relays, or the address of the machine itself."""
    with open_api(read_settings(data=tmp_path, workers=0, public_url="https://reports.example/")) as named:

        def browse(host: str) -> Visitor:
            visitor = Visitor(named.client)
            visitor.client = TestClient(named.client.app, base_url=f"https://{host}")
            visitor.client.portal = named.client.portal
            return visitor

        owned = Owned(named, lambda: browse("10.0.0.7"))
        assert owned.count_passkeys() == 0, "the device made it for another host"
        device = Device("https://reports.example", "reports.example")
        assert owned.add(device).status_code == 200
        assert owned.sign_in(device) == 303
        for wrong in (Device("https://10.0.0.7", "10.0.0.7"), replace(device, origin="https://10.0.0.7")):
            assert owned.sign_in(replace(wrong, id=device.id, user=device.user, _key=device._key)) == 403  # noqa: SLF001
        page = browse("evil.example").get("/studio/sign-in")
        assert find_options(page.text, "passkey")["rpId"] == "reports.example"


def test_a_passkey_keeps_programs_out_and_is_reset_by_an_owner(owned: Owned, people: Api, visitors: Visitors) -> None:
    """A public key gets no token by the password alone; after the reset the password signs in, and no passkey."""
    db, secret, now = people.service.db, people.service.service_secret, people.service_now()
    key = keys.create_key(db, secret, "demo", ("read_reports",), now, kind="public")
    given = ClientCredentials(key.id, key.secret), Password(owned.email, PASSWORD), (), now, Terms(60, timedelta(1))
    assert grants.grant_by_password(db, secret, *given) is Refusal.INVALID_GRANT
    owner = visitors(OWNER)
    user_id = users.get_user_id(db, owned.email)
    assert owner.send(owner.get("/studio/people"), f"/studio/people/{user_id}/factors").is_success
    assert owned.sign_in() == 403
    assert isinstance(grants.grant_by_password(db, secret, *given), Grant)


def test_a_user_has_a_bounded_number_of_passkeys(owned: Owned) -> None:
    """Another one is refused with a sentence."""
    db = owned.people.service.db
    with writing(db) as connection:
        mine = PASSKEYS.c.user_id == users.find_user_id(connection, owned.email)
        (row,) = connection.execute(PASSKEYS.select().where(mine)).mappings()
        for number in range(passkeys.MOST - 1):
            other = f"{owned.email}-{number}"
            connection.execute(PASSKEYS.insert().values({**row, "id": other, "credential_id": other}))
    page = owned.add(Device())
    assert page.status_code == 403
    assert "as many passkeys as one person may have" in page.text
