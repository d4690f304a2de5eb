"""When keys expire: by a date of their own, or by their organization's longest life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class KeyKind(StrEnum):
    """How a key gets tokens: private by its secret, public with a password, studio never."""

    PRIVATE = "private"
    PUBLIC = "public"
    STUDIO = "studio"


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
    limits = [terms.expires_at]
    if terms.max_days is not None:
        limits.append(terms.secret_created_at + timedelta(days=terms.max_days))
    return min((limit for limit in limits if limit is not None), default=None)


def is_expired(terms: KeyTerms, now: datetime) -> bool:
    """Whether a key is expired at this time."""
    expiry = effective_expiry(terms)
    return expiry is not None and expiry <= now
