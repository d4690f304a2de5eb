"""Sign-in in a real browser: by an OpenID Connect provider (npm `oidc-provider`), by Chromium's virtual passkeys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect
from tests import quick_users
from tests.browser.studio import PASSWORD, Studio, find_faults
from tests.npm_programs import start_node
from tests.warm_service import Service

from reelport.server.access import organizations
from reelport.server.state.database import connected

SECRET = "the secret of this client: as long as one"  # noqa: S105 - of tests alone
ADA = "ada@sso.example"


@dataclass(frozen=True)
class Door:
    """Studio with the provider's people in a file."""

    studio: Studio
    people: Path

    def know(self, *groups: str) -> None:
        """Let the provider know Ada, in these groups."""
        claims = {"email": ADA, "email_verified": True, "groups": groups}
        self.people.write_text(json.dumps({"ada": claims}))

    def enter(self, page: Page) -> None:
        """Sign in as Ada on the pages of the provider."""
        self.studio.follow(page.get_by_role("link", name="Sign in with your organization"))
        page.get_by_placeholder("Enter any login").fill("ada")
        page.get_by_placeholder("and password").fill("whatever")
        self.studio.follow(page.get_by_role("button", name="Sign-in"))
        self.studio.follow(page.get_by_role("button", name="Continue"))


