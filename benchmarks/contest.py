"""The reports in interleaved rounds: in each, all make the same report, and their files are held alike."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from statistics import median

from benchmarks.measure import Took
from benchmarks.reports import Report
from benchmarks.rivals import Rival

_PATIENCE = 12.0
"""Seconds beyond which one who is no more than a comparison makes a report once only."""
SAME_BYTES, SAME_ROWS = "same bytes", "same rows"


class DifferentAnswers(Exception):
    """Two contestants gave different rows: nothing that was measured is worth anything."""


@dataclass(slots=True)
class Outcome:
    """What one report came to, by contestant; the ratio says how many times as long as each the first one took."""

    rows: int = 0
    bytes: int = 0
    warm_up: dict[str, Took] = field(default_factory=dict)
    took: dict[str, list[Took]] = field(default_factory=dict)
    alike: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, object]:
        """All of it, for the record."""
        counted = {name: self.took.get(name) or [first] for name, first in self.warm_up.items()}
        seconds = {name: median(each.seconds for each in took) for name, took in counted.items()}
        own = next(iter(seconds.values()))
        return {
            "rows": self.rows,
            "bytes": self.bytes,
            **{
                name: {
                    "seconds": seconds[name],
                    "each": [round(each.seconds, 4) for each in took],
                    "peak_bytes": max(each.peak for each in took),
                    "ratio": own / seconds[name],
                    "file": self.alike.get(name, "reference"),
                }
                for name, took in counted.items()
            },
        }


def contest(
    report: Report,
    contestants: tuple[Rival, Rival, *tuple[Rival, ...]],
    rounds: int,
    folder: Path,
    rest: Callable[[], None],
) -> Outcome:
    """The report made by each of them `rounds` times, after a round that doesn't count; each round is of other days.

    The first two, ourselves and the bare engine, are in every round. Everybody writes into a new file, after a `rest`.
    Raises DifferentAnswers when a file's rows are not the first one's.
    """
    outcome = Outcome()
    own, engine, *others = contestants
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(rounds + 1):
        patient = [other for other in others if number == 0 or outcome.warm_up[other.name].seconds < _PATIENCE]
        present = [own, engine, *patient]
        # Whoever comes first finds the files less warm: each in turn.
        for one in present[number % len(present) :] + present[: number % len(present)]:
            (folder / one.name).unlink(missing_ok=True)
            rest()
            took = one.write(report, number, folder / one.name)
            if number == 0:
                outcome.warm_up[one.name] = took
            else:
                outcome.took.setdefault(one.name, []).append(took)
        _hold_alike(outcome, folder, [one.name for one in present])
    shutil.rmtree(folder)
    return outcome


def _hold_alike(outcome: Outcome, folder: Path, names: Sequence[str]) -> None:
    first, *others = (folder / name for name in names)
    digest = _digest(first)
    outcome.bytes = first.stat().st_size
    with first.open("rb") as file:
        outcome.rows = sum(1 for _ in file) - 1  # no title of the benchmark has a line break in it
    for other in others:
        if _digest(other) == digest:
            outcome.alike.setdefault(other.name, SAME_BYTES)
        else:
            _hold_rows_alike(first, other)
            outcome.alike[other.name] = SAME_ROWS


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.reader(file)


def _hold_rows_alike(one: Path, other: Path) -> None:
    for number, (ours, theirs) in enumerate(zip_longest(_rows(one), _rows(other))):
        if ours != theirs:
            raise DifferentAnswers(f"in row {number}, {one.name} has {ours} and {other.name} has {theirs}")
