"""What an owner should know of a key at a glance: never used, idle, about to expire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from reelport.server.access.key_expiry import NOTICE
from reelport.server.access.keys import Key
from reelport.wording import format_count

IDLE = timedelta(days=30)
"""A key that was not used for so long is marked idle."""
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


def list_marks(key: Key, now: datetime) -> tuple[str, ...]:
    """List the marks of a key, the most urgent first."""
    if key.revoked_at is not None:
        return ("revoked",)
    return (*_mark_expiry(key, now), *_mark_rotation(key, now), *_mark_use(key, now))


def expires_soon(key: Key, now: datetime) -> bool:
    """Whether a valid key expires within NOTICE."""
    expires_at = key.expires_at
    return key.revoked_at is None and expires_at is not None and now < expires_at <= now + NOTICE


def _mark_expiry(key: Key, now: datetime) -> Iterator[str]:
    expires_at = key.expires_at
    if key.is_expired(now):
        yield "expired"
    elif expires_at is not None and expires_soon(key, now):
        left = expires_at - now
        yield f"expires in {format_count(left // _DAY, 'day') if left >= _DAY else format_count(left // _HOUR, 'hour')}"


def _mark_rotation(key: Key, now: datetime) -> Iterator[str]:
    if key.has_next_secret:
        yield "second secret unused"
    if key.old_secret_until is not None and now < key.old_secret_until:
        yield f"old secret until {key.old_secret_until:%Y-%m-%d %H:%M}"


def _mark_use(key: Key, now: datetime) -> Iterator[str]:
    if key.last_used_at is None:
        # Of keys that are older than the column nobody knows whether they were used before it.
        yield "never used" if key.created_by is not None else "no use known"
    elif now - key.last_used_at >= IDLE:
        yield f"idle {format_count((now - key.last_used_at) // _DAY, 'day')}"
