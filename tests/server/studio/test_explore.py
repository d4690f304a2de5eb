"""The explorer's page: whole without a script, its state in its address, its numbers those of the sample facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient
from tests.server.studio.visitor import Visitor, add_user

from reelport.facts.loading.load import load
from reelport.server.app import create_app
from reelport.server.http.service import Service
from reelport.server.sandbox import fill
from reelport.server.settings import Settings, read_settings

USER, RIVAL, OPERATOR = "mia@demo.example", "rita@rival.example", "olga@platform.example"
DAYS = "from=2026-07-01&to=2026-07-14"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(data=tmp_path_factory.mktemp("data"), workers=0)


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[TestClient]:
    """Studio over sample facts of June and July."""
    fill(settings, date(2026, 6, 1), date(2026, 7, 31), 3000)
    app = create_app(settings)
    with TestClient(app) as client:
        service: Service = app.state.service
        add_user(service, USER, "member")
        add_user(service, RIVAL, "member", "rival")
        add_user(service, OPERATOR, "operator", None)
        yield client


@pytest.fixture
def visitor(app: TestClient) -> Iterator[Visitor]:
    """A member of the organization `demo`."""
    yield from _visit(app, USER)


def _visit(app: TestClient, email: str) -> Iterator[Visitor]:
    visitor = Visitor(app.app)  # type: ignore[arg-type]
    visitor.sign_in(email)
    yield visitor
    visitor.client.close()


def text_of(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


def links(page: str, words: str) -> list[str]:
    """Where the links with these words lead."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return [unescape(address) for address, inside in found if words in text_of(inside)]
