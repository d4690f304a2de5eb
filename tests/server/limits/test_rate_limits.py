"""How guessing passwords is slowed down."""

from __future__ import annotations

from reelport.server.limits.rate_limits import LoginAttempts, TokenBuckets


def test_attempts_come_back_with_time() -> None:
    """Ten at once for one user, then six a minute; another user and another address have their own."""
    now = 0.0
    attempts = LoginAttempts(lambda: now)
    assert [attempts.begin("192.0.2.1", "ann") for _ in range(10)] == [0.0] * 10
    assert attempts.begin("192.0.2.1", "ann") == 10.0
    assert attempts.begin("192.0.2.1", "ben") == 0.0
    assert attempts.begin("192.0.2.2", "ann") == 0.0
    now = 10.0
    assert attempts.begin("192.0.2.1", "ann") == 0.0
    assert attempts.begin("192.0.2.1", "ann") == 10.0


def test_an_address_can_not_try_many_users() -> None:
    """A hundred attempts at once for whatever users, then one a second; those that were right don't count."""
    attempts = LoginAttempts(lambda: 0.0)
    assert [attempts.begin("192.0.2.1", f"user-{number}") for number in range(100)] == [0.0] * 100
    assert attempts.begin("192.0.2.1", "user-100") == 1.0
    attempts.forgive("192.0.2.1", "user-0")
    assert attempts.begin("192.0.2.1", "user-100") == 0.0


def test_the_addresses_of_one_ipv6_site_are_one() -> None:
    """A site chooses the last 64 bits as it likes."""
    attempts = LoginAttempts(lambda: 0.0)
    for number in range(10):
        attempts.begin(f"2001:db8::{number}", "ann")
    assert attempts.begin("2001:db8::ffff", "ann") > 0
    assert attempts.begin("2001:db8:0:1::1", "ann") == 0
    assert attempts.begin("", "ann") == 0


def test_an_ipv4_address_is_one_in_both_spellings() -> None:
    """A socket of both versions gives it as an IPv6 address."""
    attempts = LoginAttempts(lambda: 0.0)
    for number in range(10):
        assert attempts.begin(("192.0.2.1", "::ffff:192.0.2.1")[number % 2], "ann") == 0
    assert attempts.begin("192.0.2.1", "ann") > 0
    assert attempts.begin("::ffff:192.0.2.1", "ann") > 0
    assert attempts.begin("::FFFF:c000:0201", "ann") > 0
    assert attempts.begin("::ffff:192.0.2.2", "ann") == 0


def test_what_is_left_in_a_bucket_is_told_with_the_time_in_which_no_more_comes() -> None:
    """Two a second, ten at once: what comes back in between counts once it is whole."""
    now = 0.0
    buckets = TokenBuckets(120, 10, lambda: now)
    assert buckets.measure("policy", b"owner").left is None
    for _ in range(10):
        buckets.take(b"owner")
    empty = buckets.measure("policy", b"owner")
    assert (empty.quota, empty.window, empty.left, empty.reset) == (10, 5, 0, 1)
    now = 1.75
    assert buckets.measure("policy", b"owner").left == 3
    now = 60.0
    assert buckets.measure("policy", b"owner").left == 10


def test_a_code_is_not_guessed_within_a_year() -> None:
    """A user's wrong codes are some hundred a day, wherever from; one that was right is not counted."""
    now = 0.0
    attempts = LoginAttempts(lambda: now)
    guesses = 0
    for second in range(86_400):
        now = float(second)
        guesses += attempts.begin_code("user") == 0
    assert 1 - (1 - 3 / 1_000_000) ** (365 * guesses) < 0.25
    assert attempts.begin_code("another") == 0
    for _ in range(100):
        assert attempts.begin_code("third") == 0
        attempts.forgive_code("third")
