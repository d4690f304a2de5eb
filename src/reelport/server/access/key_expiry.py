"""When keys expire, and of which kind they are."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from reelport.language import N_

MOST_DAYS = 3650
"""Days that a key may be made to live: ten years."""
NOTICE = timedelta(days=14)
"""How long before a key expires notice is given."""

_DAYS = re.compile(r"[0-9]{1,9}")


class KeyKind(StrEnum):
    """How a key gets tokens: private by its secret, public with a password, studio never."""

    PRIVATE = N_("private")
    PUBLIC = N_("public")
    STUDIO = N_("studio")


def is_expired(expires_at: datetime | None, now: datetime) -> bool:
    """Whether a key is expired at this time; None is a key that never expires."""
    return expires_at is not None and expires_at <= now


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the earliest moment; None stands for never."""
    return min((each for each in moments if each is not None), default=None)


def parse_expiry(given: str, now: datetime) -> datetime:
    """Parse when a key expires: in days, or where a date begins (UTC); ValueError says why not."""
    if _DAYS.fullmatch(given):
        if not 1 <= int(given) <= MOST_DAYS:
            raise ValueError(f"A key expires after 1 to {MOST_DAYS} days, not {given}.")
        return now + timedelta(days=int(given))
    try:
        found = datetime.combine(date.fromisoformat(given), datetime.min.time(), UTC)
    except ValueError:
        sentence = f"{given!r} is no expiry: it is a number of days, such as 90, or a date, such as 2027-01-31."
        raise ValueError(sentence) from None
    if found <= now:
        raise ValueError(f"The expiry {given} is not after now: the key would never work.")
    return found
