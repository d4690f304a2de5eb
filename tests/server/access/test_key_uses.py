"""When API keys were last used: noted by requests, stored beside them."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.to_thread
import pytest
import structlog
from sqlalchemy import Engine
from tests.patience import until
from tests.server.conftest import State

from reelport.server.access import key_uses, keys
from reelport.server.access.key_uses import INTERVAL, KeyUses, store_uses


def _last_used(state: State) -> datetime | None:
    (key,) = keys.list_keys(state.db)
    return key.last_used_at


def test_a_use_is_stored_once_in_a_quarter_of_an_hour(state: State) -> None:
    """By whichever process: the state decides."""
    state.organization("demo", "c1")
    key = state.key("demo")
    assert _last_used(state) is None
    assert store_uses(state.db, {key.id: state.now}) == 1
    assert store_uses(state.db, {key.id: state.now + INTERVAL - timedelta(seconds=1)}) == 0
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


def test_uses_that_fail_of_what_nobody_foresaw_are_followed_by_others(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a thread that can't be started; nor does anything beside the task end."""
    state.organization("demo", "c1")
    key, failed = state.key("demo"), list[object]()

    def fail_once(db: Engine, used: dict[str, datetime]) -> int:
        if failed:
            return store_uses(db, used)
        failed.append(used)
        raise RuntimeError("can't start new thread")

    async def use() -> None:
        uses = KeyUses(state.db)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(uses.store_noted)
            uses.note(key.id, state.now)
            assert await anyio.to_thread.run_sync(until, lambda: bool(logs))
            uses.note(key.id, state.now + INTERVAL)
            assert await anyio.to_thread.run_sync(until, lambda: _last_used(state) is not None)
            tasks.cancel_scope.cancel()

    monkeypatch.setattr(key_uses, "store_uses", fail_once)
    with structlog.testing.capture_logs() as logs:
        anyio.run(use)
    assert [log["log_level"] for log in logs] == ["error"]
