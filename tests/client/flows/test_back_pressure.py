"""Slots that asks on their way or somebody else hold: a refused report is waited for, a refused query told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.client.conftest import Time
from tests.client.ledgers import claimed, days, question, requested
from tests.client.range_asks import asked

from reelport import Client, QueryRefused, ReportQuery
from reelport.client.events import Event, InWindow, Queued, Received, WindowDone
from reelport.client.flows.ask import BackPressure, speaks_of_slots
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed
from reelport.client.session import Session
from reelport.errors import Problem
from reelport.testing import Vendor


def refusal(sentence: str, code: str = "bad_request") -> QueryRefused:
    """The refusal of an ask as a whole."""
    return QueryRefused((Problem(code, ("askPartnerReportFile",), sentence),))


REFUSAL = refusal("Too many reports are being generated.")


class Outsider:
    """Somebody else with the same key, who takes slots and gives them back when a client has waited."""

    def __init__(self, vendor: Vendor, *, comes: type[Event] | None = None) -> None:
        self.vendor = vendor
        self.comes = comes
        self.waited = 0

    def __call__(self, event: Event) -> None:
        """Listen to a client's progress."""
        inner = event.event if isinstance(event, InWindow) else event
        if isinstance(inner, Queued):
            self.waited += 1
            self.vendor.outside = 0
        elif self.comes is not None and isinstance(inner, self.comes):
            self.comes = None
            self.vendor.outside = 2


def test_slots_that_somebody_else_holds_are_waited_for(vendor: Vendor, client: Client, to: Path) -> None:
    """Nothing of ours is in flight, and the vendor refuses all the same: it is asked again, and takes it."""
    vendor.outside = 2
    outsider = Outsider(vendor)
    assert client.reports.run(days(3), to, progress=outsider).rows == 3
    assert (vendor.refused, len(vendor.asks), outsider.waited) == (1, 1, 1)


@pytest.mark.parametrize("comes", [None, Received, WindowDone])
def test_a_range_is_never_partial_because_of_somebody_else(
    vendor: Vendor, client: Client, to: Path, comes: type[Event] | None
) -> None:
    """Whether they are there from the start or come in between: every window is had."""
    vendor.outside = 0 if comes else 2
    outsider = Outsider(vendor, comes=comes)
    client.reports.run_range(asked("VIEWS"), to, progress=outsider)
    assert vendor.refused >= 1
    assert len(vendor.asks) == 4


def test_asks_on_their_way_hold_slots(vendor: Vendor, client: Client, to: Path) -> None:
    """With more slots than the vendor gives, a third is refused while the answers to two asks haven't come yet."""
    vendor.answers_asks_in, vendor.makes_after_looks = 1.0, 3
    client.with_options(slots=4).reports.run_range(asked("VIEWS"), to)
    assert vendor.refused >= 1
    assert len(vendor.asks) == 4


def test_a_claim_counts_asks_on_their_way(ledger: Ledger) -> None:
    """What may hold a slot counts: intents, reports in the making, asks whose answers were lost; and not itself."""
    first = claimed(ledger, question(days(1), slots=9))
    requested(ledger, "R-2", question(days(2), slots=9))
    entry = ledger.enter(question(days(3), slots=9))
    assert isinstance(entry, Claimed)
    assert entry.others == 2
    ledger.record_lost(first, "HTTP 502", answered=True)
    again = ledger.enter(question(days(1), slots=9, again=True))
    assert isinstance(again, Claimed)
    assert again.others == 2


def foreign(session: Session) -> Session:
    """A session with another vendor."""
    return Session(replace(session.settings, url="https://api.dailymotion.com"), session.clock, session.chance)


def test_a_refusal_of_one_more_report_with_nothing_in_flight_is_told_after_ten_minutes(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """Nothing speaks for others but the refusal itself."""
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000, window=False)
    for seconds, waits in ((0, True), (599, True), (2, False)):
        time.seconds += seconds
        assert back_pressure.should_wait(REFUSAL, 0, 0, lambda: True) is waits


