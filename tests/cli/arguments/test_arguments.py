"""Arguments of the wrong kind: each is refused in a sentence, before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from reelport import AsyncClient, Client, ReportQuery, UsageError
from reelport.sync import sync_run
from reelport.testing import Vendor


@pytest.mark.parametrize("query", [None, "VIEWS", {"metrics": ["VIEWS"]}, [], ReportQuery])
@pytest.mark.parametrize("method", ["run", "run_range", "submit", "plan"])
def test_what_is_no_query_is_refused(tmp_path: Path, method: str, query: object) -> None:
    """None, a text, what goes over the wire: the error says what a query is made by."""
    with Client("http://127.0.0.1:1", "key", "secret", ledger=tmp_path / "ledger.db") as client:
        to = [tmp_path / "views.csv"] if method.startswith("run") else []
        with pytest.raises(UsageError, match=r"ReportQuery\.of"):
            getattr(client.reports, method)(query, *to)


NO_DEADLINES = [0, -1, float("nan"), float("-inf"), 10**400, True, "5", b"5", None, timedelta(0), timedelta(days=-1)]


@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=lambda deadline: f"{deadline!r:.20}")
def test_a_deadline_that_is_none_is_refused(tmp_path: Path, deadline: float) -> None:
    """What is no time, or none that lies ahead, is no deadline for any method."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 7))
    with Client("http://127.0.0.1:1", "key", "secret", ledger=tmp_path / "ledger.db") as client:
        reports = client.reports
        calls: list[Callable[[], object]] = [
            lambda: reports.submit(query, deadline=deadline),
            lambda: reports.run(query, tmp_path / "views.csv", deadline=deadline),
            lambda: reports.run_range(query, tmp_path / "views.csv", deadline=deadline),
            lambda: reports.attach("R").wait(deadline=deadline),
            lambda: sync_run.run([], client, deadline=deadline),
            lambda: asyncio.run(_twin(query, tmp_path / "views.csv", deadline)),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="A deadline is a number of seconds above 0"):
                call()
        assert client.reports.plan(query).windows[0].token is None


async def _twin(query: ReportQuery, to: Path, deadline: float) -> None:
    async with AsyncClient("http://127.0.0.1:1", "key", "secret", ledger=False) as client:
        await client.reports.run(query, to, deadline=deadline)


@pytest.mark.parametrize("settings", [5, {"url": "http://127.0.0.1:1"}])
def test_what_is_no_settings_is_refused(settings: object) -> None:
    """A client is not made of any value."""
    made: Any = Client
    with pytest.raises(UsageError, match="Settings"):
        made(settings=settings, ledger=False)


@pytest.mark.parametrize("folder", ["\0", "~nobody-of-that-name/windows"])
def test_what_names_no_folder_is_refused(folder: str) -> None:
    """Windows that are kept apart need a folder that can be."""
    query: Any = None
    with Client("http://127.0.0.1:1", "key", "secret", ledger=False) as client, pytest.raises(UsageError):
        client.reports.run_range(query, folder, keep_windows=True)


def test_a_closed_client_asks_for_nothing(tmp_path: Path) -> None:
    """It says that it is closed, and leaves nothing behind that would keep another one from asking."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 7))
    with Vendor() as vendor:
        with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
            client.probe()
        with pytest.raises(UsageError, match="was closed"):
            client.reports.run(query, tmp_path / "views.csv")
        with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as another:
            assert another.reports.run(query, tmp_path / "views.csv").rows == 7


def test_a_closed_client_of_asyncio_asks_for_nothing() -> None:
    """The twin says the same."""

    async def go() -> None:
        async with AsyncClient("http://127.0.0.1:1", "key", "secret", ledger=False) as client:
            pass
        await client.probe()

    with pytest.raises(UsageError, match="was closed"):
        asyncio.run(go())
