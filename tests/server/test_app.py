"""The API's life ends soon, however it ends: what runs in its threads leaves off."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from tests.patience import until
from tests.server.conftest import State

from reelport.server.app import create_app
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import REPORTS
from reelport.wire import ReportStatus

_REPORTS = 5_000
"""To expire so many takes many times as long as to see that it began."""


def count_expired(state: State) -> int:
    """How many reports the sweep has expired."""
    with reading(state.db) as connection:
        expired = REPORTS.c.status == ReportStatus.EXPIRED.value
        return connection.execute(select(func.count()).where(expired)).scalar_one()


def finish_long_ago(state: State) -> None:
    """Give the state finished reports whose time was over yesterday."""
    key = state.key("demo")
    now = datetime.now(UTC)
    row = {"organization_id": state.caller(key).organization_id, "key_id": key.id, "query": "{}", "channels": "[]"}
    row |= {"scopes": "", "status": ReportStatus.FINISHED.value, "attempts": 1, "rows": 1, "bytes": 2, "sha256": "ab"}
    row |= {"created_at": now - timedelta(days=3), "ended_at": now - timedelta(days=3)}
    row |= {"expires_at": now - timedelta(days=1)}
    each = [
        row | {"id": f"r{number}", "token": f"t{number}", "fingerprint": f"f{number}", "file": f"r{number}-1.csv"}
        for number in range(_REPORTS)
    ]
    with writing(state.db) as connection:
        connection.execute(REPORTS.insert(), each)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_life_that_is_cancelled_waits_for_no_long_sweep(state: State) -> None:
    """As that of a process that was told to end twice, or whose start fails: the next sweep does what is left."""
    state.organization("demo", "c1")
    finish_long_ago(state)

    async def live() -> None:
        app = create_app(state.settings)
        async with app.router.lifespan_context(app):
            await asyncio.Event().wait()

    async def begin_and_cancel() -> None:
        life = asyncio.create_task(live())
        assert await asyncio.to_thread(until, lambda: count_expired(state))
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life

    asyncio.run(begin_and_cancel())
    assert 0 < count_expired(state) < _REPORTS
