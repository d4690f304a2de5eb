"""Download one finished report by our client and by curl, in turns: seconds, and seconds of CPU.

    .venv/bin/python -m benchmarks.download     # --megabytes 50 for a look; its files are in benchmarks/data/download

With a checksum it is from a Reelport service, without one from a vendor of `reelport.testing`: there our client looks
at every row. Each of ours is a new process, whose imports don't count.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.fetching import with_checksum, without_checksum
from benchmarks.machine import load, rest
from benchmarks.partner import Source, downloaded

_DATA = Path(__file__).parent / "data" / "download"
_BLOCK_ROWS = 20_000
_TICK = 0.01
"""Seconds of CPU that the system tells apart."""

KINDS: dict[str, Callable[[int], str]] = {
    "a tenth in quotes": lambda row: f'"A title, and number {row}"' if row % 10 == 0 else f"Video {row}",
    "all in quotes": lambda row: f'"A title, ""number"" {row}"',
}
"""How the titles of a report's rows are written."""


@dataclass(slots=True)
class Took:
    """What each round took, in seconds and in seconds of CPU."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, seconds: float, cpu: float) -> None:
        """One more round."""
        self.seconds.append(seconds)
        self.cpu.append(cpu)


def main() -> None:
    """Run the rounds and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shutil.rmtree(_DATA, ignore_errors=True)
    _DATA.mkdir(parents=True)
    print(f"{options.megabytes} MB, medians of {options.rounds} rounds; load averages {load()}")
    for kind in KINDS:
        pieces = list(_pieces(kind, options.megabytes * 1_000_000))
        for name, place in (("checksum", with_checksum), ("no checksum", without_checksum)):
            with place(pieces) as source:
                _print(f"{name}, {kind}", _rounds(source, options.rounds))
    shutil.rmtree(_DATA)


def _rounds(source: Source, rounds: int) -> dict[str, Took]:
    took = {name: Took() for name in ("reelport", "curl", "curl and sha256sum")}
    own, other = _DATA / "own.csv", _DATA / "curl.csv"
    for _ in range(rounds):
        own.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
        rest(0)
        ours = downloaded(source, own)
        took["reelport"].add(ours.seconds, ours.cpu)
        rest(0)
        curl = _timed("curl", "--silent", "--show-error", "--fail", "--output", str(other), source.link)
        took["curl"].add(*curl)
        summed = _timed("sha256sum", str(other))
        took["curl and sha256sum"].add(curl[0] + summed[0], curl[1] + summed[1])
    if own.stat().st_size != other.stat().st_size:
        raise RuntimeError("curl and our client have files of different lengths")
    return took


def _timed(*words: str) -> tuple[float, float]:
    began, before = time.perf_counter(), os.times()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])


def _print(what: str, took: dict[str, Took]) -> None:
    ours = took["reelport"]
    for name, each in took.items():
        pairs = ((ours.seconds, each.seconds), (ours.cpu, each.cpu))
        times = [median(own) / max(median(other), _TICK) for own, other in pairs]
        print(
            f"{what:32} {name:20} {median(each.seconds):6.2f} s (x {times[0]:.2f})"
            f" {median(each.cpu):6.2f} s of CPU (x {times[1]:.2f})",
            flush=True,
        )


def _pieces(kind: str, size: int) -> Iterator[bytes]:
    """A CSV of at least so many bytes, in the order of its days."""
    yield b"day,video_title,views\n"
    title = KINDS[kind]
    for day in (1, 2):
        left = size // 2
        for first in itertools.count(0, _BLOCK_ROWS):
            rows = range(first, first + _BLOCK_ROWS)
            block = "".join(f"2026-01-0{day},{title(row)},{row}\n" for row in rows).encode()
            yield block
            left -= len(block)
            if left <= 0:
                break


if __name__ == "__main__":
    main()
