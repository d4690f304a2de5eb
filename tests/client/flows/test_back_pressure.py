"""Slots that others hold and refused reports are waited for; a download that trickles is a broken one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, Time, looked
from tests.client.downloads import CSV, SHA
from tests.client.flows.flow_driver import reply
from tests.client.ledgers import claimed, days, question, requested
from tests.client.range_asks import asked

from reelport import Client, QueryRefused, ReportQuery
from reelport.client.events import Event, InWindow, Queued, Received, Retrying, WindowDone
from reelport.client.flows.back_pressure import BackPressure, speaks_of_slots
from reelport.client.flows.download import Downloaded, download
from reelport.client.flows.lifecycle import ReportState
from reelport.client.flows.retry import LEAST_BYTES, SteadyBody
from reelport.client.ledger import Ledger
from reelport.client.ledger_slots import Claimed
from reelport.client.session import Grant, Session
from reelport.client.steps import Flow, Lost, Open, Read, Reply, Request, Wait, Work
from reelport.errors import IncompleteDownload, Problem
from reelport.testing import Vendor
from reelport.wire import ReportStatus


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
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000)
    for seconds, waits in ((0, True), (599, True), (2, False)):
        time.seconds += seconds
        assert back_pressure.should_wait(REFUSAL, 0) is waits


def test_a_refusal_that_speaks_of_nothing_else_is_the_query_s(session: Session, time: Time, query: ReportQuery) -> None:
    """With nothing of ours in flight it is told at once."""
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000)
    assert not back_pressure.should_wait(refusal("This key may not ask for views."), 0)


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
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000)
    assert back_pressure.should_wait(refusal(sentence), 1) is others


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
    back_pressure = BackPressure(foreign(session), query, time.seconds + 9000)
    for seconds, others, waits in ((0, 1, True), (3600, 0, True), (19, 0, True), (2, 0, False), (0, 1, True)):
        time.seconds += seconds
        assert back_pressure.should_wait(REFUSAL, others) is waits


LINK = "https://reports.example.org/file"
WHOLE = CSV.encode()


class Trickle:
    """Drives a download; each opened body answers with the next list of (seconds, bytes)."""

    def __init__(self, time: Time, *bodies: list[tuple[float, bytes]]) -> None:
        self.time = time
        self.bodies = list(bodies)
        self.asked: list[Request] = []
        self.body: Iterator[tuple[float, bytes]] = iter(())

    def run(self, flow: Flow[Downloaded]) -> Downloaded:
        """Run the flow to its end and return its result."""
        answer: object = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                done: Downloaded = end.value
                return done
            answer = self._answer(step)

    def _answer(self, step: object) -> object:
        match step:
            case Open(request):
                return self._open(request)
            case Read():
                seconds, data = next(self.body)
                self.time.seconds += seconds
                return data
            case Work(task):
                return task()
            case Wait():
                return None
        raise AssertionError(step)

    def _open(self, request: Request) -> Reply:
        if request.url != LINK:
            look = reply(looked("FINISHED", LINK))
            self.body = iter([(0.0, look.body), (0.0, b"")])
            return look
        self.asked.append(request)
        self.body = iter([*(self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]), (0.0, b"")])
        start = int(request.headers.get("range", "bytes=0-").split("=")[1].rstrip("-"))
        head = {"content-length": str(len(WHOLE) - start), "etag": f'"{SHA}"', "accept-ranges": "bytes"}
        if start:
            return Reply(206, {**head, "content-range": f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}"})
        return Reply(200, head)


def _drip(data: bytes) -> list[tuple[float, bytes]]:
    """A byte a minute, which never is silence for long."""
    return [(59.0, bytes([each])) for each in data]


def _download(session: Session, target: Path, driver: Trickle, told: list[Event]) -> Downloaded:
    session.access.grant = Grant("token", float("inf"))
    state = ReportState(REPORT, ReportStatus.FINISHED, (LINK,))
    return driver.run(download(session, state, target, None, told.append))


def _read_all(body: SteadyBody, time: Time, reads: list[tuple[float, bytes]]) -> list[bytes | Lost]:
    """What comes of reads that take so many seconds each, after each of which the reader does something else."""
    return [_read(body, time, *each) for each in reads]


def _read(body: SteadyBody, time: Time, seconds: float, data: bytes) -> bytes | Lost:
    time.seconds += 1000.0
    flow = body.read()
    next(flow)
    time.seconds += seconds
    with pytest.raises(StopIteration) as end:
        flow.send(data)
    read: bytes | Lost = end.value.value
    return read


def test_a_trickling_download_goes_on_by_range(session: Session, time: Time, tmp_path: Path) -> None:
    """After five minutes of a byte each, the rest is asked for anew; what came is kept."""
    driver, told = Trickle(time, _drip(WHOLE), [(1.0, WHOLE[6:])]), list[Event]()
    done = _download(session, tmp_path / "views.csv", driver, told)
    assert done.path.read_bytes() == WHOLE
    assert [each.headers.get("range") for each in driver.asked] == [None, "bytes=6-"]
    (retrying,) = [each for each in told if isinstance(each, Retrying)]
    assert "it brought 7 bytes" in str(retrying)


def test_a_download_that_only_trickles_ends(session: Session, time: Time, tmp_path: Path) -> None:
    """Three tries of it, as of any other break, and an error that says why."""
    driver = Trickle(time, _drip(WHOLE))
    with pytest.raises(IncompleteDownload, match="it brought 7 bytes"):
        _download(session, tmp_path / "views.csv", driver, [])
    assert len(driver.asked) == 3


def test_last_bytes_that_come_late_are_the_last(session: Session, time: Time, tmp_path: Path) -> None:
    """The whole file is there: nothing is asked for again, and nothing dropped."""
    driver = Trickle(time, [*_drip(WHOLE[:5]), (59.0, WHOLE[5:])])
    done = _download(session, tmp_path / "views.csv", driver, [])
    assert done.path.read_bytes() == WHOLE
    assert len(driver.asked) == 1


def test_a_slow_line_and_a_slow_reader_are_no_trickle(time: Time) -> None:
    """What brings 64 KiB in the time goes on for ever; time between two reads is the reader's own."""
    body = SteadyBody(lambda: time.seconds, 300.0, 300.0)
    reads = [(290.0, bytes(LEAST_BYTES - 1)), (5.0, b"x")] * 5
    assert _read_all(body, time, reads) == [data for _, data in reads]


def test_a_process_that_stood_still_waited_for_nothing(time: Time) -> None:
    """Stopped for an hour within a read, it goes on: of that hour a silence's length counts."""
    body = SteadyBody(lambda: time.seconds, 300.0, 60.0)
    reads = [(3600.0, b"x"), (1.0, b"x"), (1.0, b"x")]
    assert _read_all(body, time, reads) == [b"x"] * 3
