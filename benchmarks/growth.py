"""How reports grow with the facts: the newest kept records of 10 million, 100 million and a billion rows, side by side.

.venv/bin/python -m benchmarks.growth            # the table
.venv/bin/python -m benchmarks.growth --charts   # and docs/benchmarks/*.svg
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.results import GROWTH_RATIO, KEPT, RATIOS, Record
from benchmarks.tables import Goal, print_goals
from reelport.charts.chart_types import Bar, BarChart

ONE_CHANNEL = ("small", "medium")
"""Reports of one channel whose rows don't grow with the facts."""
_NOT_DRAWN = "huge"
"""A report that is hundreds of times as long as others: their bars could not be seen beside its own."""

Records = Mapping[int, Record]
"""Records of runs by rows of plays, the fewest first."""


def read_records(folder: Path = KEPT) -> tuple[Record, ...]:
    """Read all records whose reports were made with rollups, in the order of their making."""
    records = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    found = (record for record in records if record.get("rollups") and "reports" in record)
    return tuple(sorted(found, key=lambda record: str(record["when"])))


def choose_newest(records: Iterable[Record]) -> Records:
    """Choose the newest record of each number of rows; they are in the order of their making."""
    return dict(sorted({record["rows"]: record for record in records}.items()))


def list_goals(records: Sequence[Record]) -> Iterator[Goal]:
    """Hold how often as long a report of one channel takes, for ten times the facts, against the goal.

    Of fewer facts the record counts that was made next to the newest one of more in time: by nearly the same code.
    """
    newest = choose_newest(records)
    for fewer, more in pairwise(newest):
        tens = _count_tens(fewer, more)
        least = min((each for each in records if each["rows"] == fewer), key=partial(_count_hours, newest[more]))
        for name in ONE_CHANNEL:
            before, after = (_seconds(record, name, "reelport") for record in (least, newest[more]))
            if before and after and tens > 0:
                what = f"{name}, from {format_rows(fewer)} to {format_rows(more)} rows: times, at most"
                yield Goal(what, after / before, GROWTH_RATIO**tens, after / before <= GROWTH_RATIO**tens)


def write_table(records: Records) -> Iterator[str]:
    """Write the seconds of each report by rows of plays, ours and the bare engine's, as lines of Markdown."""
    yield f"| report | who | {' | '.join(f'{format_rows(rows)} rows' for rows in records)} |"
    yield f"|---|---|{'---|' * len(records)}"
    for name in _list_reports(records.values()):
        for who in ("reelport", "duckdb"):
            cells = (_seconds(record, name, who) for record in records.values())
            yield f"| {name} | {who} | {' | '.join('' if each is None else f'{each:.3f}' for each in cells)} |"
        ratios = (_ratio(record, name) for record in records.values())
        yield f"| | times | {' | '.join('' if each is None else f'**{each:.2f}**' for each in ratios)} |"


def draw_ratios(records: Records) -> BarChart:
    """Draw how many times as long as the bare engine each report takes."""
    bars = (
        Bar(f"{name}, {format_rows(rows)} rows" + (f", goal {RATIOS[name]}" if name in RATIOS else ""), round(ratio, 3))
        for name in _list_reports(records.values())
        for rows, record in records.items()
        if (ratio := _ratio(record, name)) is not None
    )
    note = "From the first request to the verified file, beside COPY of SQL by hand over the facts: 1 is as long."
    return BarChart("Times the bare engine", tuple(bars), notes=(note, "The goals are those at 100 M rows."))


def draw_seconds(records: Records) -> BarChart:
    """Draw the seconds of each report by rows of plays, each above the bare engine's."""
    bars = (
        Bar(label, round(seconds, 3))
        for name in _list_reports(records.values())
        if name != _NOT_DRAWN
        for rows, record in records.items()
        if (own := _seconds(record, name, "reelport")) is not None
        and (bare := _seconds(record, name, "duckdb")) is not None
        for label, seconds in ((f"{name}, {format_rows(rows)} rows", own), ("the bare engine", bare))
    )
    return BarChart("Seconds of a report", tuple(bars))


def format_rows(rows: int) -> str:
    """Format a number of rows: 10 M, 1 B."""
    billion, million = 1_000_000_000, 1_000_000
    return f"{rows / billion:g} B" if rows >= billion else f"{rows / million:g} M"


def _list_reports(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record["reports"]))


def _seconds(record: Record, name: str, who: str) -> float | None:
    found = record["reports"].get(name, {}).get(who)
    return None if found is None else float(found["seconds"])


def _ratio(record: Record, name: str) -> float | None:
    own, bare = (_seconds(record, name, who) for who in ("reelport", "duckdb"))
    return None if own is None or bare is None else own / bare


def _count_hours(one: Record, other: Record) -> float:
    """Count the hours between the making of two records."""
    between = datetime.fromisoformat(one["when"]) - datetime.fromisoformat(other["when"])
    return abs(between.total_seconds()) / 3600


def _count_tens(fewer: int, more: int) -> int:
    """Count how often `fewer` is to be multiplied by ten to be `more`, to the nearest whole number."""
    return len(str(more)) - len(str(fewer))


def main() -> None:
    """Print the table and the goals."""
    records = read_records()
    print("\n".join([*write_table(choose_newest(records)), "", *print_goals(list_goals(records))]))


if __name__ == "__main__":
    main()
