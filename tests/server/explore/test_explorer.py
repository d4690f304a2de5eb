"""Views are computed a few at a time, each within its budget, and interrupted as soon as nobody waits for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from tests.patience import PATIENCE
from tests.server.explore.endless import ENDLESS, QUICK, TENANT, endless_data

from reelport.catalog import Dimension
from reelport.engine.tenant import Tenant
from reelport.errors import StorageError, UsageError
from reelport.facts.log.snapshot import pin
from reelport.server.explore.explorer import Explorer
from reelport.server.explore.numbers import Figure, Leaderboard, Numbers, OverBudget
from reelport.server.explore.view_days import Comparison
from reelport.server.settings import Settings, read_settings

Result = TypeVar("Result")
data = endless_data


@contextmanager
def exploring(data: Path, **given: object) -> Iterator[tuple[Explorer, Settings]]:
    settings = read_settings(data=data, **{"explore_seconds": 1000, **given})
    explorer = Explorer(settings)
    try:
        yield explorer, settings
    finally:
        explorer.close()


def run(call: Callable[[], Awaitable[Result]]) -> Result:
    """Run on an event loop of its own, and not forever."""

    async def main() -> Result:
        with anyio.fail_after(PATIENCE):
            return await call()

    return anyio.run(main)


async def condition(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what holds is no event
        await anyio.sleep(0.01)


def is_idle(explorer: Explorer) -> bool:
    return explorer.running_views == explorer.running_statements == 0


def test_a_view_has_the_tenants_numbers(data: Path) -> None:
    """Totals, lines and leaderboards of its own rows: not those of the other channel."""
    with exploring(data) as (explorer, _):
        numbers = run(lambda: explorer.compute(QUICK, TENANT, 1))
        nobody = run(lambda: explorer.compute(QUICK, Tenant(frozenset()), 1))
    board = numbers.leaderboards[Dimension.VISITOR_COUNTRY]
    assert numbers.totals == (Figure(200_000),)
    assert isinstance(board, Leaderboard)
    assert [(entry.cell, entry.figures) for entry in board.entries] == [("FR", (Figure(200_000),))]
    assert nobody.totals == (Figure(None),)
    assert numbers.over_budget is None


def test_a_view_over_the_read_budget_is_refused_before_it_reads(data: Path) -> None:
    """Every part says how many rows it would read, and how many a page may."""
    with exploring(data, explore_rows=250_000) as (explorer, _):
        numbers = run(lambda: explorer.compute(QUICK, TENANT, 1))
    refused = OverBudget("It would read up to 277,120 rows; a page reads 250,000 at most.")
    assert numbers == Numbers(refused, refused, {Dimension.VISITOR_COUNTRY: refused})


def test_the_read_budget_is_spent_on_totals_and_lines_first(data: Path) -> None:
    """What is left then isn't enough for the leaderboard, and it says so."""
    with exploring(data, explore_rows=600_000) as (explorer, _):
        numbers = run(lambda: explorer.compute(QUICK, TENANT, 1))
        assert numbers.totals == (Figure(200_000),)
        assert numbers.over_budget == OverBudget("It would read up to 677,120 rows; a page reads 600,000 at most.")
        assert numbers.over_budget == numbers.leaderboards[Dimension.VISITOR_COUNTRY]
        # Totals and lines are known by now, and cost nothing.
        assert run(lambda: explorer.compute(QUICK, TENANT, 1)).over_budget is None


def test_rows_that_the_engine_skips_do_not_count(data: Path) -> None:
    """The file has 400,000 rows, but none of the first row group is the tenant's."""
    with exploring(data, explore_rows=280_000) as (explorer, _):
        view = replace(QUICK, dimensions=())
        assert run(lambda: explorer.compute(view, TENANT, 1)).over_budget is None


def test_compared_days_count_for_the_read_budget(data: Path) -> None:
    """A comparison reads as much again, where there are facts."""
    with exploring(data, explore_rows=1_200_000) as (explorer, _):
        view = replace(QUICK, start=date(2026, 3, 2), end=date(2026, 3, 2), comparison=Comparison.PREVIOUS)
        assert run(lambda: explorer.compute(view, TENANT, 1)).totals == (Figure(None, 200_000),)


