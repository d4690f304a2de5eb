"""What a client is given, what its copies share, and that its blocking and asyncio classes promise the same."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import SECRET, TOKEN, Server, answer
from tests.client.flows.flow_driver import ask

from reelport import AsyncClient, AsyncReport, Client, Report, ReportQuery
from reelport.client.drivers.http import Http
from reelport.client.events import Event, Retrying
from reelport.client.events import ignore_event as silently
from reelport.client.reports import AsyncReports, Reports
from reelport.client.settings.config import PrivateKey, Settings
from reelport.client.steps import Body, Lost, Request
from reelport.errors import (
    AskLost,
    Interrupted,
    NotFinished,
    Problem,
    QueryRefused,
    QueueFull,
    ReelportError,
    SlotsFull,
    StorageError,
    Unreachable,
    UsageError,
)
from reelport.testing import Vendor


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """A vendor that makes every report at once."""
    with Vendor(running=100) as vendor:
        yield vendor


def test_a_copy_with_options_shares_the_token_and_the_connections(
    vendor: Vendor, query: ReportQuery, tmp_path: Path
) -> None:
    """A copy asks for no token of its own, and closing it leaves the first client at work."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        report = client.reports.submit(query)
        before = len(vendor.grants)
        with client.with_options(patience=1.0, timeout=30.0) as hasty:
            assert hasty.reports.attach(report.token).wait().status == "FINISHED"
        client.reports.attach(report.token, query).download(tmp_path / "views.csv")
        assert len(vendor.grants) == before


def test_options_hold_for_the_copy_alone(vendor: Vendor, query: ReportQuery) -> None:
    """A copy whose windows are of 2 days refuses 3, which the first client takes."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        with pytest.raises(QueryRefused, match="more than 2"):
            client.with_options(windows=2).reports.submit(query)
        assert client.reports.submit(query).token


def test_a_longer_window_is_a_setting(vendor: Vendor, query: ReportQuery) -> None:
    """Where a vendor takes 400 days, so does a client that is told."""
    long = query.within(query.start.replace(year=2025), query.end)
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        with pytest.raises(QueryRefused, match="more than 180"):
            client.reports.submit(long)
        vendor.longest = 400
        assert client.with_options(windows=400).reports.submit(long).token
        vendor.longest = 180


@pytest.mark.parametrize(
    "options",
    [
        {"slots": 0},
        {"windows": -1},
        {"windows": 10**400},
        {"timeout": 0},
        {"timeout": 1e12},
        {"patience": float("nan")},
    ],
)
def test_options_that_make_no_sense(vendor: Vendor, options: dict[str, Any]) -> None:
    """A number that can't be is refused where it is given."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client, pytest.raises(UsageError):
        client.with_options(**options)


def test_both_clients_take_the_same_options(vendor: Vendor, query: ReportQuery) -> None:
    """The twin for asyncio shares and closes as the blocking client does."""

    async def both() -> None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
            report = await client.reports.submit(query)
            before = len(vendor.grants)
            async with client.with_options(windows=2) as narrow:
                with pytest.raises(QueryRefused):
                    await narrow.reports.submit(query)
            assert (await client.reports.attach(report.token).wait()).status == "FINISHED"
            assert len(vendor.grants) == before

    asyncio.run(both())


def test_both_clients_drive_a_flow_of_their_session(vendor: Vendor, query: ReportQuery) -> None:
    """What is built on a client needs no part of it that isn't public."""

    async def other() -> str | None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
            return (await client.drive(ask(client.session, query, silently))).token

    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        assert client.with_options(slots=1).session.settings.slots == 1
        assert client.drive(ask(client.session, query, silently)).token != asyncio.run(other())


