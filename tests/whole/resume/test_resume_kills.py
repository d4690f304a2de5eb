"""Killed at any point the same command again ends with the file, and asks once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport import AskLost, Client, ReportExpired, ReportFailed, SlotsFull
from reelport.client.events import Reused
from reelport.client.ledger_rows import State
from reelport.testing import Service, Vendor

from .machine import QUERY, Partner, days, expected

STEPS = (
    "client-intent",
    "client-asked",
    "client-requested",
    "client-running",
    "client-finished",
    "client-part",
    "client-downloaded",
)
LOST = ("client-intent", "client-asked")
"""Steps after which nobody but the service can know whether the report was asked for."""


def reports_of(service: Service) -> int:
    """How many reports the service was ever asked for."""
    with closing(sqlite3.connect(f"file:{service.data / 'state.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM reports").fetchone()[0])


# Kills.


@pytest.mark.parametrize("step", thin_out([step for step in STEPS if step not in LOST], 3))
def test_killed_at_a_step_the_same_command_asks_no_second_time(
    vendor: Vendor, guest: Partner, tmp_path: Path, step: str
) -> None:
    """At a vendor: once the token is in the ledger, the file comes for one ask, wherever the process was killed."""
    guest.killed(QUERY, tmp_path / "views.csv", step)
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert len(vendor.asks) == 1
    assert (guest.row().state, guest.row().delivered) == (State.VERIFIED, True)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "views.csv", "views.csv.json"}


def test_a_file_that_is_there_is_not_downloaded_again(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Killed when the file was recorded already, the next one looks at its bytes and has done."""
    guest.killed(QUERY, tmp_path / "views.csv", "client-downloaded")
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


@pytest.mark.parametrize("step", thin_out([step for step in STEPS if step != "client-running"], 3))
def test_killed_at_any_step_a_reelport_service_makes_one_report(
    service: Service, partner: Partner, tmp_path: Path, step: str
) -> None:
    """At a Reelport service no ask is lost: the same command brings the file of the one report.

    None is seen running there: it holds the look until the report is made.
    """
    before = reports_of(service)
    partner.killed(QUERY, tmp_path / "views.csv", step)
    assert partner.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
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
    vendor.makes_after_looks = 0
    guest.killed(QUERY, tmp_path / "views.csv", "client-requested")
    vendor.expires_after = 0
    with Client(guest.url, guest.key, guest.secret, ledger=False) as client, pytest.raises(ReportExpired):
        client.reports.attach(vendor.tokens[0]).wait()
    vendor.expires_after = None
    assert guest.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert [row.state for row in guest.ledger.list_rows()] == [State.EXPIRED, State.VERIFIED]


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
    assert partner.run(QUERY, tmp_path / "views.csv") == expected(QUERY)
    assert (reports_of(service), (tmp_path / "views.csv").stat().st_mtime_ns) == (before, stamp)
    assert partner.row().delivered


def test_submit_and_attach_are_remembered_too(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """Submitting twice is one report; a run takes it up; a report attached by its token writes into the same row."""
    with Client(guest.url, guest.key, guest.secret, ledger=guest.home / "ledger.db") as client:
        token = client.reports.submit(QUERY).token
        assert client.reports.submit(QUERY).token == token
        client.reports.attach(token).wait(deadline=300).download(tmp_path / "views.csv")
    assert (len(vendor.asks), guest.row().state, guest.row().delivered) == (1, State.VERIFIED, True)


def test_without_a_ledger_nothing_is_remembered(vendor: Vendor, guest: Partner, tmp_path: Path) -> None:
    """`ledger=False` asks each time and leaves no file."""
    with Client(guest.url, guest.key, guest.secret, ledger=False) as client:
        for _ in range(2):
            client.reports.run(QUERY, tmp_path / "views.csv")
    assert len(vendor.asks) == 2
    assert not guest.home.exists()
