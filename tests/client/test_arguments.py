"""Arguments of the wrong kind: each is refused in a sentence, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reelport import Client, ReportQuery, UsageError


@pytest.mark.parametrize("query", [None, "VIEWS", {"metrics": ["VIEWS"]}, [], ReportQuery])
@pytest.mark.parametrize("method", ["run", "run_range", "submit", "plan"])
def test_what_is_no_query_is_refused(tmp_path: Path, method: str, query: object) -> None:
    """None, a text, what goes over the wire: the error says what a query is made by."""
    with Client("http://127.0.0.1:1", "key", "secret", ledger=tmp_path / "ledger.db") as client:
        to = [tmp_path / "views.csv"] if method.startswith("run") else []
        with pytest.raises(UsageError, match=r"ReportQuery\.of"):
            getattr(client.reports, method)(query, *to)


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
