"""Studio in this process, over a state of its own, with somebody of each role."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient
from tests.server.api import Api
from tests.server.studio.visitor import Visitor, add_user

from reelport.server.access import organizations

OWNER, MEMBER, OPERATOR = "ann@demo.example", "mia@demo.example", "olga@platform.example"
VIEWER, BLIND_VIEWER = "vic@demo.example", "bob@demo.example"

Visitors = Callable[[str | None], Visitor]


@pytest.fixture(scope="module")
def people(api: Api) -> Api:
    """The API with its people."""
    add_user(api.service, OWNER, "owner")
    add_user(api.service, MEMBER, "analyst")
    add_user(api.service, VIEWER, "viewer")
    add_user(api.service, BLIND_VIEWER, "viewer-without-revenue")
    add_user(api.service, OPERATOR, "operator", None)
    return api


@pytest.fixture(scope="module")
def rival(people: Api) -> str:
    """An owner of another organization."""
    organizations.add_organization(people.service.db, "rival", people.service_now())
    add_user(people.service, "rob@rival.example", "owner", "rival")
    return "rob@rival.example"


@pytest.fixture
def visitors(people: Api) -> Iterator[Visitors]:
    """Makes a browser: signed in as a user, or not at all."""
    yield from make_visitors(people.client)


def make_visitors(running: TestClient) -> Iterator[Visitors]:
    """Give what makes browsers for an app that runs, and close them afterwards."""
    made: list[Visitor] = []

    def make(email: str | None) -> Visitor:
        made.append(Visitor(running))
        if email is not None:
            assert made[-1].sign_in(email, follow=False).status_code == 303
        return made[-1]

    yield make
    for each in made:
        each.client.close()
