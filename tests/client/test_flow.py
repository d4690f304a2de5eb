"""The flows, stepped by hand: no network, no clock but the test's."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.client.conftest import REPORT, SECRET, TOKEN, Time, looked
from tests.client.hand import ASKED, GRANT, PAGE, Hand, grant, held, refused, reply

from reelport.client import flow
from reelport.client.driving.steps import Lost, Reply
from reelport.client.events import Event, Looked, Retrying, Warned, silent
from reelport.client.flow import ReportState
from reelport.client.session import Session
from reelport.client.settings.config import DAILYMOTION_URL
from reelport.errors import (
    AccessError,
    AskLost,
    NotFinished,
    QueryRefused,
    QueueFull,
    ReelportError,
    ReportExpired,
    ReportFailed,
    ServiceError,
    Unreachable,
    UsageError,
)
from reelport.query import ReportQuery


def of_dailymotion(session: Session) -> Session:
    return Session(replace(session.settings, url=DAILYMOTION_URL), session.clock, session.chance)


def unknown(session: Session) -> Session:
    """A session with a host that has not been heard yet."""
    return Session(session.settings, session.clock, session.chance)


def test_an_ask_sends_the_key_once_and_the_query_as_variables(session: Session, time: Time, query: ReportQuery) -> None:
    """An ask is a token request with every report scope, then one mutation with the query as its input."""
    hand = Hand(time, reply(ASKED))
    state = hand.drive(flow.ask(session, query, silent))
    form, mutation = (step.request for step in hand.sent)
    fields = parse_qs((form.body or b"").decode())
    assert state == ReportState(REPORT, "IN_PROGRESS")
    assert fields["grant_type"] == ["client_credentials"]
    assert fields["client_secret"] == [SECRET]
    assert set(fields["scope"][0].split()) == {"create_reports", "read_reports", "access_ads", "access_revenue"}
    assert mutation.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(mutation.body or b"")["variables"] == {"input": query.to_wire()}


def test_a_query_with_problems_never_leaves(session: Session, time: Time, query: ReportQuery) -> None:
    """Towards a Reelport service every problem is raised at once and nothing is sent."""
    hand = Hand(time, reply(ASKED))
    wrong = replace(query, metrics=("VIEW",), dimensions=("DAYS",))
    with pytest.raises(QueryRefused) as caught:
        hand.drive(flow.ask(session, wrong, silent))
    assert [problem.nearest for problem in caught.value.problems] == ["VIEWS", "DAY"]
    assert hand.sent == []


def test_an_unknown_name_is_only_a_warning_towards_another_vendor(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """Dailymotion may know a metric that this version doesn't: it is told of and sent."""
    hand, told = Hand(time, reply(ASKED)), list[Event]()
    asked = flow.ask(of_dailymotion(session), replace(query, metrics=("BRAND_NEW_METRIC",)), told.append)
    assert hand.drive(asked).token == REPORT
    assert any(isinstance(event, Warned) for event in told)


def test_today_comes_from_the_clock(session: Session, time: Time, query: ReportQuery) -> None:
    """A range that ends today may be asked for, and one that ends tomorrow may not."""
    today = time.day.date()
    assert Hand(time, reply(ASKED)).drive(flow.ask(session, query.within(today, today), silent)).token == REPORT
    with pytest.raises(QueryRefused, match="future"):
        Hand(time, reply(ASKED)).drive(flow.ask(session, query.within(today, date(2026, 11, 26)), silent))


def test_a_token_is_used_until_shortly_before_it_ends(session: Session, time: Time) -> None:
    """One token serves many looks; it is renewed a minute before its time is over."""
    hand = Hand(time, reply(looked("IN_PROGRESS")))
    for seconds in (0, 3000, 539, 2):
        time.seconds += seconds
        hand.drive(flow.look(session, REPORT, silent))
    assert hand.sent_to("/token") == 2


