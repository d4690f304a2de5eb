"""How copies stand: which days are there, which of them for good, and which are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from reelport.sync.days import Days
from reelport.sync.destinations import open_copies
from reelport.sync.planning import wanted
from reelport.sync.spec import Spec


@dataclass(frozen=True, slots=True)
class Coverage:
    """One copy on one day: days wanted; of these, verified, moving (there, and read again), and missing.

    `outdated` says that what is there was read for another meaning of the spec, and is read again.
    """

    spec: Spec
    wanted: Days
    verified: Days
    moving: Days
    missing: Days
    rows: int
    service: str
    outdated: bool

    @property
    def current(self) -> bool:
        """Whether no day is missing."""
        return not len(self.missing)


def coverage_of(spec: Spec, today: date | None = None) -> Coverage:
    """How a spec's copy stands; sends nothing, and changes nothing."""
    copies = open_copies(spec.place)
    state, days = copies.state(spec), wanted(spec, today or datetime.now(UTC).date())
    rows = 0
    with copies.view(spec) as view:
        if view is not None:
            found = view.con.execute(f"SELECT count(*) FROM {view.relation}").fetchone()  # noqa: S608 - quoted
            rows = int(found[0]) if found else 0
    serves = state.serves(spec)
    verified = state.verified & days if serves else Days()
    moving = (state.present & days) - verified if serves else Days()
    outdated = bool(state.identity) and not serves
    return Coverage(spec, days, verified, moving, days - verified - moving, rows, state.service, outdated)
