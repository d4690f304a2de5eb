"""`reelport report`: how its words become a query, and what is refused before anything is sent."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out

from reelport import Client
from reelport.cli.arguments.options import QueryOptions
from reelport.client.files.part import resolve_target
from reelport.errors import UsageError

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