def test_a_silent_service_is_given_up_after_the_timeout() -> None:
    """A service that takes the connection and says nothing costs the timeout, not a minute."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, "key", SECRET, ledger=False) as client, pytest.raises(Unreachable, match="silent"):
            client.with_options(timeout=0.2, patience=0.1).reports.attach("R").refresh()


def test_a_host_where_nobody_is_comes_with_advice() -> None:
    """Every try is told; the end says for how long it was tried, and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def give_up(patience: float) -> tuple[int, str]:
        told: list[Event] = []
        with Client(url, "key", SECRET, ledger=False) as client, pytest.raises(Unreachable) as caught:
            client.with_options(patience=patience).reports.attach("R").wait(progress=told.append)
        return len([event for event in told if isinstance(event, Retrying)]), str(caught.value)

    # On a busy machine the first try alone may take longer than the least patience.
    ends = (give_up(patience) for patience in (1.5, 6.0, 24.0, 96.0))
    sentence = next(said for retries, said in ends if retries > 1)
    assert re.search(r"refused\. Tried for \d+ s\. Check the address \(REELPORT_URL\)", sentence)


def test_an_endless_answer_is_not_read_to_its_end(server: Server) -> None:
    """A service that sends more than any answer holds is cut off, in both clients."""
    server.answers["/graphql"] = [answer(b" " * (17 << 20))]
    with Client(server.url, "key", SECRET, ledger=False) as client, pytest.raises(Unreachable, match="too large"):
        client.with_options(patience=0.01).reports.attach("R").refresh()

    async def twin() -> None:
        async with AsyncClient(server.url, "key", SECRET, ledger=False) as client:
            await client.with_options(patience=0.01).reports.attach("R").refresh()

    with pytest.raises(Unreachable, match="too large"):
        asyncio.run(twin())


def test_a_client_says_who_it_is(server: Server, query: ReportQuery) -> None:
    """Every request names this client and its version."""
    server.answers["/graphql"] = [
        answer({"data": {"askPartnerReportFile": {"reportFile": {"reportToken": "R", "status": "IN_PROGRESS"}}}})
    ]
    with Client(server.url, "key", SECRET, ledger=False) as client:
        client.reports.submit(query)
    assert len(server.requests) == 2
    for _, request in server.requests:
        assert f"user-agent: reelport/{version('reelport')} python/3.".encode() in request.lower()


class Counting:
    """A way to the network that counts what goes over it."""

    def __init__(self) -> None:
        self._http = Http()
        self.opened: list[str] = []
        self.closed = False

    def open(self, request: Request) -> Body | Lost:
        """Send a request."""
        self.opened.append(request.method)
        return self._http.open(request)

    def close(self) -> None:
        """Let go of everything."""
        self._http.close()
        self.closed = True


def test_another_way_to_the_network_can_be_handed_over(vendor: Vendor, query: ReportQuery, tmp_path: Path) -> None:
    """All requests of a client go over the transport that it is given, which is closed with it."""
    counting = Counting()
    with Client(vendor.url, vendor.key, vendor.secret, transport=counting, ledger=False) as client:
        client.reports.run(query, tmp_path / "views.csv")
    assert counting.opened == ["POST", "POST", "POST", "GET"]
    assert counting.closed


def test_settings_may_be_handed_over_whole(vendor: Vendor, query: ReportQuery) -> None:
    """Settings that were made elsewhere are used as they are."""
    settings = Settings(vendor.url, PrivateKey(vendor.key, vendor.secret), slots=3)
    with Client(settings=settings, ledger=False) as client:
        assert client.reports.submit(query).token
        assert TOKEN not in repr(client)
        assert vendor.secret not in repr(client)


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_no_log_holds_a_secret_or_a_link(
    server: Server, query: ReportQuery, caplog: pytest.LogCaptureFixture, tmp_path: Path, kind: str
) -> None:
    """With every log turned on, neither key nor token nor what signs a link is logged, redirects included."""
    caplog.set_level("DEBUG")
    link, other = f"{server.url}/files/in-path?signature=in-query", f"{server.url}/moved?signature=in-location"
    server.looks(("FINISHED", [link]))
    server.answers["/files/in-path?signature=in-query"] = [answer("", status="302 Found", location=other)]
    server.answers["/moved?signature=in-location"] = [answer("day,video_title,views\n2026-11-01,a,1\n")]

    async def twin() -> None:
        async with AsyncClient(server.url, "key-of-the-test", SECRET, ledger=False) as client:
            await client.reports.attach("R", query).download(tmp_path / "views.csv")

    if kind == "asyncio":
        asyncio.run(twin())
    else:
        with Client(server.url, "key-of-the-test", SECRET, ledger=False) as client:
            client.reports.attach("R", query).download(tmp_path / "views.csv")
    assert "httpx2" in {record.name for record in caplog.records}
    for secret in ("key-of-the-test", SECRET, TOKEN, "in-path", "in-query", "in-location"):
        assert secret not in caplog.text


