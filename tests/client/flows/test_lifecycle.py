"""Waiting, stepped by hand: looks and the pauses between them, deadlines, what passes and what doesn't."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, Time, looked
from tests.client.flows.flow_driver import ASKED, PAGE, FlowDriver, ask, held, of_dailymotion, refused, reply
from tests.client.ledgers import days

from reelport import Client
from reelport.client.events import Asked, Event, Looked, Retrying, ignore_event
from reelport.client.flows import lifecycle
from reelport.client.flows.fetch import fetch
from reelport.client.ledger import Ledger
from reelport.client.session import Session
from reelport.client.steps import Lost, Reply, to_seconds
from reelport.errors import (
    NotFinished,
    ReportExpired,
    ReportFailed,
    ServiceError,
    Unreachable,
    UsageError,
)
from reelport.query import ReportQuery
from reelport.testing import Vendor


def test_waiting_looks_at_once_then_ever_more_seldom(session: Session, time: Time) -> None:
    """The first look waits for nothing; pauses grow by a tenth from 0.2 s to 60 s."""
    answers = [reply(looked("IN_PROGRESS"))] * 70 + [reply(looked("FINISHED", "https://files.example.org/1"))]
    hand = FlowDriver(time, *answers)
    state = hand.drive(lifecycle.wait(session, REPORT, ignore_event))
    assert state.links == ("https://files.example.org/1",)
    assert hand.waits[:2] == pytest.approx([0.2, 0.22])
    assert hand.waits == sorted(hand.waits)
    assert hand.waits[-1] == 60


def test_pauses_vary_by_chance(session: Session, time: Time) -> None:
    """Jitter is a fifth more or less, so that many waiters don't look at the same moment."""
    for chance, first in ((0.0, 0.16), (0.999999, 0.24)):
        lucky = Session(session.settings, session.clock, lambda chance=chance: chance)  # type: ignore[misc]
        hand = FlowDriver(time, reply(looked("IN_PROGRESS")), reply(looked("FINISHED", "https://files.example.org/1")))
        hand.drive(lifecycle.wait(lucky, REPORT, ignore_event))
        assert hand.waits == [pytest.approx(first, abs=1e-3)]


def test_a_deadline_keeps_the_token_and_says_how_to_resume(session: Session, time: Time) -> None:
    """After the deadline NotFinished carries the report's token; it is reached exactly, with a last look."""
    start = time.seconds
    with pytest.raises(NotFinished, match=f"reelport report wait {REPORT}") as caught:
        FlowDriver(time, reply(looked("IN_PROGRESS"))).drive(
            lifecycle.wait(session, REPORT, ignore_event, deadline=100)
        )
    assert caught.value.token == REPORT
    assert time.seconds - start == pytest.approx(100)


def test_a_wait_renews_its_token(session: Session, time: Time) -> None:
    """A wait of two hours uses a token of an hour, and then another."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")))
    with pytest.raises(NotFinished):
        hand.drive(lifecycle.wait(session, REPORT, ignore_event, deadline=7200))
    assert hand.sent_to("/token") == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(looked("FAILED")), ReportFailed),
        (reply(looked("EXPIRED")), ReportExpired),
        (reply({"data": {"partner": {"reportFile": None}}}), ReportExpired),
        (reply({"data": {"partner": None}}), ServiceError),
        (reply({"data": {"partner": {"reportFile": ["x"]}}}), ServiceError),
        (reply({"data": {"partner": {"reportFile": {"status": "FINISHED", "downloadLinks": 1}}}}), ServiceError),
        (reply({"data": {"partner": {"reportFile": {"downloadLinks": {"edges": 7}}}}}), ServiceError),
        (reply(looked("FINISHED")), ServiceError),
        (reply(PAGE), Unreachable),
        (reply(b"{"), Unreachable),
        (reply({"data": None}), ServiceError),
    ],
)
def test_a_report_that_never_will_be(session: Session, time: Time, answer: Reply, error: type[Exception]) -> None:
    """A dead end ends the wait at once, or soon, and says which."""
    start = time.seconds
    with pytest.raises(error):
        FlowDriver(time, answer).drive(lifecycle.wait(session, REPORT, ignore_event))
    assert time.seconds - start < 120


def test_a_status_that_we_do_not_know_is_waited_on(session: Session, time: Time) -> None:
    """A vendor's new status is no reason to give up, nor is a finished report whose link is late."""
    link = "https://files.example.org/1"
    hand = FlowDriver(time, reply(looked("QUEUED")), reply(looked("FINISHED")), reply(looked("FINISHED", link)))
    assert hand.drive(lifecycle.wait(session, REPORT, ignore_event)).links == (link,)


