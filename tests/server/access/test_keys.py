"""Marks of API keys, when they were last used, and Studio's own key of each organization."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import func, select
from tests.patience import until
from tests.server.conftest import ALL, NOW, State

from reelport.errors import UsageError
from reelport.server.access import callers, grants, keys
from reelport.server.access.callers import Caller
from reelport.server.access.grants import ClientCredentials, Refusal
from reelport.server.access.key_expiry import KeyKind, KeyTerms
from reelport.server.access.key_uses import INTERVAL, KeyUses, store_uses
from reelport.server.access.keys import Key, expires_soon, find_or_create_studio_key, find_studio_key, list_marks
from reelport.server.reports import withdrawal
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEYS, ORGANIZATIONS

DAY = timedelta(days=1)
KEY = Key(
    id="rpk_a",
    organization_id=1,
    organization="demo",
    permissions=("create_reports",),
    channels=None,
    created_at=NOW - 50 * DAY,
    revoked_at=None,
    name="",
    created_by="ann@demo.example",
    last_used_at=NOW - DAY,
    terms=KeyTerms(KeyKind.PRIVATE, NOW - 50 * DAY, None, None),
    next_secret_created_at=None,
    next_grace_hours=None,
    old_secret_until=None,
)


def _expires(after: timedelta) -> dict[str, Any]:
    return {"terms": replace(KEY.terms, expires_at=NOW + after)}


@pytest.mark.parametrize(
    ("changed", "marks"),
    [
        ({}, ()),
        ({"last_used_at": None}, ("never used",)),
        ({"last_used_at": NOW - 30 * DAY}, ("idle 30 days",)),
        ({"last_used_at": NOW - 30 * DAY + timedelta(seconds=1)}, ()),
        (_expires(15 * DAY), ()),
        (_expires(14 * DAY), ("expires in 14 days",)),
        (_expires(DAY), ("expires in 1 day",)),
        (_expires(5 * timedelta(hours=1)), ("expires in 5 hours",)),
        (_expires(timedelta(0)), ("expired",)),
        ({"terms": replace(KEY.terms, max_days=51)}, ("expires in 1 day",)),
        ({"next_secret_created_at": NOW}, ()),
        ({"next_secret_created_at": NOW, "next_grace_hours": 0}, ("second secret unused",)),
        ({"old_secret_until": NOW + DAY}, ("old secret until 2026-03-02 12:00",)),
        ({"old_secret_until": NOW}, ()),
        ({"revoked_at": NOW, **_expires(DAY)}, ("revoked",)),
        ({"last_used_at": None, **_expires(-DAY)}, ("expired", "never used")),
    ],
)
def test_a_key_is_marked(changed: dict[str, Any], marks: tuple[str, ...]) -> None:
    """By what it is at this moment."""
    assert list_marks(replace(KEY, **changed), NOW) == marks


def test_notice_is_given_two_weeks_before() -> None:
    """Of valid keys alone."""
    soon = replace(KEY, **_expires(DAY))
    assert expires_soon(soon, NOW)
    assert not expires_soon(soon, NOW + DAY)
    assert not expires_soon(replace(soon, revoked_at=NOW), NOW)
    assert not expires_soon(KEY, NOW)


def _make(state: State, organization_id: int) -> str:
    with writing(state.db) as connection:
        return find_or_create_studio_key(connection, organization_id, state.now)


def test_studios_key_is_made_once_and_holds_everything(state: State) -> None:
    """It has every scope and all channels, those too that are given later."""
    demo = state.organization("demo", "c1")
    with reading(state.db) as connection:
        assert find_studio_key(connection, demo) is None
    key_id = _make(state, demo)
    assert _make(state, demo) == key_id
    state.organization("rival", "c9")
    with reading(state.db) as connection:
        holder = callers.find_holder(connection, key_id, state.now)
    assert holder == Caller(key_id, demo, "demo", frozenset(ALL), frozenset({"c1"}))


def test_two_that_make_studios_key_at_once_get_one(state: State) -> None:
    """Eight threads begin together, and one key is there at the end."""
    demo, start = state.organization("demo", "c1"), Barrier(8)

    def make(_: int) -> str:
        start.wait()
        return _make(state, demo)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(8)))) == 1
    with reading(state.db) as connection:
        assert connection.execute(select(func.count()).select_from(KEYS)).scalar_one() == 1


def test_no_grant_takes_studios_key(state: State) -> None:
    """Whatever is sent as its secret, it is answered as an unknown key is."""
    key_id = _make(state, state.organization("demo", "c1"))
    for secret in ("", "0" * 64, "rps_x"):
        refused = grants.grant_token(state.db, state.service_secret, ClientCredentials(key_id, secret), (), state.now)
        assert refused is Refusal.INVALID_CLIENT


def test_studios_key_is_in_no_list_and_can_not_be_revoked(state: State) -> None:
    """Nor is it counted among what goes with the organization; but it goes."""
    key_id = _make(state, state.organization("demo", "c1"))
    assert keys.list_keys(state.db) == ()
    assert withdrawal.preview_removal(state.db, "demo").keys == ()
    with pytest.raises(UsageError, match="There is no key"):
        keys.revoke_key(state.db, key_id, state.now)
    withdrawal.remove_organization(state.db, state.settings, "demo")
    with reading(state.db) as connection:
        assert callers.find_holder(connection, key_id, state.now) is None


def test_studios_key_outlives_every_other(state: State) -> None:
    """The longest life that the organization allows is for secrets, and it has none."""
    demo = state.organization("demo", "c1")
    key_id = _make(state, demo)
    with writing(state.db) as connection:
        connection.execute(ORGANIZATIONS.update().values(max_key_days=1))
    with reading(state.db) as connection:
        assert callers.find_holder(connection, key_id, state.now + timedelta(days=1000)) is not None


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
