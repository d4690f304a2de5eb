"""Questions to a ledger, the rows that they come to, and a time of day that a test moves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row
from reelport.client.ledger_slots import Claimed, Question
from reelport.query import ReportQuery

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 3))
REPORT = "R-1"


class Calendar:
    """A time of day that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """What a ledger asks for."""
        return self.now

    def later(self, **time: float) -> None:
        """Move on."""
        self.now += timedelta(**time)


def question(
    query: ReportQuery = QUERY,
    *,
    reelport: bool = False,
    slots: int = 2,
    fresh: bool = False,
    again: bool = False,
    current: bool = False,
) -> Question:
    """A question to a vendor, as one key asks it."""
    return Question("https://vendor.example", "key-1", query, reelport, slots, fresh, again, current)


def days(number: int) -> ReportQuery:
    """A query of its own for each number."""
    return QUERY.within(date(2026, 10, 1), date(2026, 10, number))


def claimed(ledger: Ledger, asked: Question | None = None) -> Row:
    """A row that this process is to ask for."""
    entry = ledger.enter(asked or question())
    assert isinstance(entry, Claimed)
    return entry.row


def requested(ledger: Ledger, token: str = REPORT, asked: Question | None = None) -> Row:
    """A row whose token has come."""
    return ledger.record_token(claimed(ledger, asked), token)


def given_up(ledger: Ledger, row: Row) -> None:
    """Have the row's process be dead."""
    ledger.release(row)


def shown(ledger: Ledger, row: Row) -> Row:
    """The row as it is in the file."""
    found = ledger.get(row.id)
    assert found is not None
    return found
