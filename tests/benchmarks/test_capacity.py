"""The capacity model: its simulation shares cores and serves partners in turn, and agrees with the paper."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from benchmarks.capacity.__main__ import tell_needs
from benchmarks.capacity.figures import load_figures
from benchmarks.capacity.model import compute_needs
from benchmarks.capacity.platforms import PLATFORMS, Platform
from benchmarks.capacity.simulation import EXPRESS_SECONDS, Job, draw_jobs, simulate


def times(*jobs: Job, **given: int) -> list[float]:
    """How long each report took, in the order in which they were asked for."""
    ended = simulate(sorted(jobs, key=lambda job: job.asked), given.pop("workers", 1), **given)
    return [round(job.ended - job.asked, 6) for job in sorted(ended, key=lambda job: job.asked)]


def test_a_report_alone_takes_its_work_by_the_cores_that_it_can_use() -> None:
    """Two cores halve the time of a long one, and don't help a small one."""
    assert times(Job(0, 0, work=4, cores=2)) == [2]
    assert times(Job(0, 0, work=1, cores=1)) == [1]


def test_reports_of_one_worker_share_its_cores() -> None:
    """A small one takes a core while it lasts, and the long one gets both back."""
    assert times(Job(0, 0, work=4, cores=2), Job(1, 1, work=1, cores=1)) == [2.5, 1]


def test_a_partner_has_two_running_and_others_pass_its_queue() -> None:
    """Its third report waits, though a slot is free; another partner's begins at once."""
    mine = [Job(0, 0, work=2, cores=1), Job(0.001, 0, work=2, cores=1), Job(0.002, 0, work=2, cores=1)]
    assert times(*mine, Job(0.003, 1, work=0.1, cores=1), cores=3)[3] == pytest.approx(0.1)
    assert mine[2].begun == pytest.approx(2)


def test_the_partner_served_least_recently_comes_first() -> None:
    """Of two that wait, the one that was never served goes before the one that just was."""
    first, second = Job(0, 0, work=1, cores=1), Job(0.1, 0, work=1, cores=1)
    other = Job(0.2, 1, work=1, cores=1)
    simulate([first, second, other], 1, cores=1, slots=1)
    assert other.begun < second.begun


def test_a_short_report_is_made_beside_long_ones_that_hold_every_slot() -> None:
    """Once they have taken so long; a long one is put off, and begins anew when a slot is free."""
    long, second = Job(0, 0, work=10, cores=1), Job(0.1, 1, work=3, cores=1)
    short = Job(0.2, 2, work=0.5, cores=1)
    simulate([long, second, short], 1, cores=3, slots=1)
    assert (second.begun, second.is_long) == (10, True)
    assert (short.begun, short.ended) == pytest.approx((2 * EXPRESS_SECONDS, 2 * EXPRESS_SECONDS + 0.5))
    assert long.ended == 10


def test_a_slot_that_is_free_takes_over_what_the_express_slot_makes() -> None:
    """It is not put off then."""
    long, second = Job(0, 0, work=1.5 * EXPRESS_SECONDS, cores=1), Job(0.1, 1, work=3, cores=1)
    simulate([long, second], 1, cores=2, slots=1)
    assert (second.begun, second.ended) == pytest.approx((EXPRESS_SECONDS, EXPRESS_SECONDS + 3))
    assert not second.is_long


def test_workers_share_the_reports() -> None:
    """Whoever makes none hears of the next one first."""
    assert times(Job(0, 0, work=2, cores=2), Job(0, 1, work=2, cores=2), workers=2) == [1, 1]


@pytest.mark.parametrize(
    "platform", PLATFORMS[:5], ids=lambda platform: f"{platform.partners}-{platform.rows_a_day:.0f}"
)
def test_the_paper_agrees_with_the_simulation(platform: Platform) -> None:
    """The mean time, within a quarter."""
    needs = compute_needs(platform, load_figures())
    jobs = simulate(draw_jobs(platform, load_figures(), 2_000 / platform.busiest), needs.workers)
    assert mean(job.ended - job.asked for job in jobs) == pytest.approx(needs.time, rel=0.25)


def test_the_page_shows_what_the_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The table on paper, row by row; it names the first limit."""
    tell_needs(PLATFORMS, load_figures())
    page = (Path(__file__).parents[2] / "docs" / "operate" / "sizing.md").read_text("utf-8")
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 + len(PLATFORMS)
    assert [line for line in told if line not in page.splitlines()] == []