def test_a_part_that_takes_too_long_is_interrupted_and_the_others_are_shown(data: Path) -> None:
    """Totals and lines are there; the leaderboard, which has no end, is over the budget and runs no more."""
    with exploring(data, explore_seconds=1) as (explorer, _):
        while run(lambda: explorer.compute(replace(ENDLESS, dimensions=()), TENANT, 1)).over_budget:
            pass  # the machine is very busy: once totals and lines are known, they take no time
        numbers = run(lambda: explorer.compute(ENDLESS, TENANT, 1))
        assert numbers.totals == (Figure(5),)
        assert numbers.leaderboards == {Dimension.CONTENT_TAG: OverBudget("It took longer than 1.0 s.")}
        run(lambda: condition(lambda: is_idle(explorer)))


def test_a_part_that_needs_too_much_memory_is_over_the_budget(data: Path) -> None:
    """The engine spills nothing, so that a page never fills a disk."""
    with exploring(data, explore_memory="200MB") as (explorer, settings):
        numbers = run(lambda: explorer.compute(ENDLESS, Tenant(frozenset({"c0"})), 1))
        needed = OverBudget("It needs more memory than a page may use.")
        assert numbers.leaderboards == {Dimension.CONTENT_TAG: needed}
        assert not settings.spill_root.exists()


def test_a_cancelled_view_is_interrupted_in_the_engine_and_frees_its_slot(data: Path) -> None:
    """Once its task has ended no statement runs, and the next view has its numbers."""

    async def main(explorer: Explorer) -> Numbers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(explorer.compute, ENDLESS, TENANT, 1)
            await condition(lambda: explorer.running_statements > 0)
            tasks.cancel_scope.cancel()
        assert explorer.running_views == 0
        await condition(lambda: is_idle(explorer))
        return await explorer.compute(QUICK, TENANT, 1)

    with exploring(data, explore_slots=1) as (explorer, _):
        assert run(lambda: main(explorer)).totals == (Figure(200_000),)


def test_one_partner_can_not_take_all_slots(data: Path) -> None:
    """Its second view waits for its first, while another partner's begins at once."""

    async def main(explorer: Explorer) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(explorer.compute, ENDLESS, TENANT, "greedy")
            await condition(lambda: explorer.running_statements > 0)
            other = await explorer.compute(QUICK, TENANT, "other")
            assert other.totals == (Figure(200_000),)
            assert explorer.running_views == 1
            tasks.cancel_scope.cancel()

    with exploring(data, explore_slots=2) as (explorer, _):
        run(lambda: main(explorer))


def test_a_view_that_waits_too_long_for_a_slot_is_over_its_time(data: Path) -> None:
    """It is answered like one that was computed too long."""

    async def main(explorer: Explorer, settings: Settings) -> Numbers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(explorer.compute, ENDLESS, TENANT, 1)
            await condition(lambda: explorer.running_statements > 0)
            # The view that holds the slot has its long time: were it over first, there would be nothing to wait for.
            explorer._settings = replace(settings, explore_seconds=1)  # noqa: SLF001 - a view has no time of its own
            numbers = await explorer.compute(QUICK, TENANT, 1)
            tasks.cancel_scope.cancel()
        return numbers

    with exploring(data, explore_slots=2) as (explorer, settings):
        assert run(lambda: main(explorer, settings)).totals == OverBudget("It took longer than 1.0 s.")


def test_a_table_that_can_not_be_read_is_told(data: Path, tmp_path: Path) -> None:
    """A damaged file is no budget: it raises, and the slot is free."""
    (tmp_path / "facts").symlink_to(data / "facts")
    with exploring(tmp_path) as (explorer, _):
        path = Path(pin(data / "facts", ["plays"]).files("plays")[0])
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        try:
            with pytest.raises(StorageError, match="this page"):
                run(lambda: explorer.compute(QUICK, TENANT, 1))
        finally:
            path.write_bytes(content)
        assert is_idle(explorer)


def test_a_closed_explorer_computes_nothing(data: Path) -> None:
    """Its views are stopped, and none begins."""
    with exploring(data) as (explorer, _):
        explorer.close()
        with pytest.raises(UsageError, match="about to stop"):
            run(lambda: explorer.compute(QUICK, TENANT, 1))
