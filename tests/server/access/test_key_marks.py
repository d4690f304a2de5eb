"""The marks of a key in lists: what its owner should look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.server.conftest import NOW

from reelport.server.access.key_expiry import KeyKind, KeyTerms
from reelport.server.access.key_marks import expires_soon, list_marks
from reelport.server.access.keys import Key

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
        ({"last_used_at": None, "created_by": None}, ("no use known",)),
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
