"""How guessing passwords and codes is slowed down, and texts that are used once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context

import pytest
from sqlalchemy import func, select
from tests.server.conftest import State
from tests.server.state.test_costs import seen

from reelport.server.access.login_attempts import LoginAttempts, use_once
from reelport.server.settings import Settings
from reelport.server.state.database import connected, reading, writing
from reelport.server.state.tables import ATTEMPTS


def test_attempts_come_back_with_time(state: State) -> None:
    """Ten at once for one user, then six a minute; another user and another address have their own."""
    now = 0.0
    attempts = LoginAttempts(state.db, lambda: now)
    assert [attempts.begin("192.0.2.1", "ann") for _ in range(10)] == [0.0] * 10
    assert attempts.begin("192.0.2.1", "ann") == 10.0
    assert attempts.begin("192.0.2.1", "ben") == 0.0
    assert attempts.begin("192.0.2.2", "ann") == 0.0
    now = 10.0
    assert attempts.begin("192.0.2.1", "ann") == 0.0
    assert attempts.begin("192.0.2.1", "ann") == 10.0


def test_an_address_can_not_try_many_users(state: State) -> None:
    """A hundred attempts at once for whatever users, then one a second; those that were right don't count."""
    attempts = LoginAttempts(state.db, lambda: 0.0)
    assert [attempts.begin("192.0.2.1", f"user-{number}") for number in range(100)] == [0.0] * 100
    assert attempts.begin("192.0.2.1", "user-100") == 1.0
    attempts.forgive("192.0.2.1", "user-0")
    assert attempts.begin("192.0.2.1", "user-100") == 0.0


def test_the_addresses_of_one_ipv6_site_are_one(state: State) -> None:
    """A site chooses the last 64 bits as it likes."""
    attempts = LoginAttempts(state.db, lambda: 0.0)
    for number in range(10):
        attempts.begin(f"2001:db8::{number}", "ann")
    assert attempts.begin("2001:db8::ffff", "ann") > 0
    assert attempts.begin("2001:db8:0:1::1", "ann") == 0
    assert attempts.begin("", "ann") == 0


def test_an_ipv4_address_is_one_in_both_spellings(state: State) -> None:
    """A socket of both versions gives it as an IPv6 address."""
    attempts = LoginAttempts(state.db, lambda: 0.0)
    for number in range(10):
        assert attempts.begin(("192.0.2.1", "::ffff:192.0.2.1")[number % 2], "ann") == 0
    assert attempts.begin("192.0.2.1", "ann") > 0
    assert attempts.begin("::ffff:192.0.2.1", "ann") > 0
    assert attempts.begin("::FFFF:c000:0201", "ann") > 0
    assert attempts.begin("::ffff:192.0.2.2", "ann") == 0


@pytest.mark.long
def test_a_code_is_not_guessed_within_a_year(state: State) -> None:
    """A user's wrong codes are some hundred a day, wherever from; one that was right is not counted."""
    now = 0.0
    attempts = LoginAttempts(state.db, lambda: now)
    guesses = 0
    for second in range(0, 86_400, 60):
        now = float(second)
        guesses += attempts.begin_code("user") == 0
    assert 1 - (1 - 3 / 1_000_000) ** (365 * guesses) < 0.25
    assert attempts.begin_code("another") == 0
    for _ in range(12):
        assert attempts.begin_code("third") == 0
        attempts.forgive_code("third")


def _count_rows(state: State) -> int:
    with reading(state.db) as connection:
        return connection.execute(select(func.count()).select_from(ATTEMPTS)).scalar_one()


def test_an_attempt_costs_one_statement_and_what_was_never_tried_no_row(state: State) -> None:
    """Rows whose attempts have all come back are deleted, others are not."""
    now = 0.0
    attempts = LoginAttempts(state.db, lambda: now)
    with seen(state.db) as trying:
        attempts.begin("192.0.2.1", "ann")
    assert (len(trying.statements), trying.commits, _count_rows(state)) == (1, 1, 2)
    with seen(state.db) as forgiving:
        attempts.forgive("192.0.2.1", "ann")
        attempts.forgive("192.0.2.2", "ben")
    assert (len(forgiving.statements), _count_rows(state)) == (2, 2)
    attempts.begin_code("user")
    now = 11.0
    attempts.delete_unused()
    assert _count_rows(state) == 1
    now = 361.0
    attempts.delete_unused()
    assert _count_rows(state) == 0


def test_a_clock_that_was_set_back_locks_nobody_out(state: State) -> None:
    """Attempts that would come back later than all of them can are those of another time."""
    now = 1_000_000.0
    attempts = LoginAttempts(state.db, lambda: now)
    while attempts.begin_code("user") == 0:
        pass
    now = 10_000.0
    assert [attempts.begin_code("user") for _ in range(10)] == [0.0] * 10
    assert attempts.begin_code("user") == 360.0


def test_attempts_that_are_counted_in_another_order_than_they_came_pass_no_limit(state: State) -> None:
    """Nor do those at a process whose clock is behind that of another."""
    now = 100.0
    ahead, behind = LoginAttempts(state.db, lambda: now), LoginAttempts(state.db, lambda: now - 0.001)
    for attempts, owner in ((ahead, "ann"), (behind, "ben")):
        assert [attempts.begin_code(owner) for _ in range(10)] == [0.0] * 10
        assert all(each.begin_code(owner) > 0 for each in (behind, ahead, behind, ahead))
    behind.delete_unused()
    assert behind.begin_code("ann") > 0


def test_right_and_wrong_passwords_at_the_same_moment_wait_for_each_other(state: State) -> None:
    """None of them fails, whatever order the rows of address and user have on the disk."""
    attempts = LoginAttempts(state.db, lambda: 0.0)

    def sign_in(number: int) -> float:
        wait = attempts.begin("192.0.2.1", f"user-{number % 4}")
        attempts.forgive("192.0.2.1", f"user-{number % 4}")
        return wait

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(sign_in, range(200))) == 0


@pytest.mark.long
def test_two_processes_share_one_count(state: State) -> None:
    """However many processes a service has: guesses at one of them are counted at the other, at the same moment too."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        guessed = [pool.submit(_guess, state.settings, 12) for _ in range(2)]
        allowed = sum(each.result() for each in guessed)
    assert allowed == 10
    assert LoginAttempts(state.db, lambda: 0.0).begin("192.0.2.1", "ann") == 10.0


def _guess(settings: Settings, times: int) -> int:
    """Guess in a process of its own; how often that was allowed."""
    with connected(settings) as db:
        attempts = LoginAttempts(db, lambda: 0.0)
        return sum(attempts.begin("192.0.2.1", "ann") == 0 for _ in range(times))


def test_a_text_is_used_once_however_many_use_it_at_a_time(state: State) -> None:
    """Until its time is over: a challenge that was answered lives no longer than that."""
    life = timedelta(minutes=10)

    def use(text: str, now: datetime) -> bool:
        with writing(state.db) as connection:
            return use_once(connection, text, life, now)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: use("challenge", state.now), range(8))) == 1
    assert use("another", state.now)
    assert not use("challenge", state.now + life - timedelta(seconds=1))
    # A request that came before the one that used it may reach the state after it.
    assert not use("challenge", state.now - timedelta(milliseconds=1))
    assert not use("challenge", state.now - life)
    assert use("challenge", state.now + life + timedelta(seconds=1))
