"""The rotation of a key's secret: no moment in which none works, and none in which an ended one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.conftest import State

from reelport.errors import UsageError
from reelport.server.access import callers, grants, key_rotation, keys, organizations
from reelport.server.access.audit_log import Actor
from reelport.server.access.grants import ClientCredentials, Grant, Refusal
from reelport.server.access.keys import KeyDetails
from reelport.server.state.database import writing

HOUR = timedelta(hours=1)
ANN = Actor("ann@demo.example", "192.0.2.1")


@dataclass
class Client:
    """A client of one key: it sends a secret, and again when that was the first use of a rotation's."""

    state: State
    key_id: str
    secrets: list[str]
    now: datetime

    def rotate(self, grace_hours: int = 24) -> str:
        """Rotate; the new secret."""
        with writing(self.state.db) as connection:
            new = key_rotation.rotate_key(
                connection, self.state.service_secret, self.key_id, grace_hours, ANN, self.now
            )
        self.secrets.append(new.secret)
        return new.secret

    def cancel(self) -> None:
        """Take the second secret back."""
        with writing(self.state.db) as connection:
            key_rotation.cancel_rotation(connection, self.key_id, ANN, self.now)

    def send(self, secret: str) -> Grant | Refusal:
        """Ask for a token."""
        client = ClientCredentials(self.key_id, secret)
        return grants.grant_token(self.state.db, self.state.service_secret, client, (), self.now)

    def use(self, secret: str) -> bool:
        """Whether a token is granted."""
        return isinstance(self.send(secret), Grant)


@pytest.fixture
def client(state: State) -> Client:
    """A client of a new key of `demo`."""
    state.organization("demo", "c1")
    return _new_client(state)


def _new_client(state: State, expires: str | None = None) -> Client:
    details = KeyDetails(expires=expires)
    key = keys.create_key(state.db, state.service_secret, "demo", ["create_reports"], state.now, details=details)
    return Client(state, key.id, [key.secret], state.now)


@contextmanager
def _refused(says: str) -> Iterator[None]:
    with pytest.raises(UsageError, match=says):
        yield


def test_both_secrets_are_valid_until_the_second_is_used(client: Client) -> None:
    """However long that takes; then the first lives for the grace alone."""
    old, new = client.secrets[0], client.rotate(grace_hours=2)
    client.now += 400 * HOUR
    assert client.use(old)
    assert client.use(new)
    client.now += 2 * HOUR - timedelta(seconds=1)
    assert client.use(old)
    client.now += timedelta(seconds=1)
    assert not client.use(old)
    assert client.use(new)


def test_a_cancelled_secret_is_worth_nothing(client: Client) -> None:
    """Once it was used there is nothing to cancel; and a cancelled one may be followed by another."""
    with _refused("no unused second secret"):
        client.cancel()
    new = client.rotate()
    client.cancel()
    assert not client.use(new)
    assert client.use(client.secrets[0])
    assert client.use(client.rotate())
    with _refused("no unused second secret"):
        client.cancel()


def test_a_rotation_on_a_rotation_is_refused(client: Client) -> None:
    """The sentence says since when there is a second secret, and what to do; the second secret stays."""
    new = client.rotate()
    with _refused("a second secret already, made 2026-03-01 12:00 UTC and not used yet: use it, or cancel"):
        client.rotate()
    assert client.use(new)


def test_what_can_not_be_rotated_is_told(client: Client) -> None:
    """A revoked key, an expired one, one that isn't there, and a grace out of range."""
    state = client.state
    with _refused("0 to 720 hours, not 721"):
        client.rotate(721)
    with _refused("0 to 720 hours, not -1"):
        client.rotate(-1)
    expired = _new_client(state, "1")
    expired.now += 24 * HOUR
    with _refused("has expired: create another key"):
        expired.rotate()
    keys.revoke_key(state.db, client.key_id, state.now)
    with _refused("is revoked: create another key"):
        client.rotate()
    client.key_id = "rpk_x"
    with _refused("There is no key 'rpk_x'"):
        client.rotate()


def test_a_second_secret_of_a_revoked_or_expired_key_is_refused(client: Client) -> None:
    """Its first use makes nothing of it."""
    new = client.rotate()
    keys.revoke_key(client.state.db, client.key_id, client.now)
    assert not client.use(new)
    short = _new_client(client.state, "1")
    second = short.rotate()
    short.now += 24 * HOUR
    assert short.send(second) is Refusal.INVALID_CLIENT


