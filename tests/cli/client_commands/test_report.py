"""`reelport report`: its words become a query or are refused; ranges killed, interrupted, two at once, and planned."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from datetime import date
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.client.range_asks import END, START, bad
from tests.patience import PATIENCE

from reelport import Client, ReportQuery
from reelport.cli.arguments.options import QueryOptions
from reelport.client.files.download_target import resolve_target
from reelport.errors import UsageError
from reelport.testing import Vendor

TODAY = date(2026, 11, 25)


def test_lists_are_given_by_commas_or_by_repeating() -> None:
    """Both may be mixed, in any case, with blanks."""
    ask = QueryOptions(
        metrics=["views, time_watched_seconds", "UPLOADS"], dimensions=["DAY,", "VIDEO_ID"], start="3d", end="1d"
    )
    query = ask.query(TODAY)
    assert query.metrics == ("VIEWS", "TIME_WATCHED_SECONDS", "UPLOADS")
    assert query.dimensions == ("DAY", "VIDEO_ID")


@pytest.mark.parametrize(
    ("word", "day"),
    [
        ("2026-01-31", date(2026, 1, 31)),
        ("today", TODAY),
        ("Yesterday", date(2026, 11, 24)),
        ("0d", TODAY),
        ("30d", date(2026, 10, 26)),
    ],
)
def test_days_are_dates_or_counted_back(word: str, day: date) -> None:
    """A day is YYYY-MM-DD, today, yesterday, or so many days ago."""
    assert QueryOptions(metrics=["VIEWS"], start=word, end=word).query(TODAY).start == day


def test_filters_are_pairs() -> None:
    """A filter's value may be empty and may hold an equals sign."""
    ask = QueryOptions(metrics=["VIEWS"], start="1d", end="1d", filters=["visitorDomainGroup=", "channelSlug=a=b"])
    assert dict(ask.query(TODAY).filters) == {"visitorDomainGroup": "", "channelSlug": "a=b"}


def test_everything_wrong_is_said_at_once() -> None:
    """Days, filters and repeated filters that are wrong come in one error."""
    wrong = QueryOptions(metrics=["VIEWS"], start="soon", end="99999d", filters=["x", "a=1", "a=2"])
    with pytest.raises(UsageError) as caught:
        wrong.query(TODAY)
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("word", ["20260101", "2026-W01-1", "2026-02-30", "-7d", "1,5d", ""])
def test_what_is_no_day_is_refused(word: str) -> None:
    """No other form of a date is guessed at."""
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        QueryOptions(metrics=["VIEWS"], start=word, end="1d").query(TODAY)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    thin_out(
        [
            ("run --metrics VIEWS --start soon --end 1d", 2, ["--start", "YYYY-MM-DD"]),
            ("run --start 7d --end 1d", 2, ["--metrics"]),
            ("run --metrics VIEWS --start 7d --end 1d -o no/such/folder", 2, ["no folder"]),
            ("run --metrics VIEWS --dimensions DAY --start 7d --end 1d --chart a.gif", 2, [".png"]),
            ("submit --metrics VIEWS --start 7d --end 1d --url nowhere", 2, ["REELPORT_URL"]),
            ("submit --metrics VIEWS --start 7d --end 1d --url 127.0.0.1:9", 2, ["did you mean http://127.0.0.1:9?"]),
            ("run --metrics VIEWS, LIKES --start 7d --end 1d", 2, ["'LIKES' is one word too many", "commas"]),
            (
                "run --metrics VIEWS --start 7d --end 1d --deadline soon",
                2,
                ["--deadline takes a number, and not 'soon'"],
            ),
            ("run --metrics VIEWS --start 7d --end 1d --deadline -1", 2, ["A deadline is", "above 0", "not '-1.0'"]),
            ("run --metrics VIEWS --start 7d --end 1d --zzz 1", 2, ["--zzz", "`reelport report run --help`"]),
            ("run --metrics VIEWS --start 7d --end 1d --output=", 2, ["file", "is empty"]),
            (
                "run --metrics VIEWS --start 7d --end 1d -o -",
                2,
                ["needs a value for --output", "without it the data goes to stdout"],
            ),
            ("download TOKEN --output=-", 2, ["'-' is no file"]),
            ("wait", 2, ["TOKEN"]),
        ],
        3,
    ),
)
def test_a_wrong_command_line_is_one_clean_error(words: str, status: int, says: list[str]) -> None:
    """Each ends with its status, in sentences, without a traceback, and sends nothing."""
    ours = {"REELPORT_URL": "http://127.0.0.1:9", "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": "s"}
    done = forked.run(["-m", "reelport", "report", *words.split()], env=os.environ | ours)
    assert done.returncode == status
    assert done.stdout == ""
    assert all(line.startswith("reelport: ") for line in done.stderr.splitlines())
    assert all(word in done.stderr for word in says)


