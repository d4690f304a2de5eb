"""Two reports of a key in flight, over all processes; a refused third is waited for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import forked

from reelport import Client, QueryRefused, SlotsFull
from reelport.client.events import Queued
from reelport.client.ledger_rows import State
from reelport.testing import Vendor

from .machine import QUERY, Partner, days, expected


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
