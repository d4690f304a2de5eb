"""What was measured: the CPU of a report, a row, a request and a load, and the commits of a report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parent.parent / "results" / "capacity.json"
"""Where `benchmarks.capacity.measure` keeps them."""


_SMALL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a report: of the files that it opens, those that it reads of them, and those that it writes.

    `reach` are the rows of all files that any report of the platform opens.
    """

    opened: float
    read: float
    written: float
    reach: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Measured costs of one service; seconds are of the CPU, on one core, unless they say otherwise."""

    when: str
    machine: str
    report_seconds: float
    """A report by itself, before its first row: of the worker."""
    read_seconds: float
    """A million rows read."""
    write_seconds: float
    """A million rows written."""
    footer_seconds: float
    """A million rows of the files whose footers a report reads, whoever's they are: a footer lists every row group."""
    skip_seconds: float
    """A million rows of the files that it opens, with a footer that is kept: every row group is skipped or read."""
    kept_rows: float
    """Rows of all files that reports open, up to which a worker keeps their footers; beyond, it keeps none."""
    parallel: float
    """How many cores a long report keeps busy, where nothing else runs on two."""
    request_seconds: float
    """All requests of one report, of the API: its ask, a look, its share of a token, and its file."""
    load_seconds: float
    """A million rows loaded."""
    fact_bytes: float
    """A row of plays in the tables."""
    file_bytes: float
    """A row of a finished file."""
    report_commits: float
    """Transactions of the state, from a report's ask to its file."""
    commit_seconds: float
    """One of them, by the clock: the state has one writer at a time with SQLite."""

    def report(self, size: Size) -> float:
        """Seconds of the CPU for a report."""
        footer_seconds = 0.0 if size.reach <= self.kept_rows else self.footer_seconds
        parts = (
            size.opened * (self.skip_seconds + footer_seconds),
            size.read * self.read_seconds,
            size.written * self.write_seconds,
        )
        return self.report_seconds + sum(parts) / 1e6

    def cores(self, seconds: float) -> float:
        """How many cores a report of so much CPU keeps busy by itself."""
        return 1.0 if seconds < _SMALL_SECONDS else self.parallel

    def save(self) -> None:
        """Keep them."""
        FILE.write_text(json.dumps(asdict(self), indent=2) + "\n")


def load_figures() -> Figures:
    """Read the figures that were kept."""
    return Figures(**json.loads(FILE.read_text()))