def test_a_refused_token_is_renewed_and_the_request_replayed_once(session: Session, time: Time) -> None:
    """A 401 costs a new token and one more try; a second 401 is an AccessError."""
    gone = reply({"errors": [{"message": "expired"}]}, 401)
    hand = Hand(time, gone, reply(looked("FINISHED", "https://files.example.org/1")))
    assert hand.drive(flow.look(session, REPORT, silent)).ready
    assert hand.sent_to("/token") == 2
    with pytest.raises(AccessError):
        Hand(time, gone).drive(flow.look(session, REPORT, silent))


def test_a_vendor_that_refuses_a_scope_is_asked_for_fewer(session: Session, time: Time, query: ReportQuery) -> None:
    """invalid_scope is answered by asking for no more than the query needs."""
    hand = Hand(time, reply(ASKED), grants=(reply({"error": "invalid_scope"}, 400), reply(GRANT)))
    earnings = replace(query, metrics=("ESTIMATED_EARNINGS_EUR",), dimensions=("DAY",))
    hand.drive(flow.ask(session, earnings, silent))
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
        Hand(time, reply(ASKED), grants=(answer,)).drive(flow.look(session, REPORT, silent))
    assert SECRET not in str(caught.value)


def test_waiting_looks_at_once_then_ever_more_seldom(session: Session, time: Time) -> None:
    """The first look waits for nothing; pauses grow by a tenth from 0.2 s to 60 s."""
    answers = [reply(looked("IN_PROGRESS"))] * 70 + [reply(looked("FINISHED", "https://files.example.org/1"))]
    hand = Hand(time, *answers)
    state = hand.drive(flow.wait(session, REPORT, silent))
    assert state.links == ("https://files.example.org/1",)
    assert hand.waits[:2] == pytest.approx([0.2, 0.22])
    assert hand.waits == sorted(hand.waits)
    assert hand.waits[-1] == 60


def test_pauses_vary_by_chance(session: Session, time: Time) -> None:
    """Jitter is a fifth more or less, so that many waiters don't look at the same moment."""
    for chance, first in ((0.0, 0.16), (0.999999, 0.24)):
        lucky = Session(session.settings, session.clock, lambda chance=chance: chance)  # type: ignore[misc]
        hand = Hand(time, reply(looked("IN_PROGRESS")), reply(looked("FINISHED", "https://files.example.org/1")))
        hand.drive(flow.wait(lucky, REPORT, silent))
        assert hand.waits == [pytest.approx(first, abs=1e-3)]


def test_a_deadline_keeps_the_token_and_says_how_to_resume(session: Session, time: Time) -> None:
    """After the deadline NotFinished carries the report's token; it is reached exactly, with a last look."""
    start = time.seconds
    with pytest.raises(NotFinished, match=f"reelport report wait {REPORT}") as caught:
        Hand(time, reply(looked("IN_PROGRESS"))).drive(flow.wait(session, REPORT, silent, deadline=100))
    assert caught.value.token == REPORT
    assert time.seconds - start == pytest.approx(100)


def test_a_wait_renews_its_token(session: Session, time: Time) -> None:
    """A wait of two hours uses a token of an hour, and then another."""
    hand = Hand(time, reply(looked("IN_PROGRESS")))
    with pytest.raises(NotFinished):
        hand.drive(flow.wait(session, REPORT, silent, deadline=7200))
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
        Hand(time, answer).drive(flow.wait(session, REPORT, silent))
    assert time.seconds - start < 120


def test_a_status_that_we_do_not_know_is_waited_on(session: Session, time: Time) -> None:
    """A vendor's new status is no reason to give up, nor is a finished report whose link is late."""
    link = "https://files.example.org/1"
    hand = Hand(time, reply(looked("QUEUED")), reply(looked("FINISHED")), reply(looked("FINISHED", link)))
    assert hand.drive(flow.wait(session, REPORT, silent)).links == (link,)


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
    hand = Hand(time, reply(looked("IN_PROGRESS")), *trouble, last)
    assert hand.drive(flow.wait(session, REPORT, told.append)).ready
    assert sum(isinstance(event, Retrying) for event in told) == len(trouble)
    assert [event.status for event in told if isinstance(event, Looked)] == ["IN_PROGRESS", "FINISHED"]


