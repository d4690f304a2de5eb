"""The clock for expiry: the machine's, but a jump ahead is accepted only after an hour.

Otherwise a clock that is set 49 hours ahead, and back a minute later, would delete every file. The monotonic clock
tells a jump from time that has passed; over a restart the state remembers the time that was accepted last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine, bindparam, select, text

from reelport.server.state.database import reading, writing
from reelport.server.state.tables import MOMENTS, Moment

JUMP = timedelta(hours=1)
"""A clock that is further ahead than this of the expected time is not accepted at once."""

HOLD_SECONDS = 3600.0
"""Seconds that the clock must keep to the new time before it is accepted."""

_SHARE = text("""
INSERT INTO moments (name, at)
VALUES ('time', :at)
ON CONFLICT (name) DO UPDATE
SET at = :at
""").bindparams(bindparam("at", type_=Moment()))
_log = structlog.get_logger()


class ExpiryClock:
    """One process's view of the time for expiry. Thread-safe."""

    def __init__(
        self,
        db: Engine,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The time that was accepted last, and the monotonic time of that; None before the first `agree`.
        self._accepted: tuple[datetime, float] | None = None
        self._doubted_since: float | None = None
        self._shared: datetime | None = None

    def now(self) -> datetime:
        """The time to compare `expires_at` with. Reads no database.

        Before the first `agree` it is the clock's.
        """
        wall, accepted = self._wall(), self._accepted
        if accepted is None:
            return wall
        expected = self._compute_expected(accepted)
        return wall if wall <= expected + JUMP else expected

    def agree(self) -> datetime:
        """Agree on the time with the other processes of this state, and return it.

        Call it before each sweep.
        """
        with self._lock:
            shared = self._read_shared()
            wall, passed = self._wall(), self._monotonic()
            if self._accepted is None:
                ahead = shared is not None and wall > shared + JUMP
                self._accepted = (shared if ahead and shared is not None else wall, passed)
            expected = self._compute_expected(self._accepted)
            if self._is_accepted(wall, passed, expected, shared):
                self._accepted, self._doubted_since = (wall, passed), None
                self._share(wall)
            self._shared = shared
        return self.now()

    def _compute_expected(self, accepted: tuple[datetime, float]) -> datetime:
        """Compute what the clock should show: the accepted time and what has passed since."""
        at, passed = accepted
        return at + timedelta(seconds=self._monotonic() - passed)

    def _is_accepted(self, wall: datetime, passed: float, expected: datetime, shared: datetime | None) -> bool:
        """Whether to accept the clock's time.

        It is accepted when it is expected, when others accepted it, or after HOLD_SECONDS of the same jump.
        """
        if wall <= expected + JUMP or (shared is not None and shared - JUMP <= wall <= shared + JUMP):
            return True
        others_go_on = self._doubted_since is not None and shared != self._shared
        if self._doubted_since is None or others_go_on:
            self._doubted_since = passed
            _log.warning(
                "the clock is far ahead of the expected time: reports expire by the expected time for now",
                clock=wall.isoformat(),
                expected=expected.isoformat(),
                hours=HOLD_SECONDS / 3600,
            )
        return passed - self._doubted_since >= HOLD_SECONDS

    def _read_shared(self) -> datetime | None:
        with reading(self._db) as connection:
            return connection.execute(select(MOMENTS.c.at).where(MOMENTS.c.name == "time")).scalar()

    def _share(self, wall: datetime) -> None:
        with writing(self._db) as connection:
            connection.execute(_SHARE, {"at": wall})
