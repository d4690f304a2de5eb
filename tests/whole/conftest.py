"""What tests over a real socket share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.warm_service import Service

from .desk import Desk
from .shell import Shell


@pytest.fixture(scope="session")
def sampled() -> Iterator[Service]:
    """A service with ten weeks of sample facts, whose tokens live two seconds, for the files that share it.

    Every kind of report may wait at once, for two keys of one partner.
    """
    with Service(token_seconds=2, waiting_limit=200) as service:
        service.sample(date(2025, 12, 1), date(2026, 2, 10), rows=20_000)
        yield service


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Sample facts of the last three weeks, as the examples ask for, and a folder with a file to load."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "channels.csv").write_text("id,slug,name\nc-90,acme-news,Acme News\n")
    today = datetime.now(UTC).date()
    with Service() as service:
        service.sample(today - timedelta(days=21), today - timedelta(days=1), rows=4_000)
        key = service.key("demo")
        ours = {
            "REELPORT_URL": service.url,
            "REELPORT_API_KEY": key.id,
            "REELPORT_API_SECRET": key.secret,
            "REELPORT_DATA": str(service.data),
            "REELPORT_HOME": str(folder / "home"),
            "KEY": key.id,
            "PASSWORD": "correct horse battery",
            "SECRET": key.secret,
            "COLUMNS": "1000",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "PYTHONPATH": str(Path(__file__).parents[1] / "client" / "settings"),  # its keyrings
        }
        rest = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
        with Shell(folder, rest | ours) as shell:
            yield Desk(service, shell, folder, rest | ours)
