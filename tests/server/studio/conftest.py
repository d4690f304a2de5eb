"""Studio in this process, over a state of its own, with somebody of each role; or over sample facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.sandboxes import begin_sandbox, sample_channels
from tests.server.api import Api
from tests.server.studio.visitor import Visitor, add_user

from reelport.engine.compile import compile_query, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import pin
from reelport.query import ReportQuery
from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.settings import Settings, read_settings

OWNER, MEMBER, OPERATOR = "ann@demo.example", "mia@demo.example", "olga@platform.example"
RIVAL = "rita@rival.example"
VIEWER, BLIND_VIEWER = "vic@demo.example", "bob@demo.example"

LAST = date(2026, 7, 31)
"""The last complete day of the sample facts."""

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


@contextmanager
def facts_away(people: Api) -> Iterator[None]:
    """Put a file where the folder of facts belongs, as if a disk were not mounted."""
    facts, away = (people.service.settings.data / name for name in ("facts", "away"))
    facts.mkdir(exist_ok=True)
    facts.rename(away)
    facts.touch()
    yield
    facts.unlink()
    away.rename(facts)


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


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A data directory with sample facts of June and July."""
    # On a busy machine a view may take longer than a page waits.
    settings = read_settings(data=tmp_path_factory.mktemp("facts") / "data", workers=0, explore_seconds=300)
    begin_sandbox(settings, tmp_path_factory)
    return settings


@pytest.fixture(scope="module")
def app(sampled: Settings) -> Iterator[TestClient]:
    """Studio over the sample facts, with people of two organizations and of the platform."""
    app = create_app(sampled)
    with TestClient(app) as client:
        add_user(app.state.service, OWNER)
        add_user(app.state.service, MEMBER, "analyst")
        add_user(app.state.service, RIVAL, "owner", "rival")
        add_user(app.state.service, OPERATOR, "operator", None)
        yield client


@pytest.fixture
def visitor(app: TestClient) -> Iterator[Visitor]:
    """A member of the organization `demo`, over the sample facts."""
    yield from visit_as(app, MEMBER)


def visit_as(app: TestClient, email: str) -> Iterator[Visitor]:
    """A browser that is signed in."""
    for make in make_visitors(app):
        yield make(email)


def fetch_report(settings: Settings, query: ReportQuery, tenant: Tenant | None = None) -> list[tuple[Any, ...]]:
    """The rows of a report of the sample facts, for a tenant: the organization `demo`, if no other."""
    tenant = tenant or Tenant(frozenset(sample_channels()["demo"]))
    plan = compile_query(query, tenant, pin(settings.facts_root, tables_of(query)))
    session = _open_engine(settings.facts_root).session()
    try:
        return list(session.fetch(plan, "this test"))
    finally:
        session.close()


@lru_cache(maxsize=1)
def _open_engine(facts_root: Path) -> QueryEngine:
    return QueryEngine("1GiB", 2, None, within=(facts_root,))
