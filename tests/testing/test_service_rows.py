"""Facts given to a `Service` as dicts: Python's values are taken as they are meant, the rest is refused by place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from reelport.errors import BadInput, UsageError
from reelport.testing import Service

PLAY: dict[str, object] = {
    "started_at": datetime(2026, 10, 1, 10, tzinfo=UTC),
    "video_id": "v1",
    "owner_channel_id": "c1",
    "media_type": "video",
    "views": 7,
    "time_watched_seconds": 350,
}


def stored(service: Service, table: str) -> list[dict[str, Any]]:
    """The rows of a table, in the order of their videos."""
    rows: list[dict[str, Any]] = DeltaTable(service.settings.facts_root / table).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: str(row.get("video_id")))


def refusal(tmp_path: Path, rows: Iterable[Mapping[str, object]], table: str = "plays") -> str:
    """The sentence with which rows are refused; nothing of them is loaded."""
    service = Service(tmp_path / "data")
    with pytest.raises(BadInput) as caught:
        service.load(table, rows)
    assert not (service.settings.facts_root / table).exists()
    return str(caught.value)


def test_pythons_values_are_taken(tmp_path: Path) -> None:
    """Moments with and without a zone, dates, texts, numbers of each kind; what is absent or None is empty."""
    service = Service(tmp_path / "data")
    changes: list[dict[str, object]] = [
        {"watchable_seconds": 400, "action": None},
        {"started_at": datetime(2026, 10, 1, 10)},  # noqa: DTZ001 - without a zone is the point
        {"started_at": datetime(2026, 10, 1, 12, tzinfo=timezone(timedelta(hours=2))), "views": 7.0},
        {"started_at": date(2026, 10, 1), "views": Decimal(7), "owner_channel_id": 12},
        {"started_at": "2026-10-01T10:00:00Z", "views": "7"},
    ]
    service.load("plays", (PLAY | {"video_id": f"v{number}"} | more for number, more in enumerate(changes)))
    rows = stored(service, "plays")
    assert [row["started_at"].hour for row in rows] == [10, 10, 10, 0, 10]
    assert [row["views"] for row in rows] == [7] * 5
    assert [row["watchable_seconds"] for row in rows] == [400, None, None, None, None]
    assert rows[3]["owner_channel_id"] == "12"


def test_money_is_exact_and_lists_are_lists(tmp_path: Path) -> None:
    """A Decimal keeps its digits, a float is what it reads as, tags are a list of texts."""
    service = Service(tmp_path / "data")
    earning = {"day": date(2026, 10, 1), "owner_channel_id": "c1", "usd": 0}
    amounts: list[object] = [Decimal("0.123456"), 0.1, 3, "-0.5", 1e-05]
    service.load("earnings", [{**earning, "video_id": f"v{n}", "eur": each} for n, each in enumerate(amounts)])
    assert [row["eur"] for row in stored(service, "earnings")] == [
        Decimal(text) for text in ("0.123456", "0.100000", "3.000000", "-0.500000", "0.000010")
    ]
    service.load("videos", [{"id": "v1", "owner_channel_id": "c1", "tags": ["a|b", "c"]}])
    assert stored(service, "videos")[0]["tags"] == ["a|b", "c"]


def test_every_row_and_column_that_is_wrong_is_named(tmp_path: Path) -> None:
    """As a load of a file names them, all at once; nothing is loaded."""
    short = {name: value for name, value in PLAY.items() if name != "time_watched_seconds"}
    said = refusal(
        tmp_path, [PLAY | {"views": -1}, short, PLAY | {"media_type": "film", "views": 1.5}, PLAY | {"views": True}]
    )
    for line in (
        "row 1: views: '-1' is less than 0",
        "row 2: time_watched_seconds: is empty, and must not be",
        "row 3: media_type: 'film' is none of: video, live; views: '1.5' is no whole number",
    ):
        assert line in said
    assert "'True' is no whole number" in refusal(tmp_path, [PLAY | {"views": True}])
    assert "viewz" in refusal(tmp_path, [PLAY | {"viewz": 1}])
    assert "time_watched_seconds" in refusal(tmp_path, [short])


def test_rows_for_no_table_and_no_rows_are_refused(tmp_path: Path) -> None:
    """The table that was meant is named."""
    with pytest.raises(UsageError, match="did you mean plays"):
        Service(tmp_path / "data").load("play", [PLAY])
    refusal(tmp_path, [])
