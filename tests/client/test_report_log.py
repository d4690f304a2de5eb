"""The library's log: a line for each thing that happens, at INFO, silent by itself, and without anything secret."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import forked
from tests.client.conftest import SECRET, TOKEN

from reelport import AsyncClient, Client, ReportQuery
from reelport.catalog import Product
from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    InWindow,
    Looked,
    Merged,
    Merging,
    Queued,
    Received,
    Retrying,
    Reused,
    Saved,
    Warned,
    WindowDone,
)
from reelport.client.listener import ReportLog
from reelport.client.session import Access, Grant, Session
from reelport.client.settings.config import PrivateKey, Settings
from reelport.errors import Problem
from reelport.report_details import ReportDetails, State
from reelport.testing import Vendor

REPORT = "rep_5tOq2mDv81LkXyZw0A"
LINK = "https://files.example.org/8f2c/views.csv?Expires=1795000000&Signature=b3xSIGNEDx9f"
START, END = date(2026, 11, 1), date(2026, 11, 3)
QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], START, END, product=Product.ALL)


class Heard(logging.Handler):
    """Keeps the lines that a logger writes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())
        self.levels.append(record.levelno)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """All that is logged while the test runs, by anybody, at any level."""
    handler, root = Heard(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def log_of(seconds: Callable[[], float] = lambda: 0.0) -> ReportLog:
    """A log of a session that holds a secret and an access token."""
    settings = Settings("https://reports.example.org", PrivateKey("key-1", SECRET))
    return ReportLog(Session(settings, access=Access(Grant(TOKEN, 0.0))), seconds)


def lines_of(*events: Event, seconds: Callable[[], float] = lambda: 0.0) -> list[str]:
    """What a log at INFO says of events."""
    handler, logger, log = Heard(), logging.getLogger("reelport"), log_of(seconds)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for event in events:
            log(event)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    return handler.lines


def test_each_thing_that_happens_is_a_line() -> None:
    """Asked, waiting, retrying, downloaded and merged, each with the report's token shortened."""
    assert lines_of(
        Asked(REPORT),
        Asked(REPORT, again=True),
        Looked(REPORT, "IN_PROGRESS", 0.4, 2.0),
        Retrying("HTTP 503.", 1.5),
        Looked(REPORT, "FINISHED", 61.0, None),
        Saved(REPORT, 1_234_567, 3_000),
        Reused(REPORT, 180.0),
        Queued("Waiting for a slot", 2.0),
        Merging(3),
        Merged(3, 99, 1),
        WindowDone(START, END, 5, 1, 3),
        Bisected(START, END, date(2026, 11, 2), "too much"),
        InWindow(START, END, Saved("another-report-of-the-range", 10, 2)),
    ) == [
        "asked for report rep_5tOq2mD…",
        "the service gave report rep_5tOq2mD… again",
        "waiting for report rep_5tOq2mD…: IN_PROGRESS after 0.4 s",
        "HTTP 503. Trying again in 1.5 s.",
        "waited for report rep_5tOq2mD…: FINISHED after 61.0 s",
        "downloaded report rep_5tOq2mD…: 3,000 rows, 1.2 MB",
        "continuing with report rep_5tOq2mD…, asked for 3 min ago",
        "waiting to ask, next try in 2.0 s: Waiting for a slot",
        "merging 3 windows",
        "merged 3 windows: 1 row, 99 bytes",
        "2026-11-01..2026-11-03: here, 5 bytes; 1 of 3 windows",
        "2026-11-01..2026-11-03: asking for two halves, the later from 2026-11-02 on: too much",
        "2026-11-01..2026-11-03: downloaded report another-repo…: 2 rows, 10 bytes",
    ]


def test_no_kind_of_event_goes_unsaid() -> None:
    """Each event that there is comes to a line, but for the first bytes of a download."""
    named = {
        "problem": Problem("odd", (), "A name."), "event": Asked(REPORT), "start": START, "end": END, "middle": END,
        "token": REPORT, "reason": "Why.", "status": "IN_PROGRESS", "at": datetime(2026, 12, 1, tzinfo=UTC),
        "details": None,
    }  # fmt: skip
    for kind in get_args(Event):
        event = kind(**{each.name: named.get(each.name, 1) for each in fields(kind)})
        assert len(lines_of(event)) == (kind is not Received), kind


def test_a_long_wait_is_told_twice_a_minute_and_no_more() -> None:
    """The same status is a line every 30 s, a new one at once; a download's bytes as often, trouble every 5 s."""
    looks = [Looked(REPORT, "IN_PROGRESS", float(second), 1.0) for second in range(90)]
    assert [line.rpartition(" after ")[2] for line in lines_of(*looks)] == ["0.0 s", "30.0 s", "60.0 s"]
    assert len(lines_of(*looks[:3], Looked(REPORT, "QUEUED_AGAIN", 3.0, 1.0))) == 2
    ticks = iter(range(1000))
    received = [Received(number, None) for number in range(70)]
    assert len(lines_of(*received, seconds=lambda: float(next(ticks)))) == 2
    assert len(lines_of(*[Retrying("HTTP 503.", 0.2)] * 20, seconds=lambda: float(next(ticks)))) == 4


def test_a_look_on_behalf_of_another_changes_no_name() -> None:
    """What is said of our report names ours, though an orphan's was looked at since."""
    ticks = iter((0.0, 60.0))
    events = (Asked(REPORT), Looked("orphan-of-another", "IN_PROGRESS", 0.0, 1.0), Received(1, None), Received(2, None))
    assert lines_of(*events, seconds=lambda: next(ticks))[-1] == "downloading report rep_5tOq2mD…: 2 bytes"


TEXTS = st.lists(st.sampled_from([SECRET, TOKEN, REPORT, LINK, "a", " ", "\n", "\x1b[2J", ".", "?", "("]), max_size=9)


@given(words=TEXTS, date_=st.dates(START, END))
def test_no_line_has_a_secret_a_token_or_a_signature(words: list[str], date_: date) -> None:
    """Whatever a vendor says, and wherever it says it: one line, and nothing in it that gives access."""
    said = "".join(words)
    for line in lines_of(
        Asked(REPORT), Queued(said, 1.0), Retrying(said, 1.0), Looked(REPORT, said, 0.0, 1.0),
        Bisected(date_, END, END, said), InWindow(START, date_, Retrying(said, 1.0)), Warned(Problem("odd", (), said)),
        Reused(REPORT, 1.0),
    ):  # fmt: skip
        assert line.isprintable()
        for secret in (SECRET, TOKEN, REPORT, "Signature", "b3xSIGNEDx9f", "8f2c"):
            assert secret not in line


def run_both(vendor: Vendor, folder: Path) -> None:
    """A range and a report by the blocking client, with trouble on the way, and a range by the asyncio client."""

    async def go() -> None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
            await client.with_options(windows=2).reports.run_range(QUERY, folder / "async.csv")

    with Client(vendor.url, vendor.key, vendor.secret, ledger=folder / "ledger.db") as client:
        vendor.unavailable, vendor.retry_after = 1, 0.1
        client.with_options(windows=2).reports.run_range(QUERY, folder / "range.csv")
        client.reports.submit(QUERY).wait().download(folder / "one.csv")
    asyncio.run(go())


def test_both_clients_log_and_tell_no_secret(heard: Heard, tmp_path: Path) -> None:
    """Over real sockets, with every logger at its finest: the steps are there, and nothing that gives access."""
    with Vendor() as vendor:
        run_both(vendor, tmp_path)
        access = list(vendor._tokens)  # noqa: SLF001 - what it gave out is what must not be seen
        links = list(vendor._files.given)  # noqa: SLF001 - the same
    text = "\n".join(heard.lines)
    for step in ("asked for report", "waited for report", "Trying again", "downloaded report", "merged 2 windows"):
        assert step in text
    assert text.count("merged 2 windows") == 2
    assert len(access) == 2
    assert links
    for secret in (vendor.secret, *access, *vendor.tokens, *links):
        assert secret not in text


def test_a_token_that_was_renewed_is_still_a_secret(vendor: Vendor, client: Client) -> None:
    """An answer that comes late may tell the token with which it was asked for: the log doesn't."""
    client.probe()
    (first,) = vendor._tokens  # noqa: SLF001 - what it gave out is what must not be seen
    vendor.revoke_tokens()
    client.probe()
    assert len(vendor.grants) == 2
    assert first not in client.session.redact(f"the token {first} has expired")


@pytest.mark.parametrize(
    ("configuration", "wanted"),
    [
        ("pass", []),
        ("logging.basicConfig(level=20, format='%(name)s %(message)s')", ["reelport.client asked for report R…"]),
    ],
)  # fmt: skip
def test_the_log_is_silent_unless_it_is_configured(configuration: str, wanted: list[str]) -> None:
    """Nothing goes to stderr by itself, a warning neither; one line of configuration brings all of it."""
    program = (
        "import logging\n"
        f"{configuration}\n"
        "from reelport.client.events import Asked, Warned\n"
        "from reelport.client.listener import ReportLog\n"
        "from reelport.client.session import Session\n"
        "from reelport.client.settings.config import Settings\n"
        "from reelport.client.settings.config import PrivateKey\n"
        "log = ReportLog(Session(Settings('https://r.example', PrivateKey('key', 'secret'))))\n"
        "log(Asked('R-1'))\n"
        "if not logging.getLogger().handlers: log.write(logging.ERROR, 'never seen')\n"
    )
    done = forked.run(["-c", program])
    assert (done.stdout, done.stderr.splitlines()) == ("", wanted)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_command_says_nothing_twice(words: list[str], tmp_path: Path) -> None:
    """The command line tells in its own way what happens, and the log adds nothing to it."""
    with Vendor() as vendor:
        given = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
        ask = [
            "report",
            "run",
            "--metrics",
            "VIEWS",
            "--dimensions",
            "DAY",
            "--start",
            "2026-11-01",
            "--end",
            "2026-11-03",
        ]
        environment = {**os.environ, **given, "REELPORT_HOME": str(tmp_path / "home")}
        done = forked.run(["-m", "reelport", *ask, "-o", "views.csv", *words], env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    assert lines
    assert len(set(lines)) == len(lines)
    kinds = [json.loads(line)["event"] for line in lines] if words else lines
    assert [kind for kind in kinds if kind not in {"asked", "looked", "received", "result", "warned"}] == (
        [] if words else lines
    )
    assert not any("downloaded report" in line for line in lines)


def test_what_a_service_tells_of_a_report_is_in_the_line_of_its_wait() -> None:
    """Its place, rows, bytes and when it may be ready; a new state is a line at once."""
    queued = ReportDetails(REPORT, State.QUEUED, place=1_003)
    ready = datetime.now(UTC) + timedelta(minutes=30, seconds=30)
    running = ReportDetails(REPORT, State.RUNNING, rows=1_200, bytes=3_400_000, ready_at=ready)
    finished = ReportDetails(REPORT, State.FINISHED, rows=3_000)
    assert lines_of(
        Looked(REPORT, "IN_PROGRESS", 0.4, 0.0, queued),
        Looked(REPORT, "IN_PROGRESS", 2.4, 0.0, replace(queued, place=2)),
        Looked(REPORT, "IN_PROGRESS", 6.4, 0.0, running),
        Looked(REPORT, "FINISHED", 61.0, None, finished),
    ) == [
        "waiting for report rep_5tOq2mD…: IN_PROGRESS after 0.4 s: queued, place 1,003",
        "waiting for report rep_5tOq2mD…: IN_PROGRESS after 6.4 s: running, 1,200 rows, 3.4 MB, ready in about 30 min",
        "waited for report rep_5tOq2mD…: FINISHED after 61.0 s",
    ]