def test_trouble_during_a_wait_is_waited_out(session: Session, time: Time) -> None:
    """A service that is away for an hour in mid-wait costs nothing but time."""
    told: list[Event] = []
    trouble: list[Reply | Lost] = [
        Lost("connection reset"),
        reply(PAGE, 502),
        refused({"message": "try later", "extensions": {"code": "unavailable"}}),
        *[Lost("connection refused", sent=False)] * 40,
    ]
    last = reply(looked("FINISHED", "https://files.example.org/1"))
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), *trouble, last)
    assert hand.drive(lifecycle.wait(session, REPORT, told.append)).ready
    assert sum(isinstance(event, Retrying) for event in told) == len(trouble)
    assert [event.status for event in told if isinstance(event, Looked)] == ["IN_PROGRESS", "FINISHED"]


def test_a_service_that_stays_away_ends_in_not_finished(session: Session, time: Time) -> None:
    """Once a report was seen, an unreachable service is no reason to lose its token."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), Lost("connection refused", sent=False))
    with pytest.raises(NotFinished) as caught:
        hand.drive(lifecycle.wait(session, REPORT, ignore_event, deadline=600))
    assert caught.value.token == REPORT


@pytest.mark.parametrize("text", ["7", "Wed, 25 Nov 2026 12:00:07 GMT", "Wed, 25 Nov 2026 12:00:07"])
def test_retry_after_is_honoured(session: Session, time: Time, text: str) -> None:
    """Retry-After, in seconds or as a date, is how long the next look waits."""
    busy = reply({}, 429, retry_after=text)
    hand = FlowDriver(time, busy, reply(looked("FINISHED", "https://files.example.org/1")))
    hand.drive(lifecycle.wait(session, REPORT, ignore_event))
    assert hand.waits == [pytest.approx(7)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("-5", 0.2), ("nan", 0.2), ("inf", 0.2), ("soon", 0.2), ("", 0.2), ("9" * 99, None)],
)
def test_odd_texts_of_retry_after(session: Session, time: Time, text: str, seconds: float | None) -> None:
    """Fractions are understood; what is no time is as good as none; what is beyond all patience ends it."""
    hand = FlowDriver(time, reply({}, 503, retry_after=text), reply(looked("FINISHED", "https://files.example.org/1")))
    if seconds is None:
        with pytest.raises(ServiceError):
            hand.drive(lifecycle.wait(session, REPORT, ignore_event))
    else:
        hand.drive(lifecycle.wait(session, REPORT, ignore_event))
        assert hand.waits == [pytest.approx(seconds)]


def test_retry_after_beyond_patience_is_an_error(session: Session, time: Time, query: ReportQuery) -> None:
    """A service that wants to be left alone for an hour isn't waited for in silence, but for some minutes it is."""
    hand = FlowDriver(time, reply({}, 429, retry_after="3600"))
    with pytest.raises(ServiceError, match=r"429\. It asks for a pause of 3600 s"):
        hand.drive(lifecycle.look(session, REPORT, ignore_event))
    assert hand.waits == []
    patient = FlowDriver(time, reply({}, 503, retry_after="120"), reply({}, 503, retry_after="120"), reply(ASKED))
    assert patient.drive(ask(session, query, ignore_event)).token == REPORT
    assert patient.waits == [0, 120, 120]


def test_retry_after_is_honoured_up_to_the_deadline_of_a_wait(session: Session, time: Time) -> None:
    """In a wait an hour's pause is taken where the deadline allows it, and ends the wait where it doesn't."""
    answers = (reply(looked("IN_PROGRESS")), reply({}, 503, retry_after="3600"))
    hand = FlowDriver(time, *answers, reply(looked("FINISHED", "https://files.example.org/1")))
    assert hand.drive(lifecycle.wait(session, REPORT, ignore_event)).ready
    assert hand.waits[-1] == 3600
    with pytest.raises(NotFinished, match="3600"):
        FlowDriver(time, *answers).drive(lifecycle.wait(session, REPORT, ignore_event, deadline=1800))