@pytest.mark.parametrize("window", [False, True])
def test_a_refusal_that_speaks_of_nothing_else_is_the_query_s(
    session: Session, time: Time, query: ReportQuery, *, window: bool
) -> None:
    """With nothing of ours in flight it is told at once, a window's too."""
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000, window=window)
    assert not back_pressure.should_wait(refusal("This key may not ask for views."), 0, 0, lambda: True)


@pytest.mark.parametrize(
    ("sentence", "code", "crowded"),
    [
        ("Too many reports are being generated.", "bad_request", True),
        ("You have reached the maximum number of reports.", "bad_request", True),
        ("Another report is still in progress.", "bad_request", True),
        ("No.", "tooManyConcurrentReports", True),
        ("No.", "REPORT_LIMIT_EXCEEDED", True),
        ("Please try again later.", "bad_request", True),
        ("Too many metrics in one report.", "bad_request", False),
        ("A report may have at most 10 dimensions.", "bad_request", False),
        ("The range of a report exceeds the limit.", "bad_request", False),
        ("Channel x1 is not yours.", "access", False),
        ("No.", "bad_request", False),
    ],
)
def test_what_speaks_of_crowding(sentence: str, code: str, *, crowded: bool) -> None:
    """Reports at work, or how many there may be; not how much one report may hold."""
    assert speaks_of_slots(refusal(sentence, code)) is crowded


@pytest.mark.parametrize(
    ("sentence", "others"),
    [
        ("Visitor_country is not for you.", False),
        ("The views of this channel are not yours.", False),
        ("Invalid product.", False),
        ("No.", True),
        ("Too many views are being generated.", True),
    ],
)
def test_while_ours_are_in_flight_what_speaks_of_the_query_is_told_at_once(
    session: Session, time: Time, sentence: str, *, others: bool
) -> None:
    """Anything else may mean that the slots are held."""
    day = time.day.date()
    query = ReportQuery.of(["VIEWS"], ["VISITOR_COUNTRY"], day, day)
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000, window=True)
    assert back_pressure.should_wait(refusal(sentence), 1, 0, lambda: True) is others


def test_a_real_refusal_is_told_at_once(vendor: Vendor, client: Client, to: Path) -> None:
    """A vendor that has nothing against one more report, but against this one, is asked once."""
    vendor.refuses = lambda _: "There is no such thing as views."
    told: list[Event] = []
    with pytest.raises(QueryRefused, match="no such thing"):
        client.reports.run(days(3), to, progress=told.append)
    assert (vendor.refused_queries, [each for each in told if isinstance(each, Queued)]) == (1, [])


def test_a_refusal_that_stays_when_ours_have_ended_is_told_soon(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """A slot came free and it is refused all the same: trouble that may pass is waited out for 20 seconds."""
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000, window=False)
    for seconds, others, waits in ((0, 1, True), (3600, 0, True), (19, 0, True), (2, 0, False), (0, 1, True)):
        time.seconds += seconds
        assert back_pressure.should_wait(REFUSAL, others, 0, lambda: True) is waits


@pytest.mark.parametrize("like", [True, False])
def test_a_window_waits_as_long_as_any_where_its_like_was_taken(
    session: Session, time: Time, query: ReportQuery, *, like: bool
) -> None:
    """Its days alone are new, and days are seldom refused; until other asks are taken all the while."""
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000, window=True)
    assert back_pressure.should_wait(REFUSAL, 0, 0, lambda: like)
    time.seconds += 8000
    assert back_pressure.should_wait(REFUSAL, 0, 2, lambda: like) is like
    assert not back_pressure.should_wait(REFUSAL, 0, 3, lambda: like)


def test_the_ledger_knows_what_was_taken(ledger: Ledger) -> None:
    """Asks since a moment, and queries that differ in their days alone."""
    before = datetime(2026, 11, 1, tzinfo=UTC)
    requested(ledger, "R-1", question(days(1)))
    claimed(ledger, question(days(2)))
    assert (ledger.count_taken_since("key-1", before), ledger.count_taken_since("key-2", before)) == (1, 0)
    assert ledger.count_taken_since("key-1", None) == 0
    assert ledger.has_taken_similar("key-1", days(5))
    assert not ledger.has_taken_similar("key-1", replace(days(5), metrics=("UPLOADS",)))
    assert not ledger.has_taken_similar("key-2", days(5))
