"""The same command again: killed at any point, stopped, or run twice at once, it ends with the file and asks once."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest

from reelport import (
    AskLost,
    AsyncClient,
    Client,
    NotFinished,
    QueryRefused,
    ReportFailed,
    ReportQuery,
    SlotsFull,
    steps,
)
from reelport.client.events import Asked, Event, Queued, Reused
from reelport.client.ledger import Ledger, Row, State
from reelport.testing import Channel, Service, Vendor

from .test_kills import EXPECTED, rows

STEPS = (
    "client-intent",
    "client-asked",
    "client-requested",
    "client-running",
    "client-finished",
    "client-part",
    "client-downloaded",
    "client-verified",
    "client-delivered",
)
LOST = ("client-intent", "client-asked")
"""Steps after which nobody but the service can know whether the report was asked for."""

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
_RUN = """
import json, sys
from datetime import date
from reelport import Client, ReelportError, ReportQuery
from reelport.client.events import Queued
told = []
def tell(event):
    told.append(event)
    if isinstance(event, Queued) and len(told) < 20:
        print(event, file=sys.stderr)
url, key, secret, ledger, end, to = sys.argv[1:]
query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date.fromisoformat(end))
try:
    with Client(url, key, secret, ledger=ledger) as client:
        client.reports.run(query, to, deadline=60, progress=tell)
except ReelportError as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


