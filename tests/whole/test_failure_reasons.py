"""Every reason for which a report fails, told by a real service, as the client and its commands show it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine
from tests.warm_service import Service

from reelport import AsyncClient, Client, Report, ReportFailed, ReportQuery
from reelport.errors import DiskFull, OutOfMemory, QueryRefused, StorageError, StoreUnavailable
from reelport.report_details import Failure, FailureReason, State
from reelport.server.queue import backlog, jobs
from reelport.server.queue.report_state import ReasonCode
from reelport.server.state.database import connected
from reelport.testing import Key

from .terminal import piped, surroundings

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
OWN = "That is a text of its own."


def fail(code: str, *, own: str | None = None) -> Callable[[Engine, str], None]:
    """What makes the next report end in this way."""

    def end(db: Engine, _: str) -> None:
        claim = jobs.claim(db, "w", running=9, lease_seconds=60)
        assert claim is not None
        assert jobs.fail(db, claim, "/secret/path", datetime.now(UTC), code=code, partner_reason=own)

    return end


def cancel(db: Engine, token: str) -> None:
    """Cancel a report as an operator."""
    backlog.cancel(db, token, datetime.now(UTC))


ENDS = {
    FailureReason.CANCELLED: cancel,
    FailureReason.TOO_LARGE: fail(OutOfMemory.code),
    FailureReason.TOO_LATE: fail(ReasonCode.TOO_LATE, own=OWN),
    FailureReason.REFUSED: fail(QueryRefused.code, own=OWN),
    FailureReason.NO_ROOM: fail(DiskFull.code),
    FailureReason.UNAVAILABLE: fail(StoreUnavailable.code),
    FailureReason.NOT_MADE: fail(StorageError.code),
}
OF_ITS_OWN = {
    FailureReason.CANCELLED: "It was cancelled by an operator.",
    FailureReason.TOO_LATE: OWN,
    FailureReason.REFUSED: OWN,
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service that makes no report."""
    with Service(workers=0) as service:
        service.organization("acme")
        yield service


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    return service.key("acme")


@pytest.fixture
def report(service: Service, key: Key) -> Iterator[Report]:
    """A report that waits."""
    with Client(service.url, key.id, key.secret, ledger=False) as client:
        yield client.reports.submit(QUERY)


def test_a_report_that_waits_has_its_place(report: Report) -> None:
    """From the ask on, and after a look."""
    assert report.details is not None
    assert (report.details.id, report.details.state, report.details.place) == (report.token, State.QUEUED, 1)
    assert report.refresh().details == report.details


def test_events_of_a_command_have_what_the_service_tells(service: Service, key: Key, report: Report) -> None:
    """An object with the words of the details, of the ask and of each look; lines for people say it too."""
    here = surroundings(service.url, key.id, key.secret)
    ended = piped(here, "report", "wait", report.token, "--deadline", "3", "--json")
    looked = json.loads(ended.err.splitlines()[0])
    assert (ended.status, looked["event"], looked["status"]) == (6, "looked", "IN_PROGRESS")
    details = looked["details"]
    assert (details["id"], details["state"], details["place"]) == (report.token, "queued", 1)
    assert datetime.fromisoformat(details["expires_at"]) > datetime.now(UTC)
    assert (details["rows"], details["failure"]) == (None, None)
    said = piped(here, "report", "wait", report.token, "--deadline", "3").err
    assert re.match(r"waiting for report \S+…: IN_PROGRESS after \d\.\d s: queued, place 1\n", said)


@pytest.mark.parametrize("reason", FailureReason)
def test_each_reason_reaches_the_client_and_its_commands(
    service: Service, key: Key, report: Report, reason: FailureReason
) -> None:
    """The kind of error with sentence, advice and code, in both clients; `--json` and the exit status have it too."""
    with connected(service.settings) as db:
        ENDS[reason](db, report.token)
    with pytest.raises(reason.error) as caught:
        report.wait()
    own = OF_ITS_OWN.get(reason, reason.sentence)
    assert type(caught.value) is reason.error
    assert str(caught.value) == f"Report {report.token}: {own} {reason.advice}"
    assert caught.value.reason == reason.value
    assert asyncio.run(wait_as_well(service, key, report.token)) == (reason.error, str(caught.value))
    details = report.refresh().details
    assert details is not None
    assert details.failure == Failure(reason.value, own, reason.advice)
    assert details.state is (State.CANCELLED if reason is FailureReason.CANCELLED else State.FAILED)
    ended = piped(surroundings(service.url, key.id, key.secret), "report", "wait", report.token, "--json")
    result = json.loads(ended.err.splitlines()[-1])
    assert (ended.status, result["status"]) == (reason.error.exit_status, reason.error.exit_status)
    assert (result["code"], result["reason"]) == (reason.error.code, reason.value)
    assert result["error"] == str(caught.value)


async def wait_as_well(service: Service, key: Key, token: str) -> tuple[type[ReportFailed], str]:
    """What the asyncio client raises for a report."""
    async with AsyncClient(service.url, key.id, key.secret, ledger=False) as client:
        with pytest.raises(ReportFailed) as caught:
            await client.reports.attach(token).wait()
    return type(caught.value), str(caught.value)