def test_a_rotation_begins_the_longest_life_anew(client: Client) -> None:
    """It counts from the day on which the second secret was made; the old one gets no older than it."""
    with writing(client.state.db) as connection:
        holder = organizations.find_organization(connection, "demo")
        organizations.limit_key_life(connection, holder, 10, ANN, client.now)
    old = client.secrets[0]
    client.now += 9 * 24 * HOUR
    new = client.rotate(grace_hours=72)
    assert client.use(new)
    client.now += 23 * HOUR
    granted = client.send(old)
    assert isinstance(granted, Grant)
    assert granted.seconds == 3600
    client.now += HOUR
    assert not client.use(old)
    client.now += 8 * 24 * HOUR
    assert client.use(new)
    client.now += 24 * HOUR
    assert not client.use(new)


def test_a_token_of_the_old_secret_ends_with_its_grace(client: Client) -> None:
    """Ten minutes before, it is granted for ten minutes."""
    new = client.rotate(grace_hours=1)
    assert client.use(new)
    client.now += timedelta(minutes=50)
    granted = client.send(client.secrets[0])
    assert isinstance(granted, Grant)
    assert granted.seconds == 600
    end = client.now + timedelta(minutes=10)
    assert callers.identify_caller(client.state.db, client.state.service_secret, granted.token, end) is None


def test_of_many_first_uses_at_once_each_is_granted(client: Client) -> None:
    """The old secret stays the one that it was: a second promotion would make the new one old."""
    new, start = client.rotate(grace_hours=5), Barrier(8)

    def use(_: int) -> bool:
        start.wait()
        return client.use(new)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))
    assert client.use(client.secrets[0])
    client.now += 5 * HOUR
    assert [client.use(secret) for secret in client.secrets] == [False, True]


def test_a_first_use_that_was_overtaken_by_a_cancellation_changes_nothing(client: Client) -> None:
    """It had seen the second secret; when it comes to make it the one, there is none."""
    seen = client.state.service_secret.hash(keys.SECRET_PURPOSE, client.rotate())
    client.cancel()
    with writing(client.state.db) as connection:
        assert not key_rotation.activate_next_secret(connection, client.key_id, seen, client.now)
    assert client.use(client.secrets[0])


@dataclass
class Model:
    """The rule in plain words: which of the secrets that were ever made is valid, by their numbers."""

    hour: int = 0
    current: int = 0
    made: int = 1
    next: tuple[int, int] | None = None
    old: tuple[int, int] | None = None

    def rotate(self, grace: int) -> bool:
        """Whether a rotation is taken."""
        if self.next is not None:
            return False
        self.next = (self.made, grace)
        self.made += 1
        return True

    def cancel(self) -> bool:
        """Whether there was one to cancel."""
        was, self.next = self.next, None
        return was is not None

    def use(self, secret: int) -> bool:
        """Whether that secret is valid now; the first use of the next one changes who is who."""
        if self.next is not None and secret == self.next[0]:
            self.old = (self.current, self.hour + self.next[1])
            self.current, self.next = secret, None
        return secret == self.current or (self.old is not None and secret == self.old[0] and self.hour < self.old[1])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rotate"), st.integers(0, 4)),
        st.tuples(st.just("cancel"), st.just(0)),
        st.tuples(st.just("use"), st.integers(0, 6)),
        st.tuples(st.just("wait"), st.integers(1, 5)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_key_does_as_the_rule_says(client: Client, steps: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order, each secret that was ever made is granted what the rule grants it."""
    real, model = _new_client(client.state), Model()
    for step, number in steps:
        match step:
            case "wait":
                real.now += number * HOUR
                model.hour += number
            case "rotate":
                assert _is_taken(lambda: real.rotate(number)) is model.rotate(number)  # noqa: B023 - called at once
            case "cancel":
                assert _is_taken(real.cancel) is model.cancel()
            case "use" if number < model.made:
                assert real.use(real.secrets[number]) is model.use(number), (steps, number)
    for number in range(model.made):
        assert real.use(real.secrets[number]) is model.use(number), (steps, number)


def _is_taken(change: Callable[[], object]) -> bool:
    try:
        change()
    except UsageError:
        return False
    return True
