"""Asking, stepped by hand and at a vendor: tokens, full services, asks that are answered by a failure or nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import pytest
from tests import forked
from tests.cases import thin_out
from tests.client.conftest import REPORT, SECRET, TOKEN, Time, looked
from tests.client.flows.flow_driver import (
    ASKED,
    GRANT,
    OURS,
    PAGE,
    THEIRS,
    FlowDriver,
    ask,
    grant,
    of_dailymotion,
    refused,
    reply,
    unknown,
)
from tests.client.ledgers import Calendar, claimed, days, question, requested, shown
from tests.patience import PATIENCE

from reelport import Client
from reelport.client.events import Event, Warned, ignore_event
from reelport.client.flows import lifecycle
from reelport.client.flows.back_pressure import may_be_slot_refusal
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State
from reelport.client.ledger_slots import Claimed, Full, LostAsk
from reelport.client.session import Session
from reelport.client.steps import Lost, Reply
from reelport.errors import (
    AccessError,
    AskLost,
    QueryRefused,
    QueueFull,
    ServiceError,
    Unreachable,
)
from reelport.query import ReportQuery
from reelport.testing import Vendor


def test_an_ask_sends_the_key_once_and_the_query_as_variables(session: Session, time: Time, query: ReportQuery) -> None:
    """An ask is a token request with every report scope, then one mutation with the query as its input."""
    hand = FlowDriver(time, reply(ASKED))
    row = hand.drive(ask(session, query, ignore_event))
    form, mutation = (step.request for step in hand.sent)
    fields = parse_qs((form.body or b"").decode())
    assert (row.token, row.state) == (REPORT, State.REQUESTED)
    assert fields["grant_type"] == ["client_credentials"]
    assert fields["client_secret"] == [SECRET]
    assert set(fields["scope"][0].split()) == {"create_reports", "read_reports", "access_ads", "access_revenue"}
    assert mutation.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(mutation.body or b"")["variables"] == {"input": query.to_wire()}


def test_a_query_with_problems_never_leaves(session: Session, time: Time, query: ReportQuery) -> None:
    """Towards a Reelport service every problem is raised at once and nothing is sent."""
    hand = FlowDriver(time, reply(ASKED))
    wrong = replace(query, metrics=("VIEW",), dimensions=("DAYS",))
    with pytest.raises(QueryRefused) as caught:
        hand.drive(ask(session, wrong, ignore_event))
    assert [problem.nearest for problem in caught.value.problems] == ["VIEWS", "DAY"]
    assert hand.sent == []


def test_an_unknown_name_is_only_a_warning_towards_another_vendor(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """Dailymotion may know a metric that this version doesn't: it is told of and sent."""
    hand, told = FlowDriver(time, reply(ASKED)), list[Event]()
    asked = ask(of_dailymotion(session), replace(query, metrics=("BRAND_NEW_METRIC",)), told.append)
    assert hand.drive(asked).token == REPORT
    assert any(isinstance(event, Warned) for event in told)


def test_today_comes_from_the_clock(session: Session, time: Time, query: ReportQuery) -> None:
    """A range that ends today may be asked for, and one that ends tomorrow may not."""
    today = time.day.date()
    assert FlowDriver(time, reply(ASKED)).drive(ask(session, query.within(today, today), ignore_event)).token == REPORT
    with pytest.raises(QueryRefused, match="future"):
        FlowDriver(time, reply(ASKED)).drive(ask(session, query.within(today, date(2026, 11, 26)), ignore_event))