@dataclass
class Partner:
    """Whoever runs a command on a machine: an address, a key, a ledger."""

    url: str
    key: str
    secret: str
    home: Path
    told: list[Event] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """What the machine remembers."""
        return Ledger(self.home / "ledger.db")

    def row(self) -> Row:
        """The only row of the ledger."""
        (row,) = self.ledger.rows()
        return row

    def begin(self, query: ReportQuery, to: Path, stop_at: str = "") -> subprocess.Popen[str]:
        """A process that runs a query, and dies at a step."""
        words = [sys.executable, "-c", _RUN, self.url, self.key, self.secret, str(self.home / "ledger.db")]
        return subprocess.Popen(
            [*words, str(query.end), str(to)],
            env=os.environ | {steps.VARIABLE: stop_at},
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed(self, query: ReportQuery, to: Path, step: str) -> None:
        """Have a process run a query and die at a step."""
        process = self.begin(query, to, step)
        _, said = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, said

    def run(self, query: ReportQuery, to: Path, *, deadline: float = 60, fresh: bool = False, slots: int = 2) -> bytes:
        """Run a query in this process; the bytes of its file."""
        self.told.clear()
        with Client(self.url, self.key, self.secret, ledger=self.home / "ledger.db") as client:
            fast = client.with_options(slots=slots)
            fast.reports.run(query, to, deadline=deadline, progress=self.told.append, fresh=fresh)
        return to.read_bytes()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command line, ended."""
        return subprocess.run(
            [sys.executable, "-m", "reelport", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """What a command of theirs finds in its environment."""
        ours = {"REELPORT_URL": self.url, "REELPORT_API_KEY": self.key, "REELPORT_API_SECRET": self.secret}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
        return kept | ours | {"REELPORT_HOME": str(self.home)}


def days(number: int) -> ReportQuery:
    """A query of its own for each number."""
    return QUERY.within(QUERY.start, QUERY.end + timedelta(days=number))


def expected(query: ReportQuery) -> bytes:
    """What the vendor says to a query in which every day had as many views as its number in the month."""
    span = [query.start + timedelta(days=number) for number in range(query.days)]
    return "".join(["day,views\n", *(f"{day},{day.day}\n" for day in span)]).encode()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor whose reports need two looks."""
    with Vendor(makes_after_looks=2, csv=lambda wire: expected(ReportQuery.from_wire(wire))) as vendor:
        yield vendor


@pytest.fixture
def guest(vendor: Vendor, tmp_path: Path) -> Partner:
    """A partner of the vendor."""
    return Partner(vendor.url, vendor.key, vendor.secret, tmp_path / "home")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A real service with three plays."""
    with Service() as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", rows())
        yield service


@pytest.fixture
def partner(service: Service, tmp_path: Path) -> Partner:
    """A partner of the service, with a key of its own."""
    key = service.key("demo")
    return Partner(service.url, key.id, key.secret, tmp_path / "home")


def reports_of(service: Service) -> int:
    """How many reports the service was ever asked for."""
    with sqlite3.connect(f"file:{service.data / 'state.db'}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT count(*) FROM reports").fetchone()[0])


# Kills.


@pytest.mark.parametrize("step", [step for step in STEPS if step not in LOST])
def test_killed_at_a_step_the_same_command_asks_no_second_time(
    vendor: Vendor, guest: Partner, tmp_path: Path, step: str
) -> None:
    """At a vendor: once the token is in the ledger, the file comes for one ask, wherever the process was killed."""
    guest.killed(QUERY, tmp_path / "views.csv", step)
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1
    assert (guest.row().state, guest.row().delivered) == (State.VERIFIED, True)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "views.csv", "views.csv.json"}


@pytest.mark.parametrize("step", ["client-downloaded", "client-verified", "client-delivered"])
def test_a_file_that_is_there_is_not_downloaded_again(
    vendor: Vendor, guest: Partner, tmp_path: Path, step: str
) -> None:
    """Killed when the file was under its name already, the next one looks at its bytes and has done."""
    guest.killed(QUERY, tmp_path / "views.csv", step)
    guest.run(QUERY, tmp_path / "views.csv")
    assert vendor.downloads == 1
    (tmp_path / "views.csv").write_bytes(b"day,views\n")
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert (vendor.downloads, len(vendor.asks)) == (2, 1)


@pytest.mark.parametrize("step", LOST)
def test_killed_before_the_token_was_written_down_the_ask_is_held_as_unknown(
    vendor: Vendor, guest: Partner, tmp_path: Path, step: str
) -> None:
    """A vendor may be making it: exit 6, no second ask, its slot kept, until two hours are over or it is forgotten."""
    guest.killed(QUERY, tmp_path / "views.csv", step)
    asked = len(vendor.asks)
    for _ in range(2):
        with pytest.raises(AskLost, match=r"until 20\d\d-.* UTC .*reelport jobs forget 1") as caught:
            guest.run(QUERY, tmp_path / "views.csv")
        assert caught.value.exit_status == 6
    assert (guest.row().state, len(vendor.asks)) == (State.UNKNOWN, asked)
    with pytest.raises(SlotsFull):
        guest.run(days(5), tmp_path / "other.csv", deadline=0.2, slots=1)
    guest.ledger.forget(guest.row())
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)


@pytest.mark.parametrize("step", [step for step in STEPS if step != "client-running"])
def test_killed_at_any_step_a_reelport_service_makes_one_report(
    service: Service, partner: Partner, tmp_path: Path, step: str
) -> None:
    """At a Reelport service no ask is lost: the same command brings the file of the one report.

    None is seen running there: it holds the look until the report is made.
    """
    before = reports_of(service)
    partner.killed(QUERY, tmp_path / "views.csv", step)
    assert partner.run(QUERY, tmp_path / "views.csv") == EXPECTED
    assert reports_of(service) == before + 1
    assert (partner.row().state, partner.row().delivered) == (State.VERIFIED, True)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_an_ask_whose_answer_was_lost_is_not_repeated(
    vendor: Vendor, guest: Partner, tmp_path: Path, lost: str
) -> None:
    """The vendor hung up on it: whether it took the report can't be known, so the ask is held, and its slot with it."""
    vendor.loses_ask = lost  # type: ignore[assignment]  # one of the two words
    for _ in range(2):
        with pytest.raises(AskLost, match="jobs forget"):
            guest.run(QUERY, tmp_path / "views.csv")
    assert len(vendor.asks) == (lost == "after")
    assert guest.row().state is State.UNKNOWN


def test_a_service_that_says_it_is_reelport_is_asked_again(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """It answers the same ask with the same report, so a lost answer costs nothing."""
    vendor.loses_ask, vendor.says_reelport, vendor.dedups = "after", True, True
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.tokens) == 1


# Reuse.


def test_a_delivered_report_is_used_again_while_it_lives(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """At a vendor the same command costs no second report, to another file too; it says so; fresh asks anew."""
    guest.run(QUERY, tmp_path / "views.csv")
    assert guest.run(QUERY, tmp_path / "again.csv") == expected(QUERY)
    assert next(type(event) for event in guest.told) is Reused
    assert len(vendor.asks) == 1
    guest.run(QUERY, tmp_path / "views.csv", fresh=True)
    assert len(vendor.asks) == 2


def test_a_report_that_expired_meanwhile_is_asked_for_anew(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Nothing else can serve; it is no error of the command."""
    vendor.expires_after, vendor.makes_after_looks = 2, 0
    guest.killed(QUERY, tmp_path / "views.csv", "client-requested")
    time.sleep(2.1)
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert [row.state for row in guest.ledger.rows()] == [State.EXPIRED, State.VERIFIED]


def test_a_report_that_failed_is_asked_for_anew_by_the_next_command(
    vendor: Vendor, guest: Partner, tmp_path: Path
) -> None:
    """The command that asked for it says that it failed; the same command again asks for another."""
    vendor.fails = 1
    with pytest.raises(ReportFailed):
        guest.run(QUERY, tmp_path / "views.csv")
    assert guest.row().state is State.FAILED
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)


def test_what_changed_at_a_reelport_service_is_seen(service: Service, partner: Partner, tmp_path: Path) -> None:
    """The same command asks again; nothing new means nothing to download, and one row of the ledger."""
    partner.run(QUERY, tmp_path / "views.csv")
    before = reports_of(service)
    stamp = (tmp_path / "views.csv").stat().st_mtime_ns
    assert partner.run(QUERY, tmp_path / "views.csv") == EXPECTED
    assert (reports_of(service), (tmp_path / "views.csv").stat().st_mtime_ns) == (before, stamp)
    assert partner.row().delivered


def test_submit_and_attach_are_remembered_too(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Submitting twice is one report; a run takes it up; a report attached by its token writes into the same row."""
    with Client(guest.url, guest.key, guest.secret, ledger=guest.home / "ledger.db") as client:
        token = client.reports.submit(QUERY).token
        assert client.reports.submit(QUERY).token == token
        client.reports.attach(token).wait(deadline=60).download(tmp_path / "views.csv")
    assert (len(vendor.asks), guest.row().state, guest.row().delivered) == (1, State.VERIFIED, True)


def test_without_a_ledger_nothing_is_remembered(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """`ledger=False` asks each time and leaves no file."""
    with Client(guest.url, guest.key, guest.secret, ledger=False) as client:
        for _ in range(2):
            client.reports.run(QUERY, tmp_path / "views.csv")
    assert len(vendor.asks) == 2
    assert not guest.home.exists()


# Slots.


def ended(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until all have ended well."""
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


def test_two_processes_with_one_query_ask_once(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Whoever comes second waits for the first one's token and downloads the same report."""
    vendor.makes_in = 0.5
    ended([guest.begin(QUERY, tmp_path / f"{name}.csv") for name in "ab"])
    assert len(vendor.asks) == 1
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes() == expected(QUERY)


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
    assert {reason.partition(":")[0] for reason in waits} == {"Waiting for a slot"}
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
    with pytest.raises(QueryRefused, match="No"):
        guest.run(QUERY, tmp_path / "views.csv")
    assert [row.state for row in guest.ledger.rows()] == [State.FINISHED]


def test_a_wait_for_a_slot_ends_at_the_deadline(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Nothing was asked for and nothing is left in the ledger; exit 6, since the same command goes on."""
    vendor.makes_in = 60
    for number in (1, 2):
        guest.killed(days(number), tmp_path / f"{number}.csv", "client-requested")
    with pytest.raises(SlotsFull, match="run the same again") as caught:
        guest.run(QUERY, tmp_path / "views.csv", deadline=0.5)
    assert caught.value.exit_status == 6
    assert (len(vendor.asks), len(guest.ledger.rows())) == (2, 2)


# Stopped.


def test_a_deadline_keeps_the_token(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """NotFinished carries it, the ledger has it, and the same call goes on."""
    vendor.makes_in = 1
    with pytest.raises(NotFinished) as caught:
        guest.run(QUERY, tmp_path / "views.csv", deadline=0.3)
    row = guest.row()
    assert (row.token, row.state, row.owner) == (caught.value.token, State.RUNNING, None)
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


def test_an_interrupt_in_a_process_that_lives_on_frees_the_row(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """As in a notebook: Ctrl-C in the wait, and the same call at once goes on with the same report."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with Client(guest.url, guest.key, guest.secret, ledger=guest.ledger, sleep=interrupted) as client:
        with pytest.raises(KeyboardInterrupt):
            client.reports.run(QUERY, tmp_path / "views.csv")
        assert guest.row().owner is None
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1


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
            while len(vendor.asks) < 2 or guest.ledger.rows()[-1].state is not State.RUNNING:  # noqa: ASYNC110 - a file tells
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(go())
    assert {(tmp_path / f"{name}.csv").read_bytes() for name in "abc"} == {expected(QUERY)}
    vendor.makes_in = 0
    assert guest.ledger.rows()[-1].owner is None
    assert guest.run(days(3), tmp_path / "other.csv") == expected(days(3))
    assert len(vendor.asks) == 2


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_what_resumes_it(
    vendor: Vendor, guest: Partner, tmp_path: Path, stop: signal.Signals
) -> None:
    """Exit 6; nobody holds the row any more; the very command that is named ends with the file and asks no more."""
    vendor.makes_in = 60
    words = ["report", "run", "--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-01-01"]
    words = [sys.executable, "-m", "reelport", *words, "--end", "2026-01-02", "-o", str(tmp_path / "my views.csv")]
    with subprocess.Popen(words, env=guest.environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "IN_PROGRESS" not in (line := process.stderr.readline()):
            assert line, process.wait()
        process.send_signal(stop)
        said = process.stderr.read()
    assert process.returncode == 6, said
    assert guest.row().state in {State.REQUESTED, State.RUNNING}
    assert guest.row().owner is None
    vendor.makes_in = 0
    resume = shlex.split(said.rpartition("Take it up again: ")[2])
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


# Secrets.


def test_nothing_that_is_written_or_said_holds_a_secret(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Neither ledger nor sidecar, neither events nor errors hold a secret, an access token or what signs a link."""
    guest.run(QUERY, tmp_path / "views.csv")
    vendor.fails, vendor.expires_after = 1, None
    with pytest.raises(ReportFailed) as failed:
        guest.run(days(3), tmp_path / "other.csv")
    vendor.loses_ask = "after"
    with pytest.raises(AskLost) as lost:
        guest.run(days(4), tmp_path / "other.csv")
    with sqlite3.connect(guest.home / "ledger.db") as db:
        dump = "\n".join(db.iterdump())
    said = [dump, (tmp_path / "views.csv.json").read_text(), repr(guest.told), str(failed.value), repr(lost.value)]
    said += [
        done.stdout + done.stderr
        for done in (guest.command("jobs", "list", "--all"), guest.command("jobs", "show", "1", "--json"))
    ]
    for secret in (vendor.key, vendor.secret, vendor.password, vendor.bearer, "Bearer", "/files/", "signature"):
        assert not [text for text in said if secret in text], secret
