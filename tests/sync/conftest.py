"""What the tests of sync share: one service of believable facts, a key, and a sheet of specs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from reelport import Client
from reelport.testing import Key, Service

FIRST, LAST = date(2026, 1, 1), date(2026, 2, 10)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The service, with forty-one days of facts."""
    with Service() as service:
        service.sample(FIRST, LAST, rows=4_000)
        yield service


@pytest.fixture(scope="session")
def key(service: Service) -> Key:
    return service.key("demo")


@pytest.fixture
def client(service: Service, key: Key, tmp_path: Path) -> Iterator[Client]:
    """A client with a ledger of its own."""
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        yield client