@pytest.mark.parametrize("name", ["", "a\udcff.csv", "a\0.csv", "~nobody-at-all/a.csv"])
def test_what_is_no_name_for_a_file(name: str) -> None:
    """It is refused before anything is asked for; what a ledger could not hold, too."""
    with pytest.raises(UsageError, match="name"):
        resolve_target(name)


def test_what_can_be_no_regular_file(tmp_path: Path) -> None:
    """A name that says folder, one that is too long, a link to a pipe that has no path: each in a sentence."""
    read, write = os.pipe()
    try:
        for name in (f"{tmp_path}/new/", f"/dev/fd/{write}"):
            with pytest.raises(UsageError, match="no regular file"):
                resolve_target(name)
    finally:
        os.close(read)
        os.close(write)
    with pytest.raises(UsageError, match="too long"):
        resolve_target(tmp_path / ("x" * 300))


@pytest.mark.parametrize("token", ["", " "])
def test_an_empty_token_is_refused(token: str) -> None:
    """A variable that is not set makes no question of it."""
    with (
        Client("http://127.0.0.1:9", "key", "secret", ledger=False) as client,
        pytest.raises(UsageError, match="empty"),
    ):
        client.reports.attach(token)


def test_without_a_key_the_command_says_which_variables_it_wants() -> None:
    """No key is status 4, with both names."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    done = forked.run(["-m", "reelport", "report", "wait", "R"], env=bare)
    assert done.returncode == 4
    assert "REELPORT_API_KEY and REELPORT_API_SECRET" in done.stderr


DAYS = ("--start", "2023-01-01", "--end", "2025-12-31")


def command(vendor: Vendor, to: Path, **environment: str) -> forked.Popen:
    """`reelport report run` of 120 days in windows of 30, with a home beside the target's folder."""
    ours = {
        "REELPORT_URL": vendor.url,
        "REELPORT_API_KEY": vendor.key,
        "REELPORT_API_SECRET": vendor.secret,
        "REELPORT_HOME": str(to.parent.with_name("home")),
        "REELPORT_WINDOW_DAYS": "30",
    }
    words = ["--metrics", "FILL_RATE", "--dimensions", "VISITOR_COUNTRY", "--start", str(START), "--end", str(END)]
    return forked.Popen(
        ["-m", "reelport", "report", "run", *words, "-o", to],
        env={**os.environ, **ours, **environment},
        stdout=forked.PIPE,
        stderr=forked.PIPE,
    )


@pytest.mark.parametrize(
    "step", thin_out(["client-requested", "client-downloaded", "client-merged", "client-range"], 4)
)
def test_a_range_that_was_killed_goes_on(vendor: Vendor, to: Path, step: str) -> None:
    """Killed in a window, between two, in the merge or after it: the same command ends with the file."""
    once = to.parent.with_name("once")
    once.touch()
    # One at a time: of a window that is being asked for, a kill loses the answer.
    killed = command(vendor, to, REELPORT_STOP_AT=f"{step}:{once}", REELPORT_SLOTS="1")
    _, said = killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL, said
    _, said = command(vendor, to).communicate(timeout=PATIENCE)
    assert len(vendor.asks) == 4, said
    assert to.read_text(encoding="utf-8").startswith("visitor_country,fill_rate\n")
    assert sorted(path.name for path in to.parent.iterdir()) == ["views.csv", "views.csv.json"]


