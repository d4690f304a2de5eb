"""What answers come to: errors in every form, other columns or fewer days than asked for, a caller's own trace."""

from __future__ import annotations

import gzip
import html
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests import forked
from tests.client.conftest import REPORT, SECRET, TOKEN, Time, looked
from tests.client.flows.flow_driver import ASKED, OURS, THEIRS, FlowDriver, ask, of_dailymotion, refused, reply
from tests.client.ledgers import days

from reelport import Client
from reelport.client.events import ignore_event
from reelport.client.flows import lifecycle
from reelport.client.flows.answers import describe_failure
from reelport.client.flows.auth import make_trace_headers
from reelport.client.flows.back_pressure import advise_on_days
from reelport.client.session import Session
from reelport.client.settings.config import PrivateKey
from reelport.errors import (
    AccessError,
    Problem,
    QueryRefused,
    QueueFull,
    ReelportError,
    ReportExpired,
    SchemaDrift,
    ServiceError,
    Unreachable,
)
from reelport.query import ReportQuery
from reelport.testing import Vendor


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
        FlowDriver(time, reply({"data": data, "errors": errors})).drive(ask(session, query, ignore_event))
    if not issubclass(error, ServiceError):  # A fault of the service is repeated, and ends in its own words.
        assert isinstance(caught.value, ReelportError)
        assert caught.value.data == data
        assert caught.value.token == (REPORT if data else None)


@pytest.mark.parametrize("errors", ["no", {"message": "no"}, [["no"]], [None], [{}], 7])
def test_errors_of_any_form_are_a_refusal(session: Session, time: Time, query: ReportQuery, errors: object) -> None:
    """That there is something under `errors` is enough, whatever it is."""
    with pytest.raises(QueryRefused):
        FlowDriver(time, reply({"data": None, "errors": errors})).drive(ask(session, query, ignore_event))


@pytest.mark.parametrize("odd", [["a"], {"a": "b"}, None, "", 1.5])
def test_of_a_failure_only_words_and_numbers_are_told(odd: object) -> None:
    """Whatever else a vendor puts there is no sentence for a reader."""
    failure = {"error": "invalid_grant", "code": 7, "error_description": odd, "message": odd}
    assert describe_failure(failure, str) == "invalid_grant: 7"


@pytest.mark.parametrize("errors", [[], None, {}, ""])
def test_empty_errors_are_none(session: Session, time: Time, query: ReportQuery, errors: object) -> None:
    """Some services send the key with nothing in it."""
    assert FlowDriver(time, reply(ASKED | {"errors": errors})).drive(ask(session, query, ignore_event)).token == REPORT


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
    hand = FlowDriver(time, refused(error), reply(ASKED))
    assert hand.drive(ask(of_dailymotion(session), query, ignore_event)).token == REPORT
    assert hand.sent_to("/token") == 2
    with pytest.raises(AccessError):
        FlowDriver(time, refused(error)).drive(ask(session, query, ignore_event))


@pytest.mark.parametrize("status", ["beside data", "a scope"])
def test_what_a_new_token_does_not_cure_is_not_replayed(
    session: Session, time: Time, query: ReportQuery, status: str
) -> None:
    """An ask that left a report behind isn't sent again, nor one that the key may not make."""
    error = {"type": "invalid_token" if status == "beside data" else "access_forbidden", "message": "no"}
    hand = FlowDriver(time, reply({"data": ASKED["data"] if status == "beside data" else None, "errors": [error]}))
    with pytest.raises(AccessError):
        hand.drive(ask(session, query, ignore_event))
    assert hand.sent_to("/graphql") == 1


def test_our_problems_keep_their_code_path_and_nearest_name(session: Session, time: Time, query: ReportQuery) -> None:
    """What the service says of a refused query arrives whole."""
    with pytest.raises(QueryRefused) as caught:
        FlowDriver(time, refused(OURS, THEIRS)).drive(ask(session, query, ignore_event))
    ours, theirs = caught.value.problems
    assert theirs.code == "invalid_document"
    assert (ours.code, ours.path, ours.nearest) == ("unknown_metric", ("metrics", 0), "VIEWS")
    assert theirs.sentence.startswith("Variable")


@pytest.mark.parametrize("what", [repr, str])
def test_nothing_that_prints_holds_a_secret(session: Session, time: Time, what: Callable[[object], str]) -> None:
    """Neither session, settings, grant nor request tells the secret or the bearer token."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")))
    hand.drive(lifecycle.look(session, REPORT, ignore_event))
    printed = what([session, session.access.grant, session.settings, hand.sent])
    assert SECRET not in printed
    assert TOKEN not in printed


def test_an_error_text_from_outside_is_redacted(session: Session, time: Time, query: ReportQuery) -> None:
    """A service that repeats the credentials doesn't get them into our errors."""
    echo = refused({"message": f"Bearer {TOKEN} of {SECRET} may not", "type": "bad_request"})
    with pytest.raises(QueryRefused) as caught:
        FlowDriver(time, echo).drive(ask(session, query, ignore_event))
    assert TOKEN not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("spell", [str, quote, partial(quote, safe=""), quote_plus, html.escape])