def test_a_service_that_stays_away_ends_in_not_finished(session: Session, time: Time) -> None:
    """Once a report was seen, an unreachable service is no reason to lose its token."""
    hand = Hand(time, reply(looked("IN_PROGRESS")), Lost("connection refused", sent=False))
    with pytest.raises(NotFinished) as caught:
        hand.drive(flow.wait(session, REPORT, silent, deadline=600))
    assert caught.value.token == REPORT


@pytest.mark.parametrize("text", ["7", "Wed, 25 Nov 2026 12:00:07 GMT", "Wed, 25 Nov 2026 12:00:07"])
def test_retry_after_is_honoured(session: Session, time: Time, text: str) -> None:
    """Retry-After, in seconds or as a date, is how long the next look waits."""
    busy = reply({}, 429, retry_after=text)
    hand = Hand(time, busy, reply(looked("FINISHED", "https://files.example.org/1")))
    hand.drive(flow.wait(session, REPORT, silent))
    assert hand.waits == [pytest.approx(7)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("-5", 0.2), ("nan", 0.2), ("inf", 0.2), ("soon", 0.2), ("", 0.2), ("9" * 99, None)],
)
def test_odd_texts_of_retry_after(session: Session, time: Time, text: str, seconds: float | None) -> None:
    """Fractions are understood; what is no time is as good as none; what is beyond all patience ends it."""
    hand = Hand(time, reply({}, 503, retry_after=text), reply(looked("FINISHED", "https://files.example.org/1")))
    if seconds is None:
        with pytest.raises(ServiceError):
            hand.drive(flow.wait(session, REPORT, silent))
    else:
        hand.drive(flow.wait(session, REPORT, silent))
        assert hand.waits == [pytest.approx(seconds)]


def test_retry_after_beyond_patience_is_an_error(session: Session, time: Time, query: ReportQuery) -> None:
    """A service that wants to be left alone for an hour isn't waited for in silence, but for some minutes it is."""
    hand = Hand(time, reply({}, 429, retry_after="3600"))
    with pytest.raises(QueueFull, match=r"429\. It asks for a pause of 3600 s") as caught:
        hand.drive(flow.ask(session, query, silent))
    assert hand.waits == []
    assert caught.value.retry_after == 3600
    patient = Hand(time, reply({}, 503, retry_after="120"), reply({}, 503, retry_after="120"), reply(ASKED))
    assert patient.drive(flow.ask(session, query, silent)).token == REPORT
    assert patient.waits == [120, 120]


def test_retry_after_is_honoured_up_to_the_deadline_of_a_wait(session: Session, time: Time) -> None:
    """In a wait an hour's pause is taken where the deadline allows it, and ends the wait where it doesn't."""
    answers = (reply(looked("IN_PROGRESS")), reply({}, 503, retry_after="3600"))
    hand = Hand(time, *answers, reply(looked("FINISHED", "https://files.example.org/1")))
    assert hand.drive(flow.wait(session, REPORT, silent)).ready
    assert hand.waits[-1] == 3600
    with pytest.raises(NotFinished, match="3600"):
        Hand(time, *answers).drive(flow.wait(session, REPORT, silent, deadline=1800))


def test_patience_is_a_setting(session: Session, time: Time) -> None:
    """Trouble that may pass is waited out for as long as the settings say."""
    start = time.seconds
    hasty = session.with_settings(replace(session.settings, patience=2.0))
    with pytest.raises(Unreachable):
        Hand(time, Lost("connection refused", sent=False)).drive(flow.look(hasty, REPORT, silent))
    assert time.seconds - start < 2


