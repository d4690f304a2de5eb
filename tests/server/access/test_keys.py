"""API keys: their marks, when they expire and what ends with them; Studio's own key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from tests.server.conftest import ALL, NOW, State

from reelport.errors import AccessError, UsageError
from reelport.server.access import audit_log, callers, grants, key_rotation, keys, organizations
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import Caller
from reelport.server.access.grants import ClientCredentials, Grant, Refusal
from reelport.server.access.key_expiry import MOST_DAYS, KeyKind, KeyTerms, effective_expiry, is_expired, parse_expiry
from reelport.server.access.keys import (
    Key,
    KeyDetails,
    NewKey,
    expires_soon,
    find_or_create_studio_key,
    find_studio_key,
    list_marks,
)
from reelport.server.access.roles import Reach
from reelport.server.reports import removal, report_access
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


def test_of_an_organization_that_was_removed_meanwhile_nothing_is_made(state: State) -> None:
    """Whoever had found it is told so: no key of Studio's is made for it, and no channel is given to it."""
    demo = state.organization("demo", "c1")
    removal.remove_organization(state.db, state.settings, "demo")
    with pytest.raises(AccessError, match="was removed just now"):
        keys.identify_studio(state.db, Reach(demo), state.now)
    with pytest.raises(UsageError, match="was removed just now"):
        organizations.allow_channels(state.db, demo, ["c2"])


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
    assert removal.preview_removal(state.db, "demo").keys == ()
    with pytest.raises(UsageError, match="There is no key"):
        keys.revoke_key(state.db, key_id, state.now)
    removal.remove_organization(state.db, state.settings, "demo")
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


ANN = Actor("ann@demo.example", "192.0.2.1")
TERMS = KeyTerms(KeyKind.PRIVATE, NOW, None, None)


def _limit(state: State, days: int | None) -> None:
    """Set the longest life of keys of `demo`."""
    with writing(state.db) as connection:
        holder = organizations.find_organization(connection, "demo")
        organizations.limit_key_life(connection, holder, days, ANN, state.now)


def _key(state: State, expires: str | None = None, name: str = "") -> NewKey:
    return keys.create_key(
        state.db, state.service_secret, "demo", ["create_reports"], state.now, details=KeyDetails(name, expires)
    )


@given(
    expires=st.none() | st.integers(-400, 400),
    most=st.none() | st.integers(1, 400),
    age=st.integers(0, 400),
    kind=st.sampled_from([KeyKind.PRIVATE, KeyKind.PUBLIC]),
)
def test_the_earlier_limit_counts(expires: int | None, most: int | None, age: int, kind: KeyKind) -> None:
    """In whole days: a key made `age` days ago is valid while no limit that it has has passed."""
    own = None if expires is None else NOW + expires * DAY
    terms = KeyTerms(kind, NOW - age * DAY, own, most)
    passed = [limit for limit in (expires, None if most is None else most - age) if limit is not None and limit <= 0]
    assert is_expired(terms, NOW) is bool(passed)
    assert effective_expiry(replace(terms, kind=KeyKind.STUDIO)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", NOW + DAY), ("90", NOW + 90 * DAY), ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC))],
)
def test_an_expiry_is_days_or_a_date(text: str, expected: datetime) -> None:
    """Days count from now; a date is its beginning in UTC."""
    assert parse_expiry(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "1 to 3650"),
        (str(MOST_DAYS + 1), "1 to 3650"),
        ("2026-03-01", "not after now"),
        ("2025-12-31", "not after now"),
        ("soon", "'soon' is no expiry"),
        ("-3", "'-3' is no expiry"),
        ("2026-02-30", "is no expiry"),
        ("9" * 12, "is no expiry"),
    ],
)
def test_what_is_no_expiry_is_refused(text: str, says: str) -> None:
    """With what it may be."""
    with pytest.raises(ValueError, match=says):
        parse_expiry(text, NOW)


def test_an_expired_key_is_refused_everywhere(state: State) -> None:
    """No grant, no look by a token of before, no ask, no download by its links."""
    state.organization("demo", "c1")
    key = _key(state, "1")
    before = state.granted(key, after=timedelta())
    caller = state.identify(before.token)
    assert caller is not None
    asked = state.ask(caller)
    late = state.now + DAY
    assert report_access.find_linked_report(state.db, asked.id, key.id, late - timedelta(seconds=1)) is not None
    assert report_access.find_linked_report(state.db, asked.id, key.id, late) is None
    assert state.grant(key, after=DAY) is Refusal.INVALID_CLIENT
    with reading(state.db) as connection:
        assert callers.find_holder(connection, key.id, late) is None
        assert not callers.is_still_allowed(connection, caller, late)


def test_a_token_lives_no_longer_than_its_key(state: State) -> None:
    """Half an hour before the end a token of an hour is granted for half an hour, and says so."""
    state.organization("demo", "c1")
    key = _key(state, "1")
    granted = state.granted(key, after=DAY - timedelta(minutes=30))
    assert (granted.seconds, granted.key_expires_at) == (1800, state.now + DAY)
    assert state.identify(granted.token, DAY) is None


