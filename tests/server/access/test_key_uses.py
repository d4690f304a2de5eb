"""When keys were last used: stored beside the requests, and at most every quarter of an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.to_thread
from tests.patience import until
from tests.server.conftest import State

from reelport.server.access import keys
from reelport.server.access.key_uses import INTERVAL, KeyUses, store_uses

SECOND = timedelta(seconds=1)


def _last_used(state: State) -> datetime | None:
    (key,) = keys.list_keys(state.db)
    return key.last_used_at


def test_a_use_is_stored_once_in_a_quarter_of_an_hour(state: State) -> None:
    """By whichever process: the state decides."""
    state.organization("demo", "c1")
    key = state.key("demo")
    assert _last_used(state) is None
    assert store_uses(state.db, {key.id: state.now}) == 1
    assert store_uses(state.db, {key.id: state.now + INTERVAL - SECOND}) == 0
    assert _last_used(state) == state.now
    assert store_uses(state.db, {key.id: state.now + INTERVAL, "rpk_gone": state.now}) == 1
    assert _last_used(state) == state.now + INTERVAL


def test_uses_of_a_process_go_to_the_state_beside_its_requests(state: State) -> None:
    """Noting one only remembers it; the task stores what was noted before it began, and what comes later."""
    state.organization("demo", "c1")
    key = state.key("demo")

    async def use() -> None:
        uses = KeyUses(state.db)
        uses.note(key.id, state.now)
        assert _last_used(state) is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(uses.store_noted)
            for at in (state.now, state.now + INTERVAL):
                uses.note(key.id, at)
                assert await anyio.to_thread.run_sync(until, lambda at=at: _last_used(state) == at)
            tasks.cancel_scope.cancel()

    anyio.run(use)
