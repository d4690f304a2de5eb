"""What a stopped client leaves is taken up by the next one: reports, downloads and slots."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out

from reelport import (
    AskLost,
    AsyncClient,
    Client,
    NotFinished,
    QueryRefused,
    ReportFailed,
    SchemaDrift,
    SlotsFull,
    StorageError,
)
from reelport.client.events import Asked, Event, Queued
from reelport.client.ledger_rows import State
from reelport.testing import Cut, Vendor

from .machine import QUERY, Partner, days, expected


def test_a_deadline_keeps_the_token(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """NotFinished carries it, the ledger has it, and the same call goes on."""
    vendor.makes_in = 3600
    with pytest.raises(NotFinished) as caught:
        guest.run(QUERY, tmp_path / "views.csv", deadline=2)
    row = guest.row()
    assert (row.token, row.state, row.owner) == (caught.value.token, State.RUNNING, None)
    vendor.makes_in = 0
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1


def test_a_listener_that_fails_loses_no_report(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """What is told to a closed pipe at the worst time: the token is in the ledger, and nobody is taken to hold it."""

    def deaf(event: Event) -> None:
        if isinstance(event, Asked):
            raise BrokenPipeError

    with Client(guest.url, guest.key, guest.secret, ledger=guest.ledger) as client, pytest.raises(BrokenPipeError):
        client.reports.run(QUERY, tmp_path / "views.csv", progress=deaf)
    assert (guest.row().token, guest.row().owner) == (vendor.tokens[0], None)
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1


def test_a_ledger_that_breaks_after_the_ask_costs_no_token(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """The error carries the report's token and says it: that is all that is left of it."""

    def breaking(event: Event) -> None:
        if isinstance(event, Asked):
            guest.ledger.path.write_bytes(b"scribble" * 1000)

    with (
        Client(guest.url, guest.key, guest.secret, ledger=guest.ledger) as client,
        pytest.raises(StorageError, match=r"is damaged .* asked for all the same: it is report-") as caught,
    ):
        client.reports.run(QUERY, tmp_path / "views.csv", progress=breaking)
    assert [caught.value.token] == vendor.tokens


