"""How many operations a second the client's ledger takes, each a transaction that is durable when it returns."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import percentile
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State
from reelport.client.ledger_slots import Claimed, Question
from reelport.query import ReportQuery

_REPORTS = 300
_OPERATIONS = 7
"""Transactions in a report's life: claimed, asked, seen running, finished, downloaded, verified, delivered."""


def remembering(folder: Path) -> dict[str, object]:
    """One process alone, and two of two keys at the same moment over one ledger."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        path = Path(place) / "ledger.db"
        list(processes.map(_lives, [path] * 2, ["warm", "up"], [3] * 2))
        alone = processes.submit(_lives, path, "alone", _REPORTS).result()
        started = time.perf_counter()
        both = [*processes.map(_lives, [path] * 2, ["one", "two"], [_REPORTS] * 2)]
        together = time.perf_counter() - started
        size = path.stat().st_size
    return {
        "reports": 3 * _REPORTS + 6,
        "bytes": size,
        "one process": _rates(sum(alone), alone),
        "two processes": _rates(together, [seconds for each in both for seconds in each]),
    }


def _rates(seconds: float, lives: list[float]) -> dict[str, float]:
    return {
        "operations_a_second": len(lives) * _OPERATIONS / seconds,
        "report_median": percentile(lives, 0.5),
        "report_p95": percentile(lives, 0.95),
    }


def _lives(path: Path, identity: str, count: int) -> list[float]:
    """The seconds that the ledger takes for each of so many reports, from the claim to the delivery."""
    ledger = Ledger(path)
    return [_life(ledger, identity, number) for number in range(count)]


def _life(ledger: Ledger, identity: str, number: int) -> float:
    day = date(2024, 1, 1) + timedelta(days=number)
    query = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], day, day)
    started = time.perf_counter()
    entered = ledger.enter(Question("http://here", identity, query, reelport=True))
    if not isinstance(entered, Claimed):
        raise RuntimeError(f"the ledger says {entered} to a new question")  # noqa: TRY004 - no type that was given
    row = ledger.record_token(entered.row, f"{identity}-{number}")
    ledger.record_status(row, State.RUNNING)
    ledger.record_status(row, State.FINISHED)
    ledger.record_download(row, Path(f"/nowhere/{number}.csv"), 1, "0" * 64, 1, "sha256", delivered=True)
    return time.perf_counter() - started
