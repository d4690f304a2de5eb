"""Records of runs become tables, goals and charts of the page of benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.growth import choose_newest, draw_ratios, draw_seconds, list_goals, read_records, write_table
from benchmarks.page import BEGIN, END, replace_figures, write_figures
from benchmarks.results import goals

SPREAD = {"median": 0.02, "p95": 0.03, "least": 0.01, "most": 0.04, "times": 40}


def record(rows: int, *, when: str = "2026-11-28T06:00:00+00:00", **reports: tuple[float, float]) -> dict[str, Any]:
    """A record whose reports took us, and the bare engine, so many seconds."""
    found = {
        name: {
            "rows": 10,
            "bytes": 100,
            **{
                who: {"seconds": seconds, "ratio": own / seconds, "peak_bytes": 300_000_000, "file": "same bytes"}
                for who, seconds in (("reelport", own), ("duckdb", bare))
            },
        }
        for name, (own, bare) in reports.items()
    }
    return {
        "when": when,
        "rows": rows,
        "commit": {"id": "0123456789"},
        "machine": {"cores": 2},
        "versions": {"duckdb": "2.0.1"},
        "load_before": [0.1],
        "load_after": [1.5],
        "skipped": {"chdb": "it is not installed"},
        "reports": found,
        "rollups": [{"name": "r", "columns": [], "days": 188, "rows": 5, "bytes": 10}],
        "latency": {"idle": {"ask_to_finished_held": SPREAD}},
        "memory": {"peak_bytes": 1, "limit_bytes": 2},
        "goals": [],
    }


def test_ratios_are_goals_from_a_hundred_million_rows() -> None:
    """Over fewer facts a report is too short for its fixed costs, unless the bare engine takes a second."""
    met = {goal.what: goal.met for goal in goals(record(10**8, medium=(0.2, 0.5), daily=(0.2, 1.5), small=(0.1, 0.01)))}
    assert met["medium: times the bare engine"] is False
    assert met["daily: times the bare engine"] is False
    assert "small: times the bare engine" not in met
    few = {goal.what for goal in goals(record(10**7, medium=(0.2, 0.5), huge=(2.0, 2.1)))}
    assert "medium: times the bare engine" not in few
    assert "huge: times the bare engine" in few


def test_a_crowd_has_goals_of_its_own() -> None:
    crowd = {"partners": 100, "ratio": 0.89, "ask": SPREAD, "look": {**SPREAD, "p95": 0.06}}
    assert [goal.met for goal in goals({"crowd": crowd})] == [False, True, False]


def test_one_channel_may_take_twice_as_long_for_ten_times_the_facts() -> None:
    records = [
        record(10**7, small=(0.05, 0.01), medium=(0.10, 0.1), daily=(0.2, 1)),
        record(10**8, small=(0.09, 0.02), medium=(0.21, 1.0), daily=(2.0, 9)),
    ]
    assert [(goal.what.partition(",")[0], goal.met) for goal in list_goals(records)] == [
        ("small", True),
        ("medium", False),
    ]


def test_growth_is_that_of_records_made_one_after_the_other() -> None:
    """A report that has since become quicker over fewer facts has not grown by that."""
    then, now = "2026-11-28T06:00:00+00:00", "2026-11-28T19:00:00+00:00"
    older = [record(10**7, when=then, small=(0.1, 1.0)), record(10**8, when=then, small=(0.15, 1.0))]
    (goal,) = list_goals([*older, record(10**7, when=now, small=(0.05, 1.0))])
    assert goal.measured == pytest.approx(1.5)
    (goal,) = list_goals([*older, *(record(rows, when=now, small=(0.05, 1.0)) for rows in (10**7, 10**8))])
    assert goal.measured == pytest.approx(1.0)


def test_the_newest_record_with_rollups_counts(tmp_path: Path) -> None:
    older = record(10**7, when="2026-11-27T06:00:00+00:00", small=(9.0, 1.0))
    without = {**record(10**7, when="2026-11-29T06:00:00+00:00", small=(8.0, 1.0)), "rollups": []}
    for name, each in {"a": record(10**7, small=(1.0, 1.0)), "b": older, "c": without, "d": {"client": {}}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    assert {
        rows: each["reports"]["small"]["reelport"]["seconds"]
        for rows, each in choose_newest(read_records(tmp_path)).items()
    } == {10**7: 1.0}


def test_a_report_that_one_run_left_out_leaves_a_hole() -> None:
    records = {10**8: record(10**8, huge=(30.0, 35.0)), 10**9: record(10**9, small=(0.1, 0.1))}
    lines = list(write_table(records))
    assert "| huge | reelport | 30.000 |  |" in lines
    assert "| small | reelport |  | 0.100 |" in lines


def test_charts_show_each_run_beside_the_bare_engine() -> None:
    records = {10**8: record(10**8, huge=(30.0, 35.0), daily=(0.1, 1.5)), 10**9: record(10**9, daily=(0.2, 16.0))}
    assert [(bar.label, bar.value) for bar in draw_ratios(records).bars] == [
        ("huge, 100 M rows, goal 1.0", 0.857),
        ("daily, 100 M rows, goal 0.1", 0.067),
        ("daily, 1 B rows, goal 0.1", 0.013),
    ]
    assert [bar.value for bar in draw_seconds(records).bars] == [0.1, 1.5, 0.2, 16.0]


def test_the_page_keeps_what_stands_around_its_figures() -> None:
    figures = write_figures([record(10**8, daily=(0.1, 1.5))], None)
    page = replace_figures(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n", figures)
    assert page.startswith(f"Before.\n{BEGIN}\n")
    assert page.endswith(f"{END}\nAfter.\n")
    assert "old" not in page
    assert "| daily | reelport | 0.100 |" in page
    with pytest.raises(ValueError, match="lacks"):
        replace_figures("no marks", iter(()))