def test_an_interrupt_in_a_process_that_lives_on_frees_the_row(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """As in a notebook: Ctrl-C in the wait, and the same call at once goes on with the same report."""
    vendor.makes_in = 3600

    def interrupted(seconds: float) -> None:
        if seconds:
            raise KeyboardInterrupt

    with Client(guest.url, guest.key, guest.secret, ledger=guest.ledger, sleep=interrupted) as client:
        with pytest.raises(KeyboardInterrupt):
            client.reports.run(QUERY, tmp_path / "views.csv")
        assert guest.row().owner is None
    vendor.makes_in = 0
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1


def test_a_report_with_other_columns_serves_nobody_again(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """It is refused once, and the next call asks for a new one."""
    vendor.cut, vendor.cut_times = Cut.WRONG_HEADER, 1
    with pytest.raises(SchemaDrift):
        guest.run(QUERY, tmp_path / "views.csv")
    assert guest.row().state is State.FAILED
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 2


def test_an_interrupt_before_the_ask_holds_nothing(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Between the row and the request nothing can have been asked for: no slot is kept, and no row."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with (
        Client(guest.url, guest.key, guest.secret, ledger=guest.ledger, sleep=interrupted) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.reports.run(QUERY, tmp_path / "views.csv")
    assert (guest.ledger.list_rows(), vendor.asks) == ((), [])
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)


def test_tasks_of_one_loop_share_a_report_and_a_cancelled_one_frees_it(
    vendor: Vendor, guest: Partner, tmp_path: Path
) -> None:
    """Three tasks with one query ask once; a task that is cancelled leaves a row that the next call takes up."""

    async def go() -> None:
        async with AsyncClient(guest.url, guest.key, guest.secret, ledger=guest.ledger) as client:
            runs = [client.reports.run(QUERY, tmp_path / f"{name}.csv") for name in "abc"]
            await asyncio.gather(*runs)
            vendor.makes_in = 60
            waiting = asyncio.create_task(client.reports.run(days(3), tmp_path / "other.csv"))
            while len(vendor.asks) < 2 or guest.ledger.list_rows()[-1].state is not State.RUNNING:  # noqa: ASYNC110 - a file tells
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(go())
    assert {(tmp_path / f"{name}.csv").read_bytes() for name in "abc"} == {expected(QUERY)}
    vendor.makes_in = 0
    assert guest.ledger.list_rows()[-1].owner is None
    assert guest.run(days(3), tmp_path / "other.csv") == expected(days(3))
    assert len(vendor.asks) == 2


@pytest.mark.parametrize("stop", thin_out([signal.SIGINT, signal.SIGTERM], 2))
def test_a_stopped_command_says_what_resumes_it(
    vendor: Vendor, guest: Partner, tmp_path: Path, stop: signal.Signals
) -> None:
    """Exit 6; nobody holds the row any more; the very command that is named ends with the file and asks no more."""
    vendor.makes_in = 60
    words = ["report", "run", "--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-01-01"]
    words = ["-m", "reelport", *words, "--end", "2026-01-02", "-o", str(tmp_path / "my views.csv")]
    with forked.Popen(words, env=guest.environment(), stderr=forked.PIPE) as process:
        assert process.stderr is not None
        while "IN_PROGRESS" not in (line := process.stderr.readline()):
            assert line, process.wait()
        process.send_signal(stop)
        said = process.stderr.read()
    assert process.returncode == 6, said
    assert guest.row().state in {State.REQUESTED, State.RUNNING}
    assert guest.row().owner is None
    vendor.makes_in = 0
    resume = shlex.split(said.rpartition("To continue: ")[2])
    done = guest.command(*resume[1:])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my views.csv").read_bytes() == expected(QUERY)
    assert len(vendor.asks) == 1


def test_jobs_tells_who_holds_the_slots(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """`jobs list` names state and slot, `jobs show` the command that goes on; what is forgotten holds none."""
    guest.killed(QUERY, tmp_path / "views.csv", "client-running")
    (listed,) = json.loads(guest.command("jobs", "list", "--json").stdout)
    assert (listed["state"], listed["slot"], listed["process"]) == ("running", "yes", None)
    shown = json.loads(guest.command("jobs", "show", listed["token"], "--json").stdout)
    assert shlex.split(shown["again"])[:3] == ["reelport", "report", "run"]
    assert guest.command("jobs", "forget", "1").returncode == 0
    assert guest.command("jobs", "list").stdout == ""
    assert "no report '7'" in guest.command("jobs", "show", "7").stderr
    assert len(vendor.asks) == 1


def test_jobs_leaves_alone_what_a_process_works_on(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """A job that is being fetched can't be forgotten: its process is named, and so it is in the list."""
    vendor.makes_in = 60
    process = guest.begin(QUERY, tmp_path / "views.csv")
    while not (rows := guest.ledger.list_rows()) or rows[0].token is None:
        time.sleep(0.02)
    (listed,) = json.loads(guest.command("jobs", "list", "--json").stdout)
    refused = guest.command("jobs", "forget", "1")
    process.kill()
    process.communicate()
    assert listed["process"].endswith(f":{process.pid}")
    assert refused.returncode == 2
    assert f":{process.pid}: stop that first" in refused.stderr


# Secrets.


def test_nothing_that_is_written_or_said_holds_a_secret(
    vendor: Vendor, guest: Partner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither ledger nor sidecar, neither events, logs nor errors hold a secret, an access token or a signed link."""
    caplog.set_level("DEBUG")
    guest.run(QUERY, tmp_path / "views.csv")
    said = [repr(guest.told)]
    with Client(guest.url, bearer=vendor.bearer, ledger=guest.ledger) as client:
        client.reports.run(days(2), tmp_path / "held.csv", progress=guest.told.append)
    vendor.fails = 1
    with pytest.raises(ReportFailed) as failed:
        guest.run(days(3), tmp_path / "other.csv")
    vendor.loses_ask = "after"
    with pytest.raises(AskLost) as lost:
        guest.run(days(4), tmp_path / "other.csv")
    with closing(sqlite3.connect(guest.home / "ledger.db")) as db, db:
        said += ["\n".join(db.iterdump()), repr(guest.told), str(failed.value), repr(lost.value), caplog.text]
    said += [path.read_text() for path in tmp_path.glob("*.csv.json")]
    for words in (["jobs", "list", "--all"], ["jobs", "list", "--all", "--json"], ["jobs", "show", "4"]):
        done = guest.command(*words)
        said.append(done.stdout + done.stderr)
    for secret in (vendor.key, vendor.secret, vendor.bearer, "Bearer", "/files/", "signature"):
        assert not [text for text in said if secret in text], secret


def ended(processes: Sequence[forked.Popen]) -> None:
    """Wait until all have ended well."""
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said


def test_two_processes_with_one_query_ask_once(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Whoever comes second waits for the first one's token and downloads the same report."""
    vendor.makes_in = 0.5
    ended([guest.begin(QUERY, tmp_path / f"{name}.csv") for name in "ab"])
    assert len(vendor.asks) == 1
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes() == expected(QUERY)


@pytest.mark.long
def test_many_processes_never_have_more_than_two_in_flight(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Five queries in five processes: each asked for once, the vendor never has to refuse."""
    vendor.makes_in = 0.2
    ended([guest.begin(days(number), tmp_path / f"{number}.csv") for number in range(1, 6)])
    assert (len(vendor.asks), vendor.refused) == (5, 0)
    assert vendor.peak <= 2
    assert all((tmp_path / f"{number}.csv").read_bytes() == expected(days(number)) for number in range(1, 6))


def test_slots_of_dead_processes_come_free(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Both slots are held by reports of killed processes: who waits looks at them, and goes on when they are done."""
    for number in (1, 2):
        guest.killed(days(number), tmp_path / f"{number}.csv", "client-requested")
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    waits = [event.reason for event in guest.told if isinstance(event, Queued)]
    assert all(re.match(r"Waiting for a slot: unfinished reports hold all of them: job \d+ \(", each) for each in waits)
    assert waits
    assert (vendor.refused, vendor.peak) == (0, 2)
    for number in (1, 2):
        assert guest.run(days(number), tmp_path / f"{number}.csv") == expected(days(number))
    assert len(vendor.asks) == 3


@pytest.mark.parametrize("refusal", ["errors", "429"])
def test_a_refused_third_report_is_waited_for(vendor: Vendor, guest: Partner, tmp_path: Path, refusal: str) -> None:
    """With more slots than the vendor gives, its refusal is no error: it is asked again when another has ended."""
    vendor.refusal = refusal  # type: ignore[assignment]  # one of the two words
    with Client(guest.url, guest.key, guest.secret, ledger=guest.home / "ledger.db") as client:
        wide = client.with_options(slots=5)
        for number in (1, 2):
            wide.reports.submit(days(number))
    assert guest.run(QUERY, tmp_path / "views.csv", slots=5) == expected(QUERY)
    assert vendor.refused >= 1
    assert len(vendor.asks) == 3


def test_a_wrong_query_is_refused_although_others_are_in_flight(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """It is no back-pressure for long: when no other report is in flight any more the refusal is told."""
    vendor.refuses = lambda wire: "No." if wire["endDate"] == QUERY.end.isoformat() else None
    guest.killed(days(3), tmp_path / "other.csv", "client-requested")
    with Client(guest.url, guest.key, guest.secret, ledger=guest.home / "ledger.db") as client:
        hasty = client.with_options(patience=0.5)
        with pytest.raises(QueryRefused, match="No"):
            hasty.reports.run(QUERY, tmp_path / "views.csv")
    assert [row.state for row in guest.ledger.list_rows()] == [State.FINISHED]


def test_a_wait_for_a_slot_ends_at_the_deadline(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Nothing was asked for and nothing is left in the ledger; exit 6, since the same command goes on."""
    vendor.makes_in = 60
    for number in (1, 2):
        guest.killed(days(number), tmp_path / f"{number}.csv", "client-requested")
    with pytest.raises(SlotsFull, match="run the same again") as caught:
        guest.run(QUERY, tmp_path / "views.csv", deadline=0.5)
    assert caught.value.exit_status == 6
    assert (len(vendor.asks), len(guest.ledger.list_rows())) == (2, 2)