@pytest.fixture
def door(chromium: Browser, tmp_path: Path) -> Iterator[Door]:
    """A service whose people come by a provider."""
    people = tmp_path / "people.json"
    process = start_node(tmp_path, Path(__file__).with_name("provider.mjs"), people)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        issuer = f"http://reelport:{quote(SECRET)}@127.0.0.1:{process.stdout.readline().strip()}"
        groups = "acme-heads=acme:owner, acme-staff=acme:analyst"
        with Service(tmp_path / "data", workers=0, oidc_url=issuer, oidc_groups=groups) as service:
            with connected(service.settings) as db:
                organizations.add_organization(db, "acme", datetime.now(UTC))
            process.stdin.write(f"{service.url}/studio/oidc/callback\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            studio = Studio(service, chromium, tmp_path)
            yield Door(studio, people)
            studio.close(failed=False)
        process.stdin.close()


def test_a_person_comes_and_goes_by_the_provider(door: Door) -> None:
    """From the page that was asked for, by the provider's own pages, to that page; out of both; and not in any more."""
    door.know("acme-staff")
    page = door.studio.open("/studio/account?from=here")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert find_faults(page) == {}
    door.enter(page)
    assert page.url == f"{door.studio.service.url}/studio/account?from=here"
    expect(page.get_by_text(f"{ADA}, analyst of acme.")).to_be_visible()
    assert find_faults(page) == {}

    door.studio.follow(page.get_by_role("button", name="Sign out", exact=True))
    door.studio.follow(page.get_by_role("link", name="Sign out at your organization, too"))
    door.studio.follow(page.get_by_role("button", name="Yes, sign me out"))
    assert page.url.startswith(f"{door.studio.service.url}/studio/sign-in")

    door.know("acme-heads")
    door.enter(page)
    door.studio.follow(page.get_by_role("link", name="People"))
    expect(page.get_by_role("row", name=ADA)).to_contain_text("signs in by the provider")
    assert find_faults(page) == {}

    door.know()
    again = door.studio.open("/studio/sign-in")
    door.enter(again)
    expect(again.get_by_role("heading", name="No access")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert [each for each in door.studio.complaints if door.studio.service.url in each and "403" not in each] == []


FACTORS = "/studio/account/authenticator"
_NUMBERS = count()


class Device:
    """A device with passkeys, of the browser in which a page is."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._cdp.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        self._id = self._cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def verify_user(self, *, verified: bool) -> None:
        """Say whether the finger on the device is the right one."""
        self._cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": verified})

    def count_passkeys(self) -> int:
        """How many passkeys are in it."""
        return len(self._cdp.send("WebAuthn.getCredentials", {"authenticatorId": self._id})["credentials"])


@pytest.fixture
def email(studio: Studio) -> str:
    """Somebody of this test alone."""
    address = f"passkey-{next(_NUMBERS)}@demo.example"
    with connected(studio.service.settings) as db:
        quick_users.add_user(db, "demo", address, "analyst", PASSWORD, datetime.now(UTC))
    return address


def go(studio: Studio, page: Page, path: str) -> None:
    """Open a page by a host's name: an address of numbers can have no passkeys."""
    page.goto(f"{studio.service.url.replace('127.0.0.1', 'localhost')}{path}")


@pytest.fixture
def owned(studio: Studio, email: str) -> tuple[Page, Device]:
    """The browser in which a person has just added a passkey."""
    page = studio.open("/studio/sign-in")
    device = Device(page)
    go(studio, page, f"/studio/sign-in?next={FACTORS}")
    studio.sign_in(page, email)
    page.get_by_label("Name of a new passkey").fill("My laptop")
    page.get_by_label("Your password, for the passkey").fill(PASSWORD)
    studio.follow(page.get_by_role("button", name="Add a passkey"))
    return page, device


def press(studio: Studio, page: Page, button: str) -> None:
    """Press a button that a passkey answers."""
    studio.follow(page.get_by_role("button", name=button))


@pytest.mark.long
def test_a_passkey_signs_in_without_address_and_password(studio: Studio, owned: tuple[Page, Device]) -> None:
    """It is added, named and used; recovery codes are shown once; nothing on the pages is a barrier."""
    page, device = owned
    expect(page.get_by_role("region", name="Recovery codes")).to_be_visible()
    assert len(re.findall(r"(?:[a-z0-9]{4}-){3}[a-z0-9]{4}", page.inner_text("#once"))) == 10
    assert device.count_passkeys() == 1
    go(studio, page, FACTORS)
    expect(page.get_by_label("Name of the passkey", exact=True)).to_have_value("My laptop")
    assert find_faults(page) == {}
    page.get_by_label("Name of the passkey", exact=True).fill("Old laptop")
    press(studio, page, "Rename My laptop")
    expect(page.get_by_label("Name of the passkey", exact=True)).to_have_value("Old laptop")
    press(studio, page, "Sign out")
    assert find_faults(page) == {}
    go(studio, page, f"/studio/sign-in?next={FACTORS}")
    press(studio, page, "Use a passkey")
    assert page.url.endswith(FACTORS)
    expect(page.get_by_text("Last used on")).to_be_visible()
    assert studio.complaints == []


@pytest.mark.long
def test_a_passkey_is_a_second_factor_and_removes_itself(
    studio: Studio, owned: tuple[Page, Device], email: str
) -> None:
    """The password alone opens nothing until the passkey is removed, which a passkey allows."""
    page, _ = owned
    go(studio, page, FACTORS)
    press(studio, page, "Sign out")
    go(studio, page, f"/studio/sign-in?next={FACTORS}")
    studio.sign_in(page, email)
    assert "/sign-in/code" in page.url
    assert find_faults(page) == {}
    press(studio, page, "Use a passkey")
    assert page.url.endswith(FACTORS)
    press(studio, page, "Make new recovery codes")
    expect(page.get_by_role("region", name="Recovery codes")).to_be_visible()
    go(studio, page, FACTORS)
    press(studio, page, "Remove the passkey")
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    press(studio, page, "Sign out")
    go(studio, page, f"/studio/sign-in?next={FACTORS}")
    studio.sign_in(page, email)
    assert page.url.endswith(FACTORS)


@pytest.mark.long
def test_a_passkey_of_a_wrong_finger_signs_nobody_in(studio: Studio, owned: tuple[Page, Device]) -> None:
    """The page says so, and works again with the right one."""
    page, device = owned
    go(studio, page, FACTORS)
    press(studio, page, "Sign out")
    device.verify_user(verified=False)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("No passkey has answered.")).to_be_visible()
    device.verify_user(verified=True)
    press(studio, page, "Use a passkey")
    assert "/sign-in" not in page.url


def test_where_passkeys_do_not_work_the_page_says_so(studio: Studio, email: str) -> None:
    """Without script or WebAuthn at once, at an address of numbers when one is asked for; the password works."""
    page = studio.open("/studio/sign-in", script=False)
    expect(page.get_by_text("Passkeys don't work here")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_be_hidden()
    studio.sign_in(page, email)
    assert "/sign-in" not in page.url
    page = studio.open("/studio/sign-in")
    page.add_init_script("delete window.PublicKeyCredential")
    page.reload()
    expect(page.get_by_text("Passkeys don't work here")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_be_hidden()
    page = studio.open("/studio/sign-in")
    expect(page.get_by_text("Passkeys don't work here")).to_be_hidden()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("No passkey has answered.")).to_be_visible()
    studio.sign_in(page, email)
    assert "/sign-in" not in page.url
