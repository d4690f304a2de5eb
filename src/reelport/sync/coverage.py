"""Coverage of a copy: which days it has, which of them are verified, and which are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from reelport.sync.days import Days
from reelport.sync.destinations import open_destination
from reelport.sync.last_success import read_success
from reelport.sync.planning import wanted_days
from reelport.sync.spec import Spec
from reelport.sync.staging import count_rows


@dataclass(frozen=True, slots=True)
class Coverage:
    """A copy's days: wanted; of these verified, moving (to be read again), missing.

    `outdated` says that the copy was made by another query than the spec's: every day is read again. `last_success` is
    when a run last ended with nothing left to read (UTC); runs of named days don't count.
    """

    spec: Spec
    wanted: Days
    verified: Days
    moving: Days
    missing: Days
    rows: int
    service: str
    outdated: bool
    last_success: datetime | None


def coverage_of(spec: Spec, today: date | None = None) -> Coverage:
    """Compute the coverage of a spec's copy. Sends nothing and changes nothing."""
    copies = open_destination(spec.place)
    state, days = copies.state(spec), wanted_days(spec, today or datetime.now(UTC).date())
    with copies.view(spec) as view:
        rows = 0 if view is None else count_rows(view.con, view.relation)
    serves = state.has_meaning_of(spec)
    verified = state.verified & days if serves else Days()
    moving = (state.present & days) - verified if serves else Days()
    outdated = bool(state.identity) and not serves
    missing, succeeded = days - verified - moving, read_success(spec) if state.present.spans else None
    return Coverage(spec, days, verified, moving, missing, rows, state.service, outdated, succeeded)
