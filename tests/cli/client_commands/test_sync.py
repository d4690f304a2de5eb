"""`reelport sync` as a person and as a program see it, against a real service whose days are restated."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pytest
from tests import forked
from tests.cases import thin_out
from tests.operate_pages import FENCE
from tests.patience import PATIENCE, until
from tests.sync.vendors import TODAY, YESTERDAY, Numbers, asked, follow_midnight
from tests.warm_service import Service

from reelport.cli.client_commands.sync import run_on_failure
from reelport.errors import NotFinished, ServiceError
from reelport.facts.loading.load import load_arrow
from reelport.killpoints import VARIABLE
from reelport.testing import Channel, Key, Vendor
from reelport.testing.vendor import Wire

START = TODAY - timedelta(days=12)
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "run-on-a-schedule.md"
EARNED = "SELECT day, video_id, estimated_earnings_eur FROM earned ORDER BY ALL"

Sync = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _days_of_now(request: pytest.FixtureRequest) -> None:
    """A run of the tests may go on over midnight."""
    follow_midnight(request.module)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        service.organization("acme", [Channel("c1", "acme", "Acme")])
        yield service


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    return service.key("acme")


def earnings(service: Service, rows: dict[date, dict[str, int]], first: date, last: date) -> None:
    """Restate days: each video earned so many euros on a day."""
    found = [(day, video, euros) for day, videos in rows.items() for video, euros in videos.items()]
    columns: dict[str, Any] = {
        "day": [day for day, _, _ in found],
        "owner_channel_id": ["c1"] * len(found),
        "video_id": [video for _, video, _ in found],
        "eur": pa.array([euros for _, _, euros in found], pa.decimal128(18, 6)),
        "usd": pa.array([euros for _, _, euros in found], pa.decimal128(18, 6)),
    }
    name = f"test-{datetime.now(UTC).isoformat()}"
    load_arrow(service.settings.facts_root, "earnings", pa.table(columns), name, replace=(first, last))


def syncing(folder: Path, url: str, key: str, secret: str) -> Sync:
    """What runs `reelport sync …` in a folder."""

    def go(*words: str, step: str = "") -> subprocess.CompletedProcess[str]:
        ours = {"REELPORT_URL": url, "REELPORT_API_KEY": key, "REELPORT_API_SECRET": secret, VARIABLE: step}
        ours["REELPORT_SLOTS"] = "1"  # a kill while another window is being asked for would leave that one unknown
        environment = os.environ | ours | {"REELPORT_HOME": str(folder / "home")}
        return forked.run(["-m", "reelport", "sync", *words], cwd=folder, env=environment)

    return go


def sheet(folder: Path, destination: str = "copy.duckdb", lookback: int = 3) -> None:
    folder.joinpath("reelport.toml").write_text(
        f'[reports.earned]\nmetrics = ["ESTIMATED_EARNINGS_EUR"]\ndimensions = ["DAY", "VIDEO_ID"]\n'
        f'start = {START}\nlookback = {lookback}\nwindow = 7\ndestination = "{destination}"\n',
        "utf-8",
    )


def rows(folder: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(folder / "copy.duckdb"), read_only=True) as con:
        return con.execute(EARNED).fetchall()


@pytest.mark.long
def test_a_copy_follows_a_service_that_restates_its_days(service: Service, key: Key, tmp_path: Path) -> None:
    """Run, restate, see how far numbers moved, run again: the copy holds what the service says, day by day."""
    sheet(tmp_path)
    sync = syncing(tmp_path, service.url, key.id, key.secret)
    truth = {START + timedelta(days=number): {"v1": 10 + number, "v2": 1} for number in range(12)}
    earnings(service, truth, START, YESTERDAY)
    first = sync("run")
    assert first.returncode == 0, first.stderr
    assert "2 of 2" in first.stderr
    assert [(day, video, int(euros)) for day, video, euros in rows(tmp_path)] == flat(truth)  # type: ignore[call-overload]  # a decimal
    truth[TODAY - timedelta(days=3)] = {"v1": 99}
    del truth[TODAY - timedelta(days=2)]
    earnings(service, truth, START, YESTERDAY)
    (compared,) = json.loads(sync("verify", "--json").stdout)
    assert [moved["day"] for moved in compared["moved"]] == [str(TODAY - timedelta(days=back)) for back in (3, 2)]
    assert compared["moved"][0]["sums"] == {"estimated_earnings_eur": ["20.000000", "99.000000"]}
    assert compared["moved"][0]["rows"] == [2, 1]
    second = sync("run", "--json")
    events = [json.loads(line) for line in second.stdout.splitlines()]
    said = list(dict.fromkeys(event["event"] for event in events))
    assert said == ["planned", "began", "asked", "looked", "received", "loaded", "result"]
    assert all(event["window"] and event["spec"] == "earned" for event in events[1:-1])
    assert (events[-1]["ok"], events[-1]["windows"]) == (True, 1)
    assert [(day, video, int(euros)) for day, video, euros in rows(tmp_path)] == flat(truth)  # type: ignore[call-overload]  # a decimal
    (status,) = json.loads(sync("status", "--json").stdout)
    assert status["verified"] == [[str(START), str(TODAY - timedelta(days=4))]]
    assert status["moving"] == [[str(TODAY - timedelta(days=3)), str(YESTERDAY)]]
    assert status["missing"] == []
    assert sync("status").stdout.splitlines()[1:] == [
        f"  verified: {START} to {TODAY - timedelta(days=4)}",
        f"  moving, read again: {TODAY - timedelta(days=3)} to {YESTERDAY}",
    ]


@pytest.mark.parametrize("command", thin_out(["run", "verify"], 2))
def test_what_the_error_of_a_lost_ask_advises_is_what_the_command_has(tmp_path: Path, command: str) -> None:
    """`--again` asks again here too, and reads no day twice; every day is read anew by `--every-day`."""
    numbers = Numbers()
    with Vendor(csv=numbers.csv) as vendor:
        asks = f'metrics = ["VIEWS"]\ndimensions = ["DAY"]\nstart = {START}\ndestination = "copy.duckdb"\n'
        tmp_path.joinpath("reelport.toml").write_text(f"[reports.views]\n{asks}")
        sync = syncing(tmp_path, vendor.url, vendor.key, vendor.secret)
        if command == "verify":
            assert sync("run").returncode == 0
        vendor.loses_ask, vendor.lost_answer = "before", "500"
        lost = sync(command)
        assert (lost.returncode, "--again (" in lost.stderr) == (6, True), lost.stderr
        before = len(vendor.asks)
        assert sync(command).returncode == 6
        assert sync(command, "--again").returncode == 0
        assert len(vendor.asks) == before + 1
        assert sync("run", "--every-day").returncode == 0
        assert vendor.asks[-1]["startDate"] == START.isoformat()


@pytest.mark.long
def test_verify_advises_the_run_that_reads_again_what_moved(service: Service, key: Key, tmp_path: Path) -> None:
    """The command names the days, and the file too; it reads these days and no others, and then nothing differs."""
    sheet(tmp_path, lookback=1)
    (tmp_path / "reelport.toml").rename(tmp_path / "own file.toml")
    sync = syncing(tmp_path, service.url, key.id, key.secret)
    truth = {START + timedelta(days=number): {"v1": 10 + number} for number in range(12)}
    earnings(service, truth, START, YESTERDAY)
    file = ("--file", "own file.toml")
    assert sync("run", *file).returncode == 0
    first, last = TODAY - timedelta(days=7), TODAY - timedelta(days=5)
    truth |= {first: {"v1": 99}, last: {"v1": 98}}
    earnings(service, truth, START, YESTERDAY)
    advised = f"reelport sync run earned --from {first} --to {last} --file 'own file.toml'"
    verdict = " ".join(sync("verify", *file).stdout.split())
    told = "Taken to stand still before: 2. A lookback of 1 day is too short, 7 would have caught all."
    assert f"{told} `{advised}` reads these days again." in verdict
    (compared,) = json.loads(sync("verify", *file, "--json").stdout)
    assert compared["read_again_by"] == advised
    again = sync(*shlex.split(advised)[2:], "--json")
    loaded = [event for event in map(json.loads, again.stdout.splitlines()) if event["event"] == "loaded"]
    assert [event["rows"] for event in loaded] == [3], again.stderr
    (compared,) = json.loads(sync("verify", *file, "--json").stdout)
    assert (compared["moved"], compared["read_again_by"]) == ([], None)


def flat(truth: dict[date, dict[str, int]]) -> list[tuple[object, ...]]:
    return [(day, video, euros) for day, videos in sorted(truth.items()) for video, euros in videos.items()]


@pytest.mark.parametrize("host", thin_out(["vendor", "service"], 2))
def test_the_first_file_is_a_good_one(tmp_path: Path, host: str, request: pytest.FixtureRequest) -> None:
    """`sync init` writes what `sync run` takes, beside profiles that are there, and never over reports."""
    file = tmp_path / "reelport.toml"
    file.write_text('[profiles.here]\nurl = "https://reports.example.com"\n', "utf-8")
    with Vendor(csv=Numbers().csv) as vendor:
        access = vendor.url, vendor.key, vendor.secret
        if host == "service":
            service, key = request.getfixturevalue("service"), request.getfixturevalue("key")
            access = service.url, key.id, key.secret
        sync = syncing(tmp_path, *access)
        assert sync("init").stdout == "reelport.toml\n"
        assert file.read_text("utf-8").startswith("[profiles.here]")
        assert sync("run").returncode == 0
        again = sync("init")
    assert (again.returncode, "nothing was changed" in again.stderr) == (2, True)


def test_what_ends_a_run_is_said_once(service: Service, key: Key, tmp_path: Path) -> None:
    """A wrong secret: which window was being read, then the reason."""
    (tmp_path / "reelport.toml").write_text(
        f"[reports.earned]\nmetrics = ['ESTIMATED_EARNINGS_EUR']\ndimensions = ['DAY']\nstart = {YESTERDAY}\n"
        "destination = 'copies.duckdb'\n"
    )
    done = syncing(tmp_path, service.url, key.id, "wrong-secret-71c4")("run")
    assert (done.returncode, done.stderr.count("gave no token for this key")) == (4, 1), done.stderr
    assert f"earned {YESTERDAY}..{YESTERDAY}: not synced.\n" in done.stderr


def test_what_is_wrong_ends_with_its_status(tmp_path: Path) -> None:
    """A file that is none or wrong, a name that isn't there, days that are none: 2, and what to do."""
    sync = syncing(tmp_path, "http://127.0.0.1:9", "key", "secret")
    none = sync("run")
    assert (none.returncode, "sync init" in none.stderr) == (2, True)
    sheet(tmp_path, "copy.csv")
    assert sync("status").returncode == 2
    sheet(tmp_path)
    assert "did you mean earned?" in sync("run", "earn").stderr
    days = sync("verify", "--start", "soon", "--end", "x")
    assert (days.returncode, len(days.stderr.splitlines())) == (2, 2)
    range_ = sync("run", "--from", "2026-02-02", "--to", "2026-02-01")
    assert (range_.returncode, "--to: 2026-02-01 lies before" in range_.stderr) == (2, True)
    nothing = sync("verify")
    assert (nothing.returncode, "nothing to compare with" in nothing.stderr) == (2, True)