def test_a_token_is_used_until_shortly_before_it_ends(session: Session, time: Time) -> None:
    """One token serves many looks; it is renewed a minute before its time is over."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")))
    for seconds in (0, 3000, 539, 2):
        time.seconds += seconds
        hand.drive(lifecycle.look(session, REPORT, ignore_event))
    assert hand.sent_to("/token") == 2


def test_a_refused_token_is_renewed_and_the_request_replayed_once(session: Session, time: Time) -> None:
    """A 401 costs a new token and one more try; a second 401 is an AccessError."""
    gone = reply({"errors": [{"message": "expired"}]}, 401)
    hand = FlowDriver(time, gone, reply(looked("FINISHED", "https://files.example.org/1")))
    assert hand.drive(lifecycle.look(session, REPORT, ignore_event)).ready
    assert hand.sent_to("/token") == 2
    with pytest.raises(AccessError):
        FlowDriver(time, gone).drive(lifecycle.look(session, REPORT, ignore_event))


def test_a_vendor_that_refuses_a_scope_is_asked_for_fewer(session: Session, time: Time, query: ReportQuery) -> None:
    """invalid_scope is answered by asking for no more than the query needs."""
    hand = FlowDriver(time, reply(ASKED), grants=(reply({"error": "invalid_scope"}, 400), reply(GRANT)))
    earnings = replace(query, metrics=("ESTIMATED_EARNINGS_EUR",), dimensions=("DAY",))
    hand.drive(ask(session, earnings, ignore_event))
    form = parse_qs((hand.sent[1].request.body or b"").decode())
    assert set(form["scope"][0].split()) == {"create_reports", "access_revenue"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply({"error": "invalid_client", "error_description": f"no client with {SECRET}"}, 401), AccessError),
        (reply({"error": "invalid_client"}, 400), AccessError),
        (reply(PAGE, 403), Unreachable),
        (reply({"error": "not_found"}, 404), ServiceError),
        (reply(PAGE), Unreachable),
        (reply(PAGE, 500), ServiceError),
        (reply({"hello": "world"}), ServiceError),
        (reply({"access_token": None}), ServiceError),
        (Lost("connection refused", sent=False), Unreachable),
    ],
)
def test_a_token_that_is_not_to_be_had(
    session: Session, time: Time, answer: Reply | Lost, error: type[Exception]
) -> None:
    """Whatever the token endpoint answers becomes an error of the tree, without the secret in it."""
    with pytest.raises(error) as caught:
        FlowDriver(time, reply(ASKED), grants=(answer,)).drive(lifecycle.look(session, REPORT, ignore_event))
    assert SECRET not in str(caught.value)


def test_an_ask_whose_answer_was_lost_is_repeated_towards_reelport(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """The same ask gives the same report there, so that sending it twice asks once."""
    hand = FlowDriver(time, Lost("connection reset"), reply(PAGE, 502), reply(ASKED))
    assert hand.drive(ask(session, query, ignore_event)).token == REPORT


@pytest.mark.parametrize("answer", [Lost("connection reset"), reply(PAGE, 502), reply(b"", 504)])
def test_an_ask_whose_answer_was_lost_is_not_repeated_towards_another_vendor(
    session: Session, time: Time, query: ReportQuery, answer: Reply | Lost
) -> None:
    """There a second ask may be a second report: it is said instead that a slot may be taken."""
    hand = FlowDriver(time, answer)
    with pytest.raises(AskLost, match="slot"):
        hand.drive(ask(of_dailymotion(session), query, ignore_event))
    assert hand.sent_to("/graphql") == 1


@pytest.mark.parametrize("answer", [Lost("connection refused", sent=False), reply({}, 429)])
def test_an_ask_that_never_arrived_is_repeated_everywhere(
    session: Session, time: Time, query: ReportQuery, answer: Reply | Lost
) -> None:
    """Where the service surely did nothing, asking again is safe."""
    hand = FlowDriver(time, answer, reply(ASKED))
    assert hand.drive(ask(of_dailymotion(session), query, ignore_event)).token == REPORT


def test_a_reelport_service_is_known_by_its_header(session: Session, time: Time, query: ReportQuery) -> None:
    """A host that names Reelport's version is held to all rules: an unknown name costs a token and no ask."""
    wrong = replace(query, metrics=("VIEW",))
    hand, host = FlowDriver(time, reply(ASKED), grants=(grant(reelport_version="9"),)), unknown(session)
    with pytest.raises(QueryRefused, match="VIEWS"):
        hand.drive(ask(host, wrong, ignore_event))
    assert host.reelport is True
    assert hand.sent_to("/graphql") == 0


def test_any_other_host_may_know_more_than_we_do(session: Session, time: Time, query: ReportQuery) -> None:
    """Without that header unknown names and pairs that nothing rules out are told of, and pass."""
    hand, host, told = FlowDriver(time, reply(ASKED)), unknown(session), list[Event]()
    strange = replace(query, metrics=("BRAND_NEW_METRIC", "VIEWS"), dimensions=("DAY", "SIGN_OF_ZODIAC"))
    assert hand.drive(ask(host, strange, told.append)).token == REPORT
    assert host.reelport is False
    assert [event.problem.fatal for event in told if isinstance(event, Warned)] == [False, False]


