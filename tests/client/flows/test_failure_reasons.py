"""Reports that fail at a service that says why: what is raised, shown, recorded, and asked for again."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import re
from datetime import date
from pathlib import Path

import pytest
from tests.client.range_asks import asked

from reelport import AsyncClient, Client, Partial, ReportCancelled, ReportFailed, ReportTooLarge
from reelport.client.events import Event, Looked
from reelport.client.flows.answers import find_details
from reelport.client.flows.lifecycle import ReportState, build_failure
from reelport.client.ledger_rows import State
from reelport.client.steps import Reply
from reelport.query import ReportQuery
from reelport.report_details import EXTENSION, Failure, FailureReason, ReportDetails
from reelport.report_details import State as Told
from reelport.testing import Vendor
from reelport.wire import ReportStatus

CANCELLED, TOO_LARGE, TOO_LATE, REFUSED, NO_ROOM, UNAVAILABLE, NOT_MADE = FailureReason


def describe(reason: FailureReason) -> Failure:
    """What a service tells of a reason."""
    return Failure(reason.value, reason.sentence, reason.advice)


@pytest.mark.parametrize("reason", FailureReason)
def test_a_failure_is_raised_by_its_reason(
    vendor: Vendor, client: Client, query: ReportQuery, to: Path, reason: FailureReason
) -> None:
    """Its kind, what happened, what to do, and the code; the ledger keeps the text, `details` all of it."""
    vendor.fails, vendor.failure = 1, describe(reason)
    told: list[Event] = []
    with pytest.raises(ReportFailed) as caught:
        client.reports.run(query, to, progress=told.append)
    [token] = vendor.tokens
    assert type(caught.value) is reason.error
    assert str(caught.value) == f"Report {token}: {reason.sentence} {reason.advice}"
    assert (caught.value.token, caught.value.reason) == (token, reason.value)
    [row] = client.session.ledger.list_rows()
    assert (row.state, row.error) == (State.FAILED, str(caught.value))
    report = client.reports.attach(token).refresh()
    assert report.details == ReportDetails(token, Told.FAILED, failure=describe(reason))
    assert not [event for event in told if isinstance(event, Looked)], "a failed report has no last look"


def test_a_failed_report_that_is_downloaded_raises_its_reason(vendor: Vendor, client: Client, to: Path) -> None:
    """Whoever never waited for it is told the same."""
    vendor.fails, vendor.failure = 1, describe(TOO_LARGE)
    report = client.reports.submit(asked("VIEWS").within(date(2025, 1, 1), date(2025, 1, 2)))
    with pytest.raises(ReportTooLarge, match=re.escape(TOO_LARGE.advice)):
        report.download(to)


def test_both_clients_know_what_a_service_told(vendor: Vendor) -> None:
    """The asyncio report has the same `details`, and raises the same."""

    async def go() -> tuple[ReportDetails | None, ReportFailed]:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
            report = await client.reports.submit(asked("VIEWS").within(date(2025, 1, 1), date(2025, 1, 2)))
            with pytest.raises(ReportTooLarge) as caught:
                await report.wait()
            return (await report.refresh()).details, caught.value

    vendor.fails, vendor.failure = 1, describe(TOO_LATE)
    details, error = asyncio.run(go())
    assert details is not None
    assert (details.failure, error.reason) == (describe(TOO_LATE), "too_late")


def test_a_reason_of_a_newer_service_has_its_own_words() -> None:
    """It is a plain failure with the service's message and advice."""
    details = ReportDetails("R-1", Told.FAILED, failure=Failure("moon", "The moon was full.", "Wait a day."))
    error = build_failure(ReportState("R-1", ReportStatus.FAILED, details=details))
    assert (type(error), error.reason) == (ReportFailed, "moon")
    assert str(error) == "Report R-1: The moon was full. Wait a day."


def test_a_service_that_tells_no_reason_has_todays_words(vendor: Vendor, client: Client, query: ReportQuery) -> None:
    """Another vendor says FAILED and no more."""
    vendor.fails = 1
    with pytest.raises(ReportFailed, match=r"failed on the service's side\. Ask for it again\.$") as caught:
        client.reports.run(query)
    assert (type(caught.value), caught.value.reason) == (ReportFailed, None)
    assert client.reports.attach(vendor.tokens[0]).refresh().details is None