def test_a_stopped_run_ends_in_good_order_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A load that is going on when Ctrl-C comes is seen through: the process neither crashes nor leaves half of it."""
    sheet(tmp_path, lookback=0)
    many = b"".join(b"%(day)s,v" + str(number).encode() + b",1.5\n" for number in range(60_000))
    begun: dict[str, Wire] = {}
    is_stopped = threading.Event()

    def csv(wire: Wire) -> bytes:
        # One file comes only after the stop: however quickly the other is loaded, the run isn't over before.
        if wire != begun.setdefault("first", wire):
            assert is_stopped.wait(PATIENCE)
        # On the last day: then no day is left to be read again, however much was loaded before the stop.
        return b"day,video_id,estimated_earnings_eur\n" + many.replace(b"%(day)s", wire["endDate"].encode())

    with Vendor(csv=csv) as vendor:
        ours = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
        words = ["-m", "reelport", "sync", "run"]
        environment = os.environ | ours | {"REELPORT_HOME": str(tmp_path / "home")}
        with forked.Popen(words, cwd=tmp_path, env=environment, stderr=forked.PIPE) as process:
            assert process.stderr is not None
            while "FINISHED" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.05)  # into the load, where the machine is quick; what is promised holds at any moment
            process.send_signal(signal.SIGINT)
            is_stopped.set()
            said = process.stderr.read()
        assert process.returncode == 6, said
        assert said.endswith("To continue: reelport sync run\n")
        assert syncing(tmp_path, vendor.url, vendor.key, vendor.secret)("run").returncode == 0
        assert len(vendor.asks) == 2
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM earned").fetchall() == [(120_000,)]


@pytest.mark.parametrize("destination", thin_out(["copy.duckdb", "folder"], 2))
def test_a_killed_run_goes_on_and_asks_for_nothing_twice(tmp_path: Path, destination: str) -> None:
    """Killed with a report on disk, or with it in the copy but not yet counted as delivered."""
    sheet(tmp_path, destination, lookback=0)
    numbers = Numbers()
    numbers.columns, numbers.more = "day,video_id,estimated_earnings_eur", ",1.000001"
    with Vendor(csv=numbers.csv) as vendor:
        sync = syncing(tmp_path, vendor.url, vendor.key, vendor.secret)
        for step in ("sync-fetched", "sync-committed"):
            assert sync("run", step=step).returncode == -signal.SIGKILL
        done = sync("run")
        assert done.returncode == 0, done.stderr
        assert sorted(asked(vendor)) == ["12-6", "5-1"]
        (status,) = json.loads(sync("status", "--json").stdout)
        assert (status["missing"], status["rows"]) == ([], 12)
        assert sorted(path.name for path in tmp_path.glob(".*.sync/*")) == ["earned.success", "lock"]


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Sync]:
    """A sync in a folder whose vendor fails every report."""
    sheet(tmp_path)
    with Vendor(csv=Numbers().csv) as vendor:
        vendor.fails = lambda _: True
        yield syncing(tmp_path, vendor.url, vendor.key, vendor.secret)


def test_a_failure_is_told_to_a_command_of_the_users(failing: Sync, tmp_path: Path) -> None:
    """As a line of JSON on its stdin; no word of it passes the shell, and stdout holds the run's events alone."""
    done = failing("run", "earned", "--json", "--on-failure", "tee told.json && echo heard")
    (told,) = [json.loads(line) for line in (tmp_path / "told.json").read_text("utf-8").splitlines()]
    last = json.loads(done.stdout.splitlines()[-1])
    assert (told["status"], told["code"], told["error"]) == (done.returncode, last["code"], last["error"])
    assert (told["file"], told["reports"]) == (str(tmp_path / "reelport.toml"), ["earned"])
    assert "heard" in done.stderr
    assert "heard" not in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("command", ["exit 7", "no-such-command", "exec 0<&-"])