def test_what_no_host_takes_costs_no_request(session: Session, time: Time, query: ReportQuery) -> None:
    """A range that ends before it starts is refused before anyone is spoken to."""
    hand = FlowDriver(time, reply(ASKED))
    with pytest.raises(QueryRefused, match="lies before"):
        hand.drive(ask(unknown(session), query.within(date(2026, 11, 3), date(2026, 11, 1)), ignore_event))
    assert hand.sent == []


@pytest.mark.parametrize("status", [200, 502, 401])
def test_an_answer_without_the_header_says_nothing(session: Session, status: int) -> None:
    """A gateway's page in place of a Reelport service isn't taken for another vendor."""
    host = unknown(session)
    host.note_host(reply(PAGE, status))
    assert host.reelport is None
    host.note_other_vendor()
    assert host.reelport is False
    host.note_host(reply(b"", status, reelport_version="9"))
    assert host.reelport is True


def test_dailymotion_is_never_taken_for_reelport(session: Session) -> None:
    """No header of Dailymotion's changes how carefully it is asked."""
    host = of_dailymotion(session)
    host.note_host(reply(b"", 200, reelport_version="9"))
    assert host.reelport is False


@pytest.mark.parametrize(
    "answer",
    [reply(PAGE), reply({"data": {"askPartnerReportFile": None}}), reply({"data": None}), reply(b"\xff")],
)
def test_an_answer_to_an_ask_that_cannot_be_read_is_a_lost_one(
    session: Session, time: Time, query: ReportQuery, answer: Reply
) -> None:
    """Where the ask may have been taken and no token can be read, it isn't known whether there is a report."""
    with pytest.raises(AskLost):
        FlowDriver(time, answer).drive(ask(of_dailymotion(session), query, ignore_event))


@pytest.mark.parametrize("answer", [reply(PAGE, 404), reply({}, 503, retry_after="9999"), reply(PAGE, 302)])
def test_an_ask_that_was_surely_not_taken_is_not_a_lost_one(
    session: Session, time: Time, query: ReportQuery, answer: Reply
) -> None:
    """A host that has no such place, or puts the request off, has made no report."""
    with pytest.raises(ServiceError) as caught:
        FlowDriver(time, answer).drive(ask(of_dailymotion(session), query, ignore_event))
    assert not isinstance(caught.value, AskLost)


def test_a_service_that_is_full_is_asked_again_when_it_wishes(session: Session, time: Time, query: ReportQuery) -> None:
    """By its Retry-After, and not before."""
    hand = FlowDriver(time, reply({}, 429, retry_after="40"), reply(ASKED))
    assert hand.drive(ask(session, query, ignore_event)).token == REPORT
    assert max(hand.waits) == 40


FULL = {"message": "Two at once are enough.", "type": "bad_request", "path": ["askPartnerReportFile"]}


@pytest.mark.parametrize(
    ("errors", "crowded"),
    [
        ([FULL], True),
        ([{"message": "Two at once are enough."}], True),
        ([THEIRS], False),
        ([FULL | {"path": ["askPartnerReportFile", "reportFile", 1]}], False),
        ([OURS], False),
        ([{"message": "", "type": "too_many_requests"}], True),
    ],
)
def test_a_refused_third_report_is_told_by_structure(
    session: Session, time: Time, query: ReportQuery, errors: list[dict[str, Any]], *, crowded: bool
) -> None:
    """A refusal of the whole ask, of a query that is right, may be a reason to wait."""
    host = of_dailymotion(session)
    with pytest.raises((QueryRefused, QueueFull)) as caught:
        FlowDriver(time, refused(*errors)).drive(ask(host, query, ignore_event))
    assert may_be_slot_refusal(host, query, caught.value) is crowded


def test_a_query_that_we_doubt_is_refused_for_itself(session: Session, time: Time, query: ReportQuery) -> None:
    """Where our own check has something to say, a refusal is the query's; a Reelport service's always is."""
    host, strange = of_dailymotion(session), replace(query, metrics=("BRAND_NEW_METRIC",))
    with pytest.raises(QueryRefused) as caught:
        FlowDriver(time, refused(FULL)).drive(ask(host, strange, ignore_event))
    assert not may_be_slot_refusal(host, strange, caught.value)
    assert not may_be_slot_refusal(session, query, caught.value)


