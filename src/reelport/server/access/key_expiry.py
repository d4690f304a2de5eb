"""When keys expire: by a date of their own, or by their organization's longest life."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from reelport.errors import UsageError
from reelport.language import N_

MOST_DAYS = 3650
"""Days that a key may be made to live, and an organization's keys may be allowed to: ten years."""
NOTICE = timedelta(days=14)
"""How long before a key expires notice is given."""

_DAYS = re.compile(r"[0-9]{1,9}")


class KeyKind(StrEnum):
    """How a key gets tokens: private by its secret, public with a password, studio never."""

    PRIVATE = N_("private")
    PUBLIC = N_("public")
    STUDIO = N_("studio")


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What decides when a key expires: its secret's age, its date, the longest life."""

    kind: KeyKind
    secret_created_at: datetime
    expires_at: datetime | None
    max_days: int | None


def effective_expiry(terms: KeyTerms) -> datetime | None:
    """Return when a key expires, the earlier of both limits; None for never.

    Studio's own key never expires: nobody knows a secret of it that could be stolen.
    """
    if terms.kind is KeyKind.STUDIO:
        return None
    by_age = None if terms.max_days is None else terms.secret_created_at + timedelta(days=terms.max_days)
    return earliest(terms.expires_at, by_age)


def is_expired(terms: KeyTerms, now: datetime) -> bool:
    """Whether a key is expired at this time."""
    expiry = effective_expiry(terms)
    return expiry is not None and expiry <= now


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


def parse_max_days(given: str) -> int | None:
    """Parse the longest life of keys in days; `none` is no limit. UsageError else."""
    if given == "none":
        return None
    if not _DAYS.fullmatch(given):
        raise UsageError(f"{given[:50]!r} is no number of days: give one, such as 90, or none.")
    check_max_days(int(given))
    return int(given)


def check_max_days(days: int | None) -> None:
    """Raise UsageError for what can't be the longest life of keys; None is no limit."""
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise UsageError(f"The longest life of keys is 1 to {MOST_DAYS} days, not {days}.")
