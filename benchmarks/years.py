"""A daily report over three years: made of windows, two at a time, beside one report of the whole range."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.testing import Service

START, END = date(2023, 1, 1), date(2025, 12, 31)
ROWS = 400_000
DAYS = (END - START).days + 1
WINDOWS = "windows, two at a time"
_METRICS = ("VIEWS", "TIME_WATCHED_SECONDS")
_DIMENSIONS = ("DAY", "VISITOR_COUNTRY", "VIDEO_ID")
_HOME = "REELPORT_HOME"


@dataclass(slots=True)
class _Ways:
    """The ways to the same rows, and the seconds that each took."""

    client: Client
    folder: Path
    took: dict[str, list[float]] = field(default_factory=dict)

    def one_round(self, number: int) -> ReportQuery:
        """Each way once. Days that were asked for before are not asked for again, but for what tries just that."""
        query, other = (_query(2 * number + later) for later in (0, 1))
        whole, one_by_one = self.client.with_options(windows=DAYS), self.client.with_options(slots=1)
        self._time("one report", whole, query, "whole.csv")
        self._time(WINDOWS, self.client, query, "windows.csv")
        self._time("the same again", self.client, query, "windows.csv")
        self._time("windows, one at a time", one_by_one, other, "one-by-one.csv")
        if _digest(self.folder / "whole.csv") != _digest(self.folder / "windows.csv"):
            raise RuntimeError("the merged windows are not what one report of the whole range is")
        return query

    def _time(self, name: str, client: Client, query: ReportQuery, to: str) -> None:
        started = time.perf_counter()
        client.reports.run_range(query, self.folder / to)
        self.took.setdefault(name, []).append(time.perf_counter() - started)

    def figures(self) -> Mapping[str, object]:
        """Medians, the first round not counted; the ratio says how many times as long as each the windows took."""
        counted = {name: took[1:] for name, took in self.took.items()}
        own = median(counted[WINDOWS])
        return {
            name: {
                "seconds": median(took),
                "each": [round(each, 4) for each in took],
                "ratio": own / median(took),
            }
            for name, took in counted.items()
        }


def years(folder: Path, rounds: int) -> dict[str, object]:
    """The ways to three years of days: windows two at a time and one, what is done already, one report of it all."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _home(folder), Service(day_limit=DAYS, log_level="warning") as service:
        service.sample(START, END, rows=ROWS)
        key = service.key("demo")
        with Client(service.url, key.id, key.secret) as client:
            ways = _Ways(client, folder)
            query = [ways.one_round(number) for number in range(rounds + 1)][-1]
            windows = len(client.reports.plan(query).windows)
    size = (folder / "whole.csv").stat().st_size
    shutil.rmtree(folder)
    return {"days": DAYS, "facts": ROWS, "bytes": size, "windows": windows, "ways": ways.figures()}


def _query(later: int) -> ReportQuery:
    return ReportQuery.of(_METRICS, _DIMENSIONS, START + timedelta(days=later), END)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Nothing of the user's own is touched."""
    before = os.environ.get(_HOME)
    os.environ[_HOME] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_HOME]
        else:
            os.environ[_HOME] = before