def test_ctrl_c_leaves_windows_that_the_same_command_goes_on_with(vendor: Vendor, to: Path) -> None:
    """Interrupted while two windows are waited for, the command ends at once with status 6 and says how to go on."""
    vendor.makes_in = 600.0
    process = command(vendor, to)
    assert process.stderr is not None
    while len(vendor.asks) < 2 or vendor.looks < 4:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 6, said
    assert "To continue: reelport report run --metrics FILL_RATE" in said
    assert len(vendor.asks) == 2
    vendor.makes_in = 0.0
    done = command(vendor, to)
    assert done.communicate(timeout=PATIENCE)[1].count("continuing with report") == 2
    assert len(vendor.asks) == 4
    assert to.exists()


def test_two_processes_at_once_end_with_the_same_file(vendor: Vendor, to: Path) -> None:
    """Started together for one target they share slots and reports; nothing of theirs is left beside the file."""
    vendor.makes_in = 0.3
    both = [command(vendor, to), command(vendor, to)]
    for process in both:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    assert len(vendor.asks) == 4
    assert vendor.refused == 0
    assert sorted(path.name for path in to.parent.iterdir()) == ["views.csv", "views.csv.json"]


def test_a_command_whose_range_is_partly_done_ends_with_status_3(vendor: Vendor, to: Path) -> None:
    """It names the window that is lacking and the command that goes on."""
    vendor.fails = bad(date(2025, 2, 10))
    process = command(vendor, to)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, said
    assert "2025-02-10..2025-02-10: " in said
    assert "To continue: reelport report run --metrics FILL_RATE" in said
    assert not to.exists()


@pytest.mark.parametrize(("more", "status"), [((), 0), (("--json",), 0), (("--metrics", "LIVE_VIEWERS"), 5)])
def test_the_command_plan_prints_windows_and_calls_nothing(vendor: Vendor, more: tuple[str, ...], status: int) -> None:
    """A line a window on stdout, the rest on stderr; status 5 and the reason alone where windows can't be merged."""
    words = ["--metrics", "VIEWS", "--start", "2023-01-01", "--end", "2025-12-31", *more]
    done = forked.run(
        ["-m", "reelport", "plan", *words],
        env={**os.environ, "REELPORT_URL": vendor.url, "REELPORT_API_KEY": "key", "REELPORT_API_SECRET": "secret-7c41"},
    )
    assert done.returncode == status, done.stderr
    if more[:1] == ("--json",):
        found = json.loads(done.stdout)
        assert [window["days"] for window in found["windows"]] == [180] * 6 + [16]
        assert (found["merge"], found["longest_seconds"], found["refusal"]) == ("summed", None, None)
    elif status:
        assert (done.stdout, "LIVE_VIEWERS is a distinct count" in done.stderr) == ("", True)
        assert "reports to be made" not in done.stderr
    else:
        assert done.stdout.splitlines()[1].split("\t")[:3] == ["1", "2023-01-01", "2023-06-29"]
        assert "1,096 days in 7 windows, 2 at a time; 0 here already." in done.stderr
    assert vendor.grants == []


def test_a_plan_says_how_long_only_where_something_tells_it(vendor: Vendor, tmp_path: Path) -> None:
    """At Dailymotion what its documentation promises; elsewhere what earlier reports of the key took, else nothing."""

    def made(url: str) -> str:
        home = {"REELPORT_HOME": str(tmp_path), "REELPORT_WINDOW_DAYS": "180"}
        key = {"REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
        words = ["-m", "reelport", "plan", "--metrics", "VIEWS", "--dimensions", "DAY", *DAYS]
        done = forked.run(words, env={**os.environ, **home, **key, "REELPORT_URL": url})
        assert done.returncode == 0, done.stderr
        return str(next(line for line in done.stderr.splitlines() if "to be made" in line))

    assert made(vendor.url) == "7 reports to be made."
    assert made("https://partner.api.dailymotion.com") == "7 reports to be made: 8 h 0 min at most, often far less."
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        client.reports.run(ReportQuery.of(["UPLOADS"], [], date(2025, 1, 1), date(2025, 1, 2)), tmp_path / "a.csv")
    told = r"7 reports to be made: (less than a second|some \d+\.\d s), as far as your earlier reports there tell\."
    assert re.fullmatch(told, made(vendor.url))
