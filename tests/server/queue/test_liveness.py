"""Which workers are ready, by what they write into the state; on both databases."""

from __future__ import annotations

from sqlalchemy import text
from tests.server.conftest import State

from reelport.server.queue import liveness
from reelport.server.state.database import writing


def test_a_worker_elsewhere_that_falls_silent_is_dead(state: State) -> None:
    """Neither in the future does a heartbeat count: a clock was set back since."""
    liveness.record_heartbeat(state.db, "elsewhere-7-abc")
    for moved, expected in ((-20_000, True), (-40_000, False), (40_000, False)):
        with writing(state.db) as connection:
            connection.execute(text("UPDATE workers SET seen_at = clock_ms() + :moved"), {"moved": moved})
        assert bool(liveness.list_ready(state.db, state.settings)) is expected
    liveness.record_heartbeat(state.db, "elsewhere-7-abc")
    liveness.unregister(state.db, "elsewhere-7-abc")
    assert not liveness.list_ready(state.db, state.settings)
