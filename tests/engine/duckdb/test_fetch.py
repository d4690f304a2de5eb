"""The rows of a small plan are fetched as Python's values, by an engine that needs no folder, and stopped at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.patience import PATIENCE

from reelport.engine.duckdb.engine import Cancelled, QueryEngine
from reelport.engine.plan import Plan, single_piece
from reelport.errors import InternalError, OutOfMemory, ReelportError, UsageError

ENDLESS = Plan("SELECT count(*) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 7", ("n",))


@pytest.fixture
def engine() -> Iterator[QueryEngine]:
    with QueryEngine("400MB", 2, None) as engine:
        yield engine


def test_rows_are_fetched_as_exact_values(engine: QueryEngine) -> None:
    """Sums are whole numbers of any size, money is a decimal, an empty cell is None."""
    plan = Plan("SELECT 'é' AS a, 2::HUGEINT ** 100 > 1, sum(i) AS b, 1.5::DECIMAL(9, 2), NULL FROM range(5) t(i)", ())
    assert engine.session().fetch(plan, "this page") == [("é", True, 10, Decimal("1.50"), None)]


@pytest.mark.parametrize("after", [0, 0.2])
def test_a_fetch_is_stopped_and_its_engine_goes_on(engine: QueryEngine, after: float) -> None:
    """`cancel` from another thread ends an endless fetch; the next session is free to run."""
    session, raised = engine.session(), list[ReelportError]()

    def fetch() -> None:
        try:
            session.fetch(ENDLESS, "this page")
        except ReelportError as error:
            raised.append(error)

    running = threading.Thread(target=fetch)
    running.start()
    time.sleep(after)
    session.cancel()
    running.join(PATIENCE)
    assert [type(error) for error in raised] == [Cancelled]
    with pytest.raises(Cancelled):
        session.fetch(ENDLESS, "this page")
    assert engine.session().fetch(Plan("SELECT 1", ("n",)), "this page") == [(1,)]


def test_an_engine_without_a_folder_runs_out_of_memory_instead_of_spilling(tmp_path: Path) -> None:
    """What exceeds its limit fails in words, and it writes no file."""
    with QueryEngine("64MB", 2, None, within=(tmp_path,)) as engine:
        plan = Plan("SELECT i, count(*) FROM range(5000000) t(i) GROUP BY ALL ORDER BY 2, 1 LIMIT 1", ("i", "n"))
        with pytest.raises(OutOfMemory, match="this page needs more memory"):
            engine.session().fetch(plan, "this page")
        with pytest.raises(UsageError, match="no folder"):
            engine.session().write(single_piece(plan), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_is_wrong_is_our_fault(engine: QueryEngine) -> None:
    """It is an internal error that names what was made."""
    with pytest.raises(InternalError, match="while making this page"):
        engine.session().fetch(Plan("SELECT nothing", ()), "this page")


def test_what_the_engine_is_set_to_holds_in_each_of_its_sessions(
    engine: QueryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process is, times are UTC; no variable of Python's passes for a table; a report sets nothing."""
    monkeypatch.setenv("TZ", "America/New_York")
    names = ("TimeZone", "python_enable_replacements", "lock_configuration")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    plan = Plan(f"SELECT {settings}", ())
    assert engine.session().fetch(plan, "this page") == [("UTC", False, True)]