def test_the_longest_life_ends_keys_that_are_older(state: State) -> None:
    """Those without expiry and those with a later one; without the limit they are valid again."""
    state.organization("demo", "c1")
    forever, year = _key(state), _key(state, "365")
    later = 31 * DAY
    state.granted(forever, after=later)
    _limit(state, 30)
    assert [state.grant(key, after=later) for key in (forever, year)] == [Refusal.INVALID_CLIENT] * 2
    assert {key.expires_at for key in keys.list_keys(state.db)} == {state.now + 30 * DAY}
    with reading(state.db) as connection:
        assert callers.find_holder(connection, forever.id, state.now + later) is None
    _limit(state, None)
    assert isinstance(state.grant(year, after=later), Grant)


def test_which_keys_a_longest_life_would_end_is_known_before(state: State) -> None:
    """Only those that are valid now: the revoked and the expired are ended already."""
    state.organization("demo", "c1")
    old, _, revoked = _key(state), _key(state, "5"), _key(state)
    keys.revoke_key(state.db, revoked.id, state.now)
    listed = keys.list_keys(state.db, "demo")
    assert keys.find_too_old_keys(listed, 7, state.now + 10 * DAY) == (old.id,)
    assert keys.find_too_old_keys(listed, None, state.now + 10 * DAY) == ()
    with pytest.raises(UsageError, match="1 to 3650 days, not 0"):
        keys.find_too_old_keys(listed, 0, state.now)


def test_a_later_expiry_than_the_longest_life_is_refused(state: State) -> None:
    """With the life, and the last day that is allowed; one at the limit is made."""
    state.organization("demo", "c1")
    _limit(state, 30)
    with pytest.raises(UsageError, match="Keys of demo live 30 days at most: this one can't expire after 2026-03-31"):
        _key(state, "31")
    _key(state, "30")


def test_all_that_is_wrong_with_a_key_is_told_at_once(state: State) -> None:
    """Permissions, name, expiry, kind, and a limit to nothing."""
    state.organization("demo", "c1")
    with pytest.raises(UsageError) as refused:
        keys.create_key(
            state.db,
            state.service_secret,
            "demo",
            ["create_report"],
            state.now,
            kind="secret",
            channels=(),
            details=KeyDetails(" a\n", "never"),
        )
    told = str(refused.value).splitlines()
    assert len(told) == 5, told
    assert "Did you mean create_reports?" in told[0]
    assert "private or public." in told[2]


def test_a_key_is_renamed(state: State) -> None:
    """To a text in one line, or to none; a key that isn't there is told."""
    state.organization("demo", "c1")
    key = _key(state, name="Nightly")
    with writing(state.db) as connection:
        assert keys.rename_key(connection, key.id, "動画 <b>", ANN, state.now).name == "Nightly"
    assert keys.list_keys(state.db)[0].name == "動画 <b>"
    with writing(state.db) as connection, pytest.raises(UsageError, match="one line of at most 200 characters"):
        keys.rename_key(connection, key.id, "x" * 201, ANN, state.now)
    with writing(state.db) as connection, pytest.raises(UsageError, match="There is no key 'rpk_x'"):
        keys.rename_key(connection, "rpk_x", "x", ANN, state.now)


def test_every_change_of_a_key_is_in_the_audit_log(state: State) -> None:
    """Who did what to which key; of the command line its user; never a secret."""
    state.organization("demo", "c1")
    key = keys.create_key(
        state.db, state.service_secret, "demo", ["create_reports"], state.now, details=KeyDetails("One", actor=ANN)
    )
    with writing(state.db) as connection:
        holder = organizations.find_organization(connection, "demo")
        organizations.limit_key_life(connection, holder, 90, ANN, state.now)
        keys.rename_key(connection, key.id, "Two", ANN, state.now)
        second = key_rotation.rotate_key(connection, state.service_secret, key.id, 5, ANN, state.now)
        key_rotation.cancel_rotation(connection, key.id, ANN, state.now)
    for _ in range(2):
        keys.revoke_key(state.db, key.id, state.now, Actor.of_command())
    log = [each for each in audit_log.list_actions(state.db)[::-1] if "key" in each.action]
    assert [(entry.action, entry.subject) for entry in log] == [
        ("created a key", key.id),
        ("changed the maximum age of keys", "demo"),
        ("renamed a key", key.id),
        ("began a key's rotation", key.id),
        ("cancelled a key's rotation", key.id),
        ("revoked a key", key.id),
    ]
    assert log[0].details == {
        "name": "One",
        "kind": "private",
        "permissions": ["create_reports"],
        "channels": "all",
        "expires": None,
    }
    assert {entry.actor for entry in log[:5]} == {ANN}
    assert log[5].actor.address == "command line"
    assert [key.created_by for key in keys.list_keys(state.db)] == ["ann@demo.example"]
    assert key.secret not in repr(log)
    assert second.secret not in repr(log)
