"""Writes the goals of the newest kept records into docs/benchmarks.md, between two marks, and draws its charts.

Everything else that a run measured stays in its record.

.venv/bin/python -m benchmarks.page
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.growth import (
    choose_newest,
    draw_ratios,
    draw_seconds,
    format_rows,
    list_goals,
    read_records,
    write_table,
)
from benchmarks.results import KEPT, Record, goals
from benchmarks.tables import print_goals
from reelport.charts.drawing import draw_file

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PICTURES = PAGE.with_suffix("")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
CHARTS = {
    "ratios": "How many times as long as the bare engine each report takes, by rows of plays",
    "seconds": "Seconds of each report by rows of plays, beside the bare engine's",
}
"""The charts, by the names of their files, with what they show."""


def main() -> None:
    """Draw the charts and write the figures. Without records nothing is changed."""
    records = read_records()
    if not records:
        raise SystemExit(f"there is no record of reports from rollups in {KEPT}: python -m benchmarks.series")
    newest = choose_newest(records)
    PICTURES.mkdir(exist_ok=True)
    for name, chart in (("ratios", draw_ratios(newest)), ("seconds", draw_seconds(newest))):
        (PICTURES / f"{name}.svg").write_text(draw_file(chart) + "\n", "utf-8")
    PAGE.write_text(replace_figures(PAGE.read_text("utf-8"), write_figures(records, _read_crowd())), "utf-8")
    print(f"wrote {PAGE} and {PICTURES}/*.svg")


def replace_figures(page: str, lines: Iterator[str]) -> str:
    """Replace what stands between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return "\n".join([f"{before}{begin}", *lines, f"{end}{after}"])


def write_figures(records: Sequence[Record], crowd: Record | None) -> Iterator[str]:
    """Write the charts, the table of growth, then the goals of each run, as lines of Markdown."""
    for name, said in CHARTS.items():
        yield from ("", f"![{said}]({PICTURES.name}/{name}.svg)")
    newest = choose_newest(records)
    yield from ("", *write_table(newest), "", *print_goals(list_goals(records)))
    for rows, record in newest.items():
        yield from ("", f"**{format_rows(rows)} rows.** {_describe(record)}", "", *_print_goals(record))
    if crowd is not None:
        yield from ("", f"**A hundred partners.** {_describe(crowd)}", "", *_print_goals(crowd))


def _print_goals(record: Record) -> Iterator[str]:
    return print_goals(goals(record))


def _describe(record: Record) -> str:
    versions, load = record["versions"], [record["load_before"][0], record["load_after"][0]]
    return (
        f"{record['when'][:16].replace('T', ' ')}, commit {record['commit']['id'][:7]}, {record['machine']['cores']} "
        f"cores, DuckDB {versions['duckdb']}, load averages {load[0]} before and {load[1]} after."
    )


def _read_crowd() -> Record | None:
    found = [json.loads(path.read_text()) for path in KEPT.glob("*-crowd.json")]
    return max(found, key=lambda record: str(record["when"]), default=None)


if __name__ == "__main__":
    main()