def test_patience_is_a_setting(session: Session, time: Time) -> None:
    """Trouble that may pass is waited out for as long as the settings say."""
    start = time.seconds
    hasty = session.with_settings(replace(session.settings, patience=2.0))
    with pytest.raises(Unreachable):
        FlowDriver(time, Lost("connection refused", sent=False)).drive(lifecycle.look(hasty, REPORT, ignore_event))
    assert time.seconds - start < 2


def test_a_service_that_holds_a_look_is_looked_at_again_at_once(session: Session, time: Time) -> None:
    """The first is answered at once, each later one held for longer, up to ten seconds, without a pause between."""
    hand = FlowDriver(time, *[held("IN_PROGRESS")] * 5, held("FINISHED", "https://files.example.org/1"))
    hand.answering = 10.0
    assert hand.drive(lifecycle.wait(session, REPORT, ignore_event)).ready
    assert hand.waits == []
    looks = [step.request.headers for step in hand.sent if step.request.url.endswith("/graphql")]
    assert [headers.get("prefer") for headers in looks] == [
        None,
        "wait=2",
        "wait=4",
        "wait=8",
        "wait=10",
        "wait=10",
    ]


def test_a_report_that_was_just_asked_is_held_from_the_first_look_on(session: Session, time: Time) -> None:
    """Its status is known; a service that doesn't hold looks is asked again after a pause, as ever."""
    finished = held("FINISHED", "https://files.example.org/1")
    for answering, waits in ((10.0, []), (0.1, [0.2, 0.22])):
        hand = FlowDriver(time, held("IN_PROGRESS"), held("IN_PROGRESS"), finished)
        hand.answering = answering
        hand.drive(lifecycle.wait(session, REPORT, ignore_event, just_asked=True))
        looks = [step.request.headers for step in hand.sent if step.request.url.endswith("/graphql")]
        assert [headers.get("prefer") for headers in looks] == ["wait=2", "wait=4", "wait=8"]
        assert hand.waits == pytest.approx(waits)


def asked_as(token: str) -> Reply:
    """The answer to an ask that was taken under this token."""
    return reply({"data": {"askPartnerReportFile": {"reportFile": {"reportToken": token, "status": "IN_PROGRESS"}}}})