def test_an_ask_whose_answer_was_lost_is_repeated_towards_reelport(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """The same ask gives the same report there, so that sending it twice asks once."""
    hand = Hand(time, Lost("connection reset"), reply(PAGE, 502), reply(ASKED))
    assert hand.drive(flow.ask(session, query, silent)).token == REPORT


@pytest.mark.parametrize("answer", [Lost("connection reset"), reply(PAGE, 502), reply(b"", 504)])
def test_an_ask_whose_answer_was_lost_is_not_repeated_towards_another_vendor(
    session: Session, time: Time, query: ReportQuery, answer: Reply | Lost
) -> None:
    """There a second ask may be a second report: it is said instead that a slot may be taken."""
    hand = Hand(time, answer)
    with pytest.raises(AskLost, match="slot"):
        hand.drive(flow.ask(of_dailymotion(session), query, silent))
    assert hand.sent_to("/graphql") == 1


@pytest.mark.parametrize("answer", [Lost("connection refused", sent=False), reply({}, 429)])
def test_an_ask_that_never_arrived_is_repeated_everywhere(
    session: Session, time: Time, query: ReportQuery, answer: Reply | Lost
) -> None:
    """Where the service surely did nothing, asking again is safe."""
    hand = Hand(time, answer, reply(ASKED))
    assert hand.drive(flow.ask(of_dailymotion(session), query, silent)).token == REPORT


OURS = {
    "message": "There is no metric 'VIEW'. Did you mean VIEWS?",
    "path": ["askPartnerReportFile"],
    "type": "bad_request",
    "extensions": {"code": "unknown_metric", "inputPath": ["metrics", 0], "nearest": "VIEWS"},
}
THEIRS = {
    "message": "Variable < $input > got invalid value < VIEW >; Expected type < PartnerReportMetric >",
    "path": None,
    "locations": [{"line": 1, "column": 20}],
    "extensions": {"rule": "5.6.1", "spec": "June 2018", "tag": "values-of-correct-type"},
}


@pytest.mark.parametrize(
    ("errors", "error"),
    [
        ([OURS], QueryRefused),
        ([THEIRS], QueryRefused),
        ([{"message": "no such thing", "type": "bad_request"}], QueryRefused),
        ([{"message": None}], QueryRefused),
        ([{"message": "who?", "type": "invalid_token"}], AccessError),
        ([{"message": "VIEWS needs access_x", "extensions": {"code": "scope_missing"}}], AccessError),
        ([{"message": "two are running", "extensions": {"code": "too_many_reports"}}], QueueFull),
        ([{"message": "oops", "type": "internal_error"}], ServiceError),
        ([{"message": "oops", "extensions": {"code": "internal_error"}}], ServiceError),
    ],
)
@pytest.mark.parametrize("data", [None, ASKED["data"]])
def test_graphql_errors_always_raise(
    session: Session,
    time: Time,
    query: ReportQuery,
    errors: list[dict[str, Any]],
    error: type[Exception],
    data: object,
) -> None:
    """Errors inside a 200 raise, in either shape and even beside data."""
    with pytest.raises(error) as caught:
        Hand(time, reply({"data": data, "errors": errors})).drive(flow.ask(session, query, silent))
    if not issubclass(error, ServiceError):  # A fault of the service is repeated, and ends in its own words.
        assert isinstance(caught.value, ReelportError)
        assert caught.value.data == data
        assert caught.value.token == (REPORT if data else None)


@pytest.mark.parametrize("errors", ["no", {"message": "no"}, [["no"]], [None], [{}], 7])
def test_errors_of_any_form_are_a_refusal(session: Session, time: Time, query: ReportQuery, errors: object) -> None:
    """That there is something under `errors` is enough, whatever it is."""
    with pytest.raises(QueryRefused):
        Hand(time, reply({"data": None, "errors": errors})).drive(flow.ask(session, query, silent))


@pytest.mark.parametrize("errors", [[], None, {}, ""])
def test_empty_errors_are_none(session: Session, time: Time, query: ReportQuery, errors: object) -> None:
    """Some services send the key with nothing in it."""
    assert Hand(time, reply(ASKED | {"errors": errors})).drive(flow.ask(session, query, silent)).token == REPORT


@pytest.mark.parametrize(
    "error",
    [
        {"type": "invalid_token"},
        {"extensions": {"code": "UNAUTHENTICATED"}},
        {"extensions": {"code": 401}},
        {"message": "who?", "extensions": {"code": "token_expired"}},
    ],
)
def test_an_error_of_the_token_kind_is_replayed_once(
    session: Session, time: Time, query: ReportQuery, error: dict[str, Any]
) -> None:
    """A token that a GraphQL error refuses is renewed as after a 401."""
    hand = Hand(time, refused(error), reply(ASKED))
    assert hand.drive(flow.ask(of_dailymotion(session), query, silent)).token == REPORT
    assert hand.sent_to("/token") == 2
    with pytest.raises(AccessError):
        Hand(time, refused(error)).drive(flow.ask(session, query, silent))


@pytest.mark.parametrize("status", ["beside data", "a scope"])
def test_what_a_new_token_does_not_cure_is_not_replayed(
    session: Session, time: Time, query: ReportQuery, status: str
) -> None:
    """An ask that left a report behind isn't sent again, nor one that the key may not make."""
    error = {"type": "invalid_token" if status == "beside data" else "access_forbidden", "message": "no"}
    hand = Hand(time, reply({"data": ASKED["data"] if status == "beside data" else None, "errors": [error]}))
    with pytest.raises(AccessError):
        hand.drive(flow.ask(session, query, silent))
    assert hand.sent_to("/graphql") == 1


def test_our_problems_keep_their_code_path_and_nearest_name(session: Session, time: Time, query: ReportQuery) -> None:
    """What the service says of a refused query arrives whole."""
    with pytest.raises(QueryRefused) as caught:
        Hand(time, refused(OURS, THEIRS)).drive(flow.ask(session, query, silent))
    ours, theirs = caught.value.problems
    assert theirs.code == "invalid_document"
    assert (ours.code, ours.path, ours.nearest) == ("unknown_metric", ("metrics", 0), "VIEWS")
    assert theirs.sentence.startswith("Variable")


@pytest.mark.parametrize("what", [repr, str])
def test_nothing_that_prints_holds_a_secret(session: Session, time: Time, what: Callable[[object], str]) -> None:
    """Neither session, settings, grant nor request tells the secret or the bearer token."""
    hand = Hand(time, reply(looked("IN_PROGRESS")))
    hand.drive(flow.look(session, REPORT, silent))
    printed = what([session, session.grant, session.settings, hand.sent])
    assert SECRET not in printed
    assert TOKEN not in printed


def test_an_error_text_from_outside_is_redacted(session: Session, time: Time, query: ReportQuery) -> None:
    """A service that repeats the credentials doesn't get them into our errors."""
    echo = refused({"message": f"Bearer {TOKEN} of {SECRET} may not", "type": "bad_request"})
    with pytest.raises(QueryRefused) as caught:
        Hand(time, echo).drive(flow.ask(session, query, silent))
    assert TOKEN not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_reelport_service_is_known_by_its_header(session: Session, time: Time, query: ReportQuery) -> None:
    """A host that names Reelport's version is held to all rules: an unknown name costs a token and no ask."""
    wrong = replace(query, metrics=("VIEW",))
    hand, host = Hand(time, reply(ASKED), grants=(grant(reelport_version="9"),)), unknown(session)
    with pytest.raises(QueryRefused, match="VIEWS"):
        hand.drive(flow.ask(host, wrong, silent))
    assert host.reelport is True
    assert hand.sent_to("/graphql") == 0


def test_any_other_host_may_know_more_than_we_do(session: Session, time: Time, query: ReportQuery) -> None:
    """Without that header unknown names and pairs that nothing rules out are told of, and pass."""
    hand, host, told = Hand(time, reply(ASKED)), unknown(session), list[Event]()
    strange = replace(query, metrics=("BRAND_NEW_METRIC", "VIEWS"), dimensions=("DAY", "SIGN_OF_ZODIAC"))
    assert hand.drive(flow.ask(host, strange, told.append)).token == REPORT
    assert host.reelport is False
    assert [event.problem.fatal for event in told if isinstance(event, Warned)] == [False, False]


def test_what_no_host_takes_costs_no_request(session: Session, time: Time, query: ReportQuery) -> None:
    """A range that ends before it starts is refused before anyone is spoken to."""
    hand = Hand(time, reply(ASKED))
    with pytest.raises(QueryRefused, match="lies before"):
        hand.drive(flow.ask(unknown(session), query.within(date(2026, 11, 3), date(2026, 11, 1)), silent))
    assert hand.sent == []


@pytest.mark.parametrize("status", [200, 502, 401])
def test_an_answer_without_the_header_says_nothing(session: Session, status: int) -> None:
    """A gateway's page in place of a Reelport service isn't taken for another vendor."""
    host = unknown(session)
    host.heard(reply(PAGE, status))
    assert host.reelport is None
    host.met()
    assert host.reelport is False
    host.heard(reply(b"", status, reelport_version="9"))
    assert host.reelport is True


def test_dailymotion_is_never_taken_for_reelport(session: Session) -> None:
    """No header of Dailymotion's changes how carefully it is asked."""
    host = of_dailymotion(session)
    host.heard(reply(b"", 200, reelport_version="9"))
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
        Hand(time, answer).drive(flow.ask(of_dailymotion(session), query, silent))


@pytest.mark.parametrize("answer", [reply(PAGE, 404), reply({}, 503, retry_after="9999"), reply(PAGE, 302)])
def test_an_ask_that_was_surely_not_taken_is_not_a_lost_one(
    session: Session, time: Time, query: ReportQuery, answer: Reply
) -> None:
    """A host that has no such place, or puts the request off, has made no report."""
    with pytest.raises(ServiceError) as caught:
        Hand(time, answer).drive(flow.ask(of_dailymotion(session), query, silent))
    assert not isinstance(caught.value, AskLost)


FULL = {"message": "Two at once are enough.", "type": "bad_request", "path": ["askPartnerReportFile"]}


@pytest.mark.parametrize(
    ("errors", "in_flight", "crowded"),
    [
        ([FULL], 1, True),
        ([FULL], 0, False),
        ([{"message": "Two at once are enough."}], 2, True),
        ([THEIRS], 2, False),
        ([FULL | {"path": ["askPartnerReportFile", "reportFile", 1]}], 2, False),
        ([OURS], 2, False),
        ([{"message": "", "type": "too_many_requests"}], 0, True),
    ],
)
def test_a_refused_third_report_is_told_by_structure(
    session: Session, time: Time, query: ReportQuery, errors: list[dict[str, Any]], in_flight: int, *, crowded: bool
) -> None:
    """A refusal of the whole ask, of a query that is right, while others are in flight, is a reason to wait."""
    host = of_dailymotion(session)
    with pytest.raises((QueryRefused, QueueFull)) as caught:
        Hand(time, refused(*errors)).drive(flow.ask(host, query, silent))
    assert flow.crowded(host, query, caught.value, in_flight) is crowded


def test_a_query_that_we_doubt_is_refused_for_itself(session: Session, time: Time, query: ReportQuery) -> None:
    """Where our own check has something to say, a refusal is the query's; a Reelport service's always is."""
    host, strange = of_dailymotion(session), replace(query, metrics=("BRAND_NEW_METRIC",))
    with pytest.raises(QueryRefused) as caught:
        Hand(time, refused(FULL)).drive(flow.ask(host, strange, silent))
    assert not flow.crowded(host, strange, caught.value, 2)
    assert not flow.crowded(session, query, caught.value, 2)


def test_a_service_that_holds_a_look_is_looked_at_again_at_once(session: Session, time: Time) -> None:
    """The first look is answered at once; from then on no pause of ours stands between looks that the service holds."""
    hand = Hand(time, held("IN_PROGRESS"), held("IN_PROGRESS"), held("FINISHED", "https://files.example.org/1"))
    hand.answering = 10.0
    assert hand.drive(flow.wait(session, REPORT, silent)).ready
    assert hand.waits == []
    looks = [step.request.headers for step in hand.sent if step.request.url.endswith("/graphql")]
    assert [headers.get("prefer") for headers in looks] == [None, "wait=10", "wait=10"]


def test_a_look_that_was_not_truly_held_is_followed_by_a_pause(session: Session, time: Time) -> None:
    """A service that says it waited and didn't is not asked without end."""
    hand = Hand(time, *[held("IN_PROGRESS")] * 4, held("FINISHED", "https://files.example.org/1"))
    hand.answering = 0.1
    hand.drive(flow.wait(session, REPORT, silent))
    assert hand.waits == pytest.approx([0.2, 0.22, 0.242])


def test_another_vendor_is_not_asked_to_hold_a_look(session: Session, time: Time) -> None:
    """A header that nobody documents isn't sent to who may mind it."""
    hand = Hand(time, reply(looked("IN_PROGRESS")), reply(looked("FINISHED", "https://files.example.org/1")))
    hand.drive(flow.wait(of_dailymotion(session), REPORT, silent))
    assert all("prefer" not in step.request.headers for step in hand.sent)


def test_no_look_is_held_beyond_the_deadline(session: Session, time: Time) -> None:
    """The last look asks to be held for what is left, and a wait of no time for nothing."""
    hand = Hand(time, held("IN_PROGRESS"))
    hand.answering = 2.0
    with pytest.raises(NotFinished):
        hand.drive(flow.wait(session, REPORT, silent, deadline=5.5))
    looks = [step.request.headers.get("prefer") for step in hand.sent if step.request.url.endswith("/graphql")]
    assert looks == [None, "wait=1"]
    short = Hand(time, held("IN_PROGRESS"))
    with pytest.raises(NotFinished):
        short.drive(flow.wait(session, REPORT, silent, deadline=0))
    assert "prefer" not in short.sent[-1].request.headers


@pytest.mark.parametrize("deadline", [float("nan"), -1.0])
def test_a_deadline_that_is_none(session: Session, time: Time, deadline: float) -> None:
    """A deadline in the past is one look; what is no number is refused before it waits for ever."""
    hand = Hand(time, reply(looked("IN_PROGRESS")))
    with pytest.raises(NotFinished if deadline < 0 else UsageError):
        hand.drive(flow.wait(session, REPORT, silent, deadline=deadline))
    assert hand.sent_to("/graphql") == (1 if deadline < 0 else 0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "no such report", "type": "not_found", "path": ["partner", "reportFile"]}, ReportExpired),
        ({"message": "something", "type": "odd", "path": ["partner", "reportFile"]}, ServiceError),
    ],
)
def test_a_look_that_is_refused_is_not_the_querys_fault(
    session: Session, time: Time, error: dict[str, Any], expected: type[ReelportError]
) -> None:
    """A refused look says that the report is gone or can't be shown, and keeps its token."""
    with pytest.raises(expected) as caught:
        Hand(time, refused(error)).drive(flow.wait(session, REPORT, silent))
    assert caught.value.token == REPORT


