"""Sign-in by a real OpenID Connect provider (npm `oidc-provider`), in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.studio import Studio, find_faults
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