def test_a_report_that_expired_although_it_was_just_asked_for_is_asked_for_anew(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """A service may answer with an earlier report that is about to expire; the second answer counts."""
    session = replace(session, ledger=Ledger(tmp_path / "ledger.db", lambda: time.day))
    tokens: list[str] = []
    failed = reply(looked("FAILED"))
    hand = FlowDriver(time, asked_as("old"), reply(looked("EXPIRED")), asked_as("new"), failed)
    with pytest.raises(ReportFailed, match="new"):
        hand.drive(
            fetch(
                session,
                query,
                tmp_path / "views.csv",
                lambda event: tokens.append(event.token) if isinstance(event, Asked) else None,
            )
        )
    assert tokens == ["old", "new"]


def test_a_service_whose_reports_expire_at_once_is_asked_twice(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """The second report that has expired as soon as it was asked for is an error: no ask without end."""
    session = replace(session, ledger=Ledger(tmp_path / "ledger.db", lambda: time.day))
    expired = reply(looked("EXPIRED"))
    hand = FlowDriver(time, asked_as("one"), expired, asked_as("two"), expired, asked_as("three"), expired)
    with pytest.raises(ReportExpired, match="two"):
        hand.drive(fetch(session, query, tmp_path / "views.csv", ignore_event))


def test_a_report_that_the_service_gives_again_is_no_new_one(vendor: Vendor, client: Client, to: Path) -> None:
    """A fresh ask may be answered with the report that the ledger knows: its event says so."""
    vendor.dedups = True
    events: list[Event] = []
    for fresh in (False, True):
        client.reports.run(days(1), to, progress=events.append, fresh=fresh)
    assert len(vendor.asks) == 2
    assert [event.again for event in events if isinstance(event, Asked)] == [False, True]


@pytest.mark.parametrize("just_asked", [True, False])
def test_a_service_that_goes_away_in_a_held_look_is_waited_for(session: Session, time: Time, just_asked: bool) -> None:
    """It has answered already, and be it to the ask: what a proxy says for a minute ends no wait."""
    before = [] if just_asked else [held("IN_PROGRESS")]
    finished = held("FINISHED", "https://files.example.org/1")
    hand = FlowDriver(time, *before, *[reply({}, 504)] * 12, finished)
    hand.answering = 5.0
    assert hand.drive(lifecycle.wait(session, REPORT, ignore_event, just_asked=just_asked)).ready


@pytest.mark.parametrize("was_asked", [True, False])
def test_what_a_fetch_has_asked_for_itself_is_held_from_the_first_look_on(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path, was_asked: bool
) -> None:
    """What an earlier run asked for is first looked at: it may have ended long ago."""
    session = replace(session, ledger=Ledger(tmp_path / "ledger.db", lambda: time.day))
    if was_asked:
        FlowDriver(time, reply(ASKED)).drive(ask(session, query, ignore_event))
        time.day += timedelta(minutes=1)
    failed = reply(looked("FAILED"))
    hand = FlowDriver(time, *[failed] * was_asked, asked_as("another"), failed)
    with pytest.raises(ReportFailed):
        hand.drive(fetch(session, query, tmp_path / "views.csv", ignore_event))
    held_for = [step.request.headers.get("prefer") for step in hand.sent if step.request.url.endswith("/graphql")]
    assert held_for == [None] * was_asked + [None, "wait=2"]


def test_a_look_that_was_not_truly_held_is_followed_by_a_pause(session: Session, time: Time) -> None:
    """A service that says it waited and didn't is not asked without end."""
    hand = FlowDriver(time, *[held("IN_PROGRESS")] * 4, held("FINISHED", "https://files.example.org/1"))
    hand.answering = 0.1
    hand.drive(lifecycle.wait(session, REPORT, ignore_event))
    assert hand.waits == pytest.approx([0.2, 0.22, 0.242])


def test_another_vendor_is_not_asked_to_hold_a_look(session: Session, time: Time) -> None:
    """A header that nobody documents isn't sent to who may mind it."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), reply(looked("FINISHED", "https://files.example.org/1")))
    hand.drive(lifecycle.wait(of_dailymotion(session), REPORT, ignore_event, just_asked=True))
    assert all("prefer" not in step.request.headers for step in hand.sent)
    assert hand.waits == pytest.approx([0.2])


def test_no_look_is_held_beyond_the_deadline(session: Session, time: Time) -> None:
    """The last look asks to be held for what is left, and a wait of no time for nothing."""
    hand = FlowDriver(time, held("IN_PROGRESS"))
    hand.answering = 2.0
    with pytest.raises(NotFinished):
        hand.drive(lifecycle.wait(session, REPORT, ignore_event, deadline=5.5))
    looks = [step.request.headers.get("prefer") for step in hand.sent if step.request.url.endswith("/graphql")]
    assert looks == [None, "wait=1"]
    short = FlowDriver(time, held("IN_PROGRESS"))
    with pytest.raises(NotFinished):
        short.drive(lifecycle.wait(session, REPORT, ignore_event, deadline=0))
    assert "prefer" not in short.sent[-1].request.headers


def test_a_deadline_that_is_none(session: Session, time: Time) -> None:
    """A deadline in the past is one look; what is no number is refused before it waits for ever."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")))
    with pytest.raises(NotFinished):
        hand.drive(lifecycle.wait(session, REPORT, ignore_event, deadline=-1.0))
    assert hand.sent_to("/graphql") == 1
    with pytest.raises(UsageError, match="number of seconds above 0"):
        to_seconds(float("nan"))


def test_no_look_is_held_longer_than_the_client_listens(session: Session, time: Time) -> None:
    """A client that gives up after 6 s of silence asks to be held for 3."""
    hasty = session.with_settings(replace(session.settings, timeout=6.0))
    hand = FlowDriver(time, *[held("IN_PROGRESS")] * 2, held("FINISHED", "https://files.example.org/1"))
    hand.drive(lifecycle.wait(hasty, REPORT, ignore_event))
    assert hand.sent[-1].request.headers["prefer"] == "wait=3"
    assert hand.sent[-1].request.timeout == 6.0