def test_a_command_that_hears_of_a_failure_changes_nothing_about_it(failing: Sync, command: str) -> None:
    """Neither status nor error, whether it fails itself or reads nothing; that it failed is said."""
    plain, done = failing("run"), failing("run", "--on-failure", command)
    assert done.returncode == plain.returncode != 0
    assert ("warning: the command of --on-failure" in done.stderr) is (command != "exec 0<&-")
    assert "failed on the service's side" in done.stderr


@pytest.mark.long
def test_a_run_that_succeeds_tells_nobody_and_is_remembered(tmp_path: Path) -> None:
    """`sync status` says when that was; a run that failed and one of named days don't count."""
    sheet(tmp_path, lookback=0)

    def csv(wire: Wire) -> bytes:
        return f"day,video_id,estimated_earnings_eur\n{wire['startDate']},v1,1\n".encode()

    with Vendor(csv=csv) as vendor:
        sync = syncing(tmp_path, vendor.url, vendor.key, vendor.secret)

        def last_success() -> datetime | None:
            (status,) = json.loads(sync("status", "--json").stdout)
            return status["last_success"] and datetime.fromisoformat(status["last_success"])

        def watch() -> int:
            """The status of the page's command that alerts."""
            (command,) = [text for _, place, text in FENCE.findall(PAGE.read_text("utf-8")) if place == "status"]
            return subprocess.run(
                ["/bin/sh", "-c", command.replace("reelport ", f"{sys.executable} -m reelport ")],
                cwd=tmp_path,
                check=False,
            ).returncode

        assert last_success() is None
        assert watch() == 1
        named = sync("run", "--from", str(YESTERDAY), "--on-failure", "touch told")
        assert (named.returncode, last_success()) == (0, None), named.stderr
        before = datetime.now(UTC).replace(microsecond=0)
        assert sync("run", "--on-failure", "touch told").returncode == 0
        first = last_success()
        assert first is not None
        assert first >= before
        assert watch() == 0
        assert f"last brought up to date on {first:%Y-%m-%d %H:%M} UTC" in sync("status").stdout
        vendor.fails = lambda _: True
        assert sync("run", "--every-day").returncode != 0
        assert last_success() == first
    assert not (tmp_path / "told").exists()


def test_a_command_that_never_ends_is_ended_with_what_it_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure itself goes on as if nobody had heard of it."""
    command = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(ServiceError, match="no answer"), run_on_failure(command, {}, patience=5):
        raise ServiceError("no answer")
    assert "took longer than 5 seconds and was ended" in capsys.readouterr().err
    assert until(lambda: has_ended(int((tmp_path / "child").read_text())))


def has_ended(process: int) -> bool:
    """Whether a process is gone, or waits for nobody but its parent."""
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def stop() -> None:
    """End as a command does at a Ctrl-C."""
    try:
        raise KeyboardInterrupt  # noqa: TRY301 - the stop itself
    except KeyboardInterrupt:
        raise NotFinished("Interrupted; nothing is lost.", "")  # noqa: B904 - so it is raised


def test_a_stop_is_no_failure(tmp_path: Path) -> None:
    """Whoever pressed Ctrl-C knows."""
    with pytest.raises(NotFinished), run_on_failure(f"touch {tmp_path}/told", {}):
        stop()
    assert not (tmp_path / "told").exists()
