"""Studio's own key of each organization: hidden, without a secret, the holder of what people ask for in the page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select
from tests.server.conftest import ALL, State

from reelport.errors import UsageError
from reelport.server.access import callers, grants, keys
from reelport.server.access.callers import Caller
from reelport.server.access.grants import ClientCredentials, Refusal
from reelport.server.access.studio_key import find_or_create_studio_key, find_studio_key
from reelport.server.reports import withdrawal
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEYS, ORGANIZATIONS


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