def test_a_secret_is_redacted_however_it_is_spelled(session: Session, spell: Callable[[str], str]) -> None:
    """Pages of errors repeat what they were sent as addresses, forms and HTML write it."""
    key = PrivateKey("key-1", "a secret/of <7> letters & 'more'")
    mine = session.with_settings(replace(session.settings, key=key))
    assert mine.redact(f"wrong: {spell(key.secret)}!") == "wrong: [redacted]!"


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
        FlowDriver(time, refused(error)).drive(lifecycle.wait(session, REPORT, ignore_event))
    assert caught.value.token == REPORT


def test_what_a_service_says_cannot_break_a_terminal(session: Session, time: Time, query: ReportQuery) -> None:
    """Control characters, half letters and endless texts of a service don't reach who prints our errors."""
    nasty = "\x1b[31mred\x1b[0m \ud800 \x00 " + "long " * 10_000
    with pytest.raises(QueryRefused) as caught:
        FlowDriver(time, refused({"message": nasty, "type": nasty, "path": [nasty]})).drive(
            ask(session, query, ignore_event)
        )
    said = str(caught.value)
    assert said.isprintable()
    assert said.encode()
    assert len(said) < 2100
    state = FlowDriver(time, reply(looked("\x1b[2J"))).drive(lifecycle.look(session, REPORT, ignore_event))
    assert state.status.isprintable()


def test_endless_lists_of_problems_are_cut(session: Session, time: Time, query: ReportQuery) -> None:
    """A screen of them is told, and how many more there are; what kind of refusal it is stays."""
    lacking = {"message": "no", "extensions": {"code": "scope_missing"}}
    driver = FlowDriver(time, refused(*[lacking] * 100_000))
    with pytest.raises(AccessError) as caught:
        driver.drive(ask(session, query, ignore_event))
    assert str(caught.value).splitlines()[-2:] == ["no", "And 99,800 further problems."]
    assert len(str(caught.value)) < 2100


@pytest.mark.parametrize(("size", "is_taken"), [(4096, True), (4097, False), (3_000_000, False)])
def test_a_report_token_of_any_length_is_no_token(
    session: Session, time: Time, query: ReportQuery, size: int, is_taken: bool
) -> None:
    """One that fills the screen and the ledger is told by its length."""
    driver = FlowDriver(time, reply({"data": {"askPartnerReportFile": {"reportFile": {"reportToken": "t" * size}}}}))
    if is_taken:
        assert driver.drive(ask(session, query, ignore_event)).token == "t" * size
        return
    with pytest.raises(ServiceError, match=f"gave a token of {size:,} characters") as caught:
        driver.drive(ask(session, query, ignore_event))
    assert len(str(caught.value)) < 300


@pytest.mark.long
def test_an_answer_packed_to_fill_the_memory_is_none(session: Session, time: Time) -> None:
    """A hundred megabytes of blanks in a hundred kilobytes are not unpacked."""
    bomb = gzip.compress(b" " * (100 << 20))
    with pytest.raises(Unreachable):
        FlowDriver(time, reply(bomb, 200, content_encoding="gzip")).drive(lifecycle.look(session, REPORT, ignore_event))
    packed = gzip.compress(json.dumps(looked("FINISHED", "https://files.example.org/1")).encode())
    hand = FlowDriver(time, reply(packed, 200, content_encoding="gzip"))
    assert hand.drive(lifecycle.look(session, REPORT, ignore_event)).ready


OTHERS = [b"views,day\n1,2026-10-01\n", b"day\n2026-10-01\n", b"day,views,more\n2026-10-01,1,2\n"]
WORDS = ["--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-01-01", "--end", "2026-03-01"]