Answer = Literal["500", "html", "empty"]


@pytest.mark.parametrize("answer", thin_out(["500", "html", "empty"], 3))
@pytest.mark.parametrize("lost", ["before", "after"])
def test_failed_answers_to_asks_do_not_stop_a_key(
    vendor: Vendor, client: Client, to: Path, answer: Answer, lost: Literal["before", "after"]
) -> None:
    """Whether they were taken isn't known, and they aren't repeated; all other queries go on in the free slot."""
    vendor.loses_ask, vendor.loses_times, vendor.lost_answer = lost, 2, answer
    for number in (1, 2, 1):
        with pytest.raises(AskLost, match="--again"):
            client.reports.run(days(number), to, progress=ignore_event, deadline=PATIENCE)
    for number in (3, 4):
        assert client.reports.run(days(number), to, deadline=PATIENCE).rows == number
    assert len(vendor.asks) == (4 if lost == "after" else 2)
    assert client.with_options(slots=1).reports.run(days(5), to, deadline=PATIENCE).rows == 5
    again = client.with_options(again=True).reports
    assert [again.run(days(number), to, deadline=PATIENCE).rows for number in (1, 2)] == [1, 2]
    assert client.reports.run(days(1), to, deadline=PATIENCE).rows == 1


def test_a_hangup_holds_its_slot(vendor: Vendor, client: Client) -> None:
    """Nothing at all came back: it may be in the making, and counts."""
    vendor.loses_ask = "after"
    with pytest.raises(AskLost) as caught:
        client.reports.submit(days(1))
    assert not caught.value.answered


def test_answered_asks_hold_all_slots_but_one(ledger: Ledger) -> None:
    """Two of them hold one of two slots together; beside a report that is being made the key is full."""
    for number in (1, 2):
        ledger.record_lost(claimed(ledger, question(days(number))), "HTTP 502", answered=True)
    running = requested(ledger, "R-3", question(days(3)))
    assert isinstance(ledger.enter(question(days(4))), Full)
    ledger.record_status(running, State.FINISHED)
    assert isinstance(ledger.enter(question(days(4))), Claimed)
    assert isinstance(ledger.enter(question(days(1))), LostAsk)


def test_asks_that_nothing_answered_hold_their_slots(ledger: Ledger) -> None:
    """Two lost connections may be two reports in the making."""
    for number in (1, 2):
        ledger.record_lost(claimed(ledger, question(days(number))), "reset", answered=False)
    assert isinstance(ledger.enter(question(days(3))), Full)


def test_an_ask_that_is_repeated_takes_its_own_row_again(ledger: Ledger, calendar: Calendar) -> None:
    """No second slot is held for it; where its process dies, it counts as one that nothing answered."""
    row = claimed(ledger)
    ledger.record_lost(row, "HTTP 502", answered=True)
    calendar.later(minutes=1)
    entry = ledger.enter(question(again=True))
    assert isinstance(entry, Claimed)
    assert (entry.row.id, entry.row.state, entry.row.answered) == (row.id, State.INTENT, False)
    ledger.release(entry.row)
    assert isinstance(ledger.enter(question()), LostAsk)
    assert not shown(ledger, row).answered


@pytest.mark.parametrize("command", thin_out(["run", "submit"], 2))
def test_the_command_line_asks_again_by_order(vendor: Vendor, tmp_path: Path, command: str) -> None:
    """The command that was left with status 6 says `--again`, and with it has the report."""
    vendor.loses_ask, vendor.lost_answer = "before", "500"
    words = ["-m", "reelport", "report", command, "--metrics", "VIEWS", "--start", "2026-01-01"]
    key = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    environment = os.environ | key | {"REELPORT_HOME": str(tmp_path)}
    for more, status in (([], 6), ([], 6), (["--again"], 0)):
        line = [*words, "--end", "2026-01-02", *more]
        done = forked.run(line, env=environment)
        assert done.returncode == status, done.stderr
        assert status == 0 or "--again" in done.stderr
        assert "To continue: " not in done.stderr  # without the option it would end the same way
    assert len(vendor.asks) == 1