def test_an_error_keeps_its_reason_in_another_process() -> None:
    """Also as a copy."""
    error = build_failure(
        ReportState("R-1", "FAILED", details=ReportDetails("R-1", Told.FAILED, failure=describe(CANCELLED)))
    )
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert (type(other), str(other), other.reason, other.token) == (ReportCancelled, str(error), "cancelled", "R-1")


@pytest.mark.parametrize(
    "extensions",
    [
        "null",
        "[]",
        '{"reelport": null}',
        '{"reelport": {"reports": {}}}',
        '{"reelport": {"reports": [null, {"id": "R-1"}, {"id": "R-2", "state": "failed"}, {"id": 1}]}}',
    ],
)
def test_what_is_told_in_another_shape_or_of_another_report_is_nothing(extensions: str) -> None:
    """No answer fails by what stands beside its data."""
    reply = Reply(200, body=f'{{"data": {{}}, "extensions": {extensions}}}'.encode())
    assert find_details(reply, "R-1", str) is None


def test_texts_of_a_reason_are_made_printable(client: Client) -> None:
    """They come from outside, like every text of a service: no controls, no secrets."""
    given = ReportDetails("R-1", Told.FAILED, failure=Failure("x", "a\x1b[31m", "b\nc"))
    reply = Reply(200, body=json.dumps({"extensions": {EXTENSION: {"reports": [given.to_json()]}}}).encode())
    details = find_details(reply, "R-1", client.session.redact)
    assert details is not None
    assert details.failure == Failure("x", "a\ufffd[31m", "b c")


@pytest.mark.parametrize("reason", FailureReason)
def test_an_earlier_report_that_failed_is_asked_for_anew_where_that_may_help(
    vendor: Vendor, client: Client, query: ReportQuery, to: Path, reason: FailureReason
) -> None:
    """What would fail again, or what somebody cancelled, is told; the call after it asks anew."""
    vendor.fails, vendor.makes_after_looks, vendor.failure = 1, 1, describe(reason)
    client.reports.submit(query)
    if reason in {NO_ROOM, UNAVAILABLE, NOT_MADE}:
        client.reports.run(query, to)
    else:
        with pytest.raises(reason.error):
            client.reports.run(query, to)
        assert len(vendor.asks) == 1
        client.reports.run(query, to)
    assert len(vendor.asks) == 2


@pytest.mark.parametrize("reason", [CANCELLED, REFUSED, NO_ROOM, UNAVAILABLE])
def test_a_window_that_no_shorter_one_would_spare_its_failure_is_not_halved(
    vendor: Vendor, client: Client, to: Path, reason: FailureReason
) -> None:
    """The windows after a cancelled one go on; where a platform makes nothing, or refuses, no more are asked for."""
    client = client.with_options(slots=1)
    vendor.fails, vendor.failure = 1, describe(reason)
    if reason is CANCELLED:
        with pytest.raises(Partial, match=r"Of 4 windows, 3 are here and kept; 1 can't be fetched now:\n.*cancelled"):
            client.reports.run_range(asked("VIEWS"), to)
        assert len(vendor.asks) == 4
    else:
        with pytest.raises(ReportFailed) as caught:
            client.reports.run_range(asked("VIEWS"), to)
        assert caught.value.reason == reason.value
        assert len(vendor.asks) == 1


def test_a_range_of_one_report_that_is_too_large_is_halved(vendor: Vendor, client: Client, to: Path) -> None:
    """Also where it was no range at first; a cancelled one is not."""
    client = client.with_options(windows=180)
    vendor.fails, vendor.failure = 1, describe(TOO_LARGE)
    assert len(client.reports.run_range(asked("VIEWS"), to).windows) == 2
    vendor.fails, vendor.failure = 1, describe(CANCELLED)
    before = len(vendor.asks)
    with pytest.raises(ReportCancelled):
        client.reports.run_range(asked("TIME_WATCHED_SECONDS"), to)
    assert len(vendor.asks) == before + 1
