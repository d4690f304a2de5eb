"""Studio whose people come by a provider that tests make lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx2
import pytest
from tests.server.api import Api, open_api
from tests.server.studio.oidc.false_provider import CLIENT, SECRET, FalseProvider, serve_provider
from tests.server.studio.visitor import Visitor

from reelport.server.settings import read_settings

CALLBACK = "/studio/oidc/callback"


GROUPS = (
    "heads=demo:owner, staff=demo:analyst, guests=demo:viewer, others=rival:owner, platform=operator, lost=gone:owner"
)


@pytest.fixture(scope="module")
def served() -> Iterator[FalseProvider]:
    """One provider for the tests of this module."""
    with serve_provider() as provider:
        yield provider


@pytest.fixture
def provider(served: FalseProvider, people: Api) -> Iterator[FalseProvider]:
    """The provider, which is honest at first and away from the service's memory."""
    assert people.service.provider is not None
    people.service.provider._kept.clear()  # noqa: SLF001 - what it keeps for ten minutes would outlive a test
    served.honest()
    for _ in range(12):  # attempts of earlier tests
        people.service.login_attempts.forgive("testclient", "provider")
    yield served
    served.honest()


@pytest.fixture(scope="module")
def api(served: FalseProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An app whose people may come by that provider."""
    address = served.url.replace("://", f"://{CLIENT}:{quote(SECRET)}@")
    data = tmp_path_factory.mktemp("data")
    with open_api(read_settings(data=data, workers=0, oidc_url=address, oidc_groups=GROUPS)) as api:
        yield api


Arrive = Callable[..., httpx2.Response]


@pytest.fixture
def arrive(provider: FalseProvider) -> Arrive:
    """Comes by the provider as somebody: the answer of Studio to what the provider sent with the browser."""

    def come(visitor: Visitor, subject: str, following: str = "", **changed: str | None) -> httpx2.Response:
        location = begin(visitor, following)
        given = {"code": provider.authorize(location, subject), "iss": provider.url, "state": find_state(location)}
        query = {name: value for name, value in {**given, **changed}.items() if value is not None}
        return visitor.get(CALLBACK, params=query, follow_redirects=False)

    return come


def begin(visitor: Visitor, following: str = "") -> str:
    """Begin a sign-in: the address at the provider."""
    began = visitor.get("/studio/oidc", params={"next": following}, follow_redirects=False)
    assert began.status_code == 303, began.text
    return began.headers["location"]


def find_state(location: str) -> str:
    """The state that a browser is sent with."""
    return httpx2.URL(location).params["state"]


def know(provider: FalseProvider, subject: str, *groups: str, **claims: object) -> str:
    """Let the provider know somebody, and give the e-mail address."""
    email = f"{subject}@sso.example"
    provider.people[subject] = {"sub": subject, "email": email, "email_verified": True, "groups": groups, **claims}
    return email


def is_signed_in(visitor: Visitor) -> bool:
    """Whether Studio shows a browser its user's page."""
    return visitor.get("/studio/account", follow_redirects=False).status_code == 200