def command(vendor: Vendor, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a `reelport report` command ended in."""
    key = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    line = ["-m", "reelport", "report", *words]
    environment = os.environ | key | {"REELPORT_HOME": str(home)}
    return forked.run(line, env=environment)


@pytest.mark.parametrize("csv", OTHERS)
def test_other_columns_are_taken_by_order(vendor: Vendor, client: Client, to: Path, csv: bytes) -> None:
    """Another order, a column left out and one more are a drift, whose sentence says how the report is taken."""
    vendor.csv = lambda _: csv
    with pytest.raises(SchemaDrift, match="--any-columns") as caught:
        client.reports.run(days(1), to)
    lenient = client.with_options(any_columns=True).reports
    lenient.attach(caught.value.token or "").download(to)
    assert to.read_bytes() == csv
    assert lenient.run(days(2), to).rows == 1


def test_rows_that_repeat_a_key_can_be_had_by_the_command_that_is_advised(vendor: Vendor, tmp_path: Path) -> None:
    """The command that was refused asks anew; its file can be saved by its token."""
    doubled = b"day,views\n2026-01-01,1\n2026-01-01,2\n"
    vendor.etag, vendor.csv = False, lambda _: doubled
    for asks in (1, 2):
        refused = command(vendor, tmp_path, "run", *WORDS)
        assert (refused.returncode, "To continue: " in refused.stderr, len(vendor.asks)) == (1, False, asks)
    assert "`reelport report download TOKEN --any-columns`" in refused.stderr
    done = command(vendor, tmp_path, "download", vendor.tokens[0], "--any-columns")
    assert (done.returncode, done.stdout) == (0, doubled.decode()), done.stderr


def test_windows_that_are_merged_have_the_columns_that_were_asked_for(vendor: Vendor, client: Client, to: Path) -> None:
    """What would be added up must stand where it is looked for."""
    vendor.csv = lambda _: OTHERS[0]
    lenient = client.with_options(any_columns=True, windows=1).reports
    with pytest.raises(SchemaDrift, match="report download TOKEN --any-columns") as caught:
        lenient.run_range(days(2), to)
    client.reports.attach(caught.value.token or "").download(to, any_columns=True)
    assert to.read_bytes() == OTHERS[0], "what is advised helps a range too"


def test_the_command_line_accepts_other_columns(vendor: Vendor, tmp_path: Path) -> None:
    """`report download TOKEN` takes the very report that was refused, and `report run` the same again."""
    vendor.csv = lambda _: OTHERS[0]
    drifted = command(vendor, tmp_path, "run", *WORDS)
    assert (drifted.returncode, "To continue: " in drifted.stderr) == (1, False), drifted.stderr
    done = command(vendor, tmp_path, "download", vendor.tokens[0], "--any-columns")
    assert (done.returncode, done.stdout) == (0, OTHERS[0].decode()), done.stderr
    assert command(vendor, tmp_path, "run", *WORDS, "--any-columns").stdout == OTHERS[0].decode()
    assert len(vendor.asks) == 1


def test_a_refusal_of_many_days_names_the_setting_and_can_be_followed(vendor: Vendor, tmp_path: Path) -> None:
    """A vendor with 30 days that doesn't say so is told of at once, with the option by which all is had."""
    vendor.refuses = lambda wire: "No." if ReportQuery.from_wire(wire).days > 30 else None
    refused = command(vendor, tmp_path, "run", *WORDS)
    assert (refused.returncode, "--window-days 30" in refused.stderr) == (5, True), refused.stderr
    done = command(vendor, tmp_path, "run", *WORDS, "--window-days", "30")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 61), done.stderr


@pytest.mark.parametrize(("length", "reelport", "advised"), [(31, False, True), (30, False, False), (31, True, False)])
def test_few_days_are_not_what_is_refused(
    session: Session, time: Time, *, length: int, reelport: bool, advised: bool
) -> None:
    """Of 30 days or fewer, and at a Reelport service, a refusal is left as it is."""
    settings = replace(session.settings, url="https://vendor.example")
    host = Session(settings, session.clock, session.chance)
    host.access.reelport = reelport
    last = time.day.date()
    query = ReportQuery.of(["VIEWS"], ["DAY"], last.fromordinal(last.toordinal() - length + 1), last)
    refusal = QueryRefused((Problem("bad_request", (), "No."),))
    assert ("--window-days" in str(advise_on_days(host, query, refusal))) is advised


TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("caller")


def ask_within_a_span(session: Session, time: Time, query: ReportQuery) -> tuple[str, Mapping[str, str]]:
    """Ask for a report in a span of the caller's: its trace, and the headers of the ask."""
    hand = FlowDriver(time, reply(ASKED))
    with TRACER.start_as_current_span("the caller's") as span:
        hand.drive(ask(session, query, ignore_event))
        return f"{span.get_span_context().trace_id:032x}", hand.sent[-1].request.headers


def test_an_ask_carries_the_callers_span(session: Session, time: Time, query: ReportQuery) -> None:
    """The service is told the span in which it is asked."""
    session.access.reelport = True
    trace_id, headers = ask_within_a_span(session, time, query)
    assert headers["traceparent"].startswith(f"00-{trace_id}-")
    assert int(headers["traceparent"].rpartition("-")[2], 16) & 1


def test_another_vendor_is_sent_no_trace(session: Session, time: Time, query: ReportQuery) -> None:
    """Only a Reelport service gets the header."""
    session.access.reelport = False
    assert "traceparent" not in ask_within_a_span(session, time, query)[1]


def test_without_a_span_nothing_is_sent() -> None:
    """A program that records nothing sends no header."""
    assert make_trace_headers() == {}