def test_what_a_service_says_cannot_break_a_terminal(session: Session, time: Time, query: ReportQuery) -> None:
    """Control characters, half letters and endless texts of a service don't reach who prints our errors."""
    nasty = "\x1b[31mred\x1b[0m \ud800 \x00 " + "long " * 10_000
    with pytest.raises(QueryRefused) as caught:
        Hand(time, refused({"message": nasty, "type": nasty, "path": [nasty]})).drive(flow.ask(session, query, silent))
    said = str(caught.value)
    assert said.isprintable()
    assert said.encode()
    assert len(said) < 2100
    state = Hand(time, reply(looked("\x1b[2J"))).drive(flow.look(session, REPORT, silent))
    assert state.status.isprintable()


def test_an_answer_packed_to_fill_the_memory_is_none(session: Session, time: Time) -> None:
    """A hundred megabytes of blanks in a hundred kilobytes are not unpacked."""
    bomb = gzip.compress(b" " * (100 << 20))
    with pytest.raises(Unreachable):
        Hand(time, reply(bomb, 200, content_encoding="gzip")).drive(flow.look(session, REPORT, silent))
    packed = gzip.compress(json.dumps(looked("FINISHED", "https://files.example.org/1")).encode())
    hand = Hand(time, reply(packed, 200, content_encoding="gzip"))
    assert hand.drive(flow.look(session, REPORT, silent)).ready


def test_no_look_is_held_longer_than_the_client_listens(session: Session, time: Time) -> None:
    """A client that gives up after 6 s of silence asks to be held for 3."""
    hasty = session.with_settings(replace(session.settings, timeout=6.0))
    hand = Hand(time, reply(looked("IN_PROGRESS")), held("FINISHED", "https://files.example.org/1"))
    hand.drive(flow.wait(hasty, REPORT, silent))
    assert hand.sent[-1].request.headers["prefer"] == "wait=3"
    assert hand.sent[-1].request.timeout == 6.0