PROBLEM = Problem("unknown_metric", ("metrics", 0), "There is no metric 'VIEW'.", "VIEWS")


@pytest.mark.parametrize(
    "error",
    [
        QueryRefused((PROBLEM, PROBLEM), data={"a": None}),
        NotFinished("It goes on.", "R-1"),
        AskLost("Perhaps.", token="R-2"),  # noqa: S106 - a report's
        SlotsFull("Two are running."),
        StorageError(),
        Interrupted("Interrupted.", 143),
        ReelportError("Something."),
    ],
)
def test_errors_survive_the_way_to_another_process(error: ReelportError) -> None:
    """An error that a worker process raises arrives with its sentence, its token and its problems."""
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(copied), copied.token, copied.data) == (str(error), error.token, error.data)
    assert copied.exit_status == error.exit_status
    assert getattr(copied, "problems", None) == getattr(error, "problems", None)


def test_a_full_queue_says_when_to_come_back() -> None:
    """Where the service names a pause it is on the error; elsewhere None."""
    assert QueueFull("Full.").retry_after is None


def test_a_warning_points_at_the_callers_line(vendor: Vendor, tmp_path: Path) -> None:
    """What another vendor may know is sent, and the warning names the file that asked for it."""
    odd = ReportQuery.of(["VIEW"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
    with (
        Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client,
        pytest.warns(UserWarning, match="Did you mean") as caught,
    ):
        client.reports.run(odd, tmp_path / "odd.csv")
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]


@dataclass
class Twins:
    """A blocking class and the one for asyncio; `unlike` are arguments whose defaults or types must differ."""

    blocking: type
    asyncio: type
    unlike: frozenset[str] = frozenset()


TWINS = [
    Twins(Client, AsyncClient, frozenset({"transport", "sleep"})),
    Twins(Reports, AsyncReports, frozenset({"run"})),
    Twins(Report, AsyncReport, frozenset({"run"})),
]


def methods(owner: type) -> list[str]:
    """The names that a person may call."""
    return [name for name in dir(owner) if not name.startswith("_")]


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.blocking.__name__)
def test_each_method_has_one_text_that_help_shows_for_both(twins: Twins) -> None:
    """What an editor or `help()` finds is a text, and the same one."""
    assert methods(twins.blocking) == methods(twins.asyncio)
    for name in methods(twins.blocking):
        text = inspect.getdoc(getattr(twins.blocking, name))
        assert text, name
        assert inspect.getdoc(getattr(twins.asyncio, name)) == text


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.blocking.__name__)
def test_both_take_the_same_arguments(twins: Twins) -> None:
    """In one order, with the same defaults: who changes from one to the other adds `await` alone."""
    called = [
        name for name in ["__init__", *methods(twins.blocking)] if inspect.isfunction(getattr(twins.blocking, name))
    ]
    for name in called:
        ours, theirs = (
            {each.name: each for each in inspect.signature(getattr(owner, name)).parameters.values()}
            for owner in (twins.blocking, twins.asyncio)
        )
        assert list(ours) == list(theirs), name
        assert all(ours[each] == theirs[each] for each in ours if each not in twins.unlike), name
