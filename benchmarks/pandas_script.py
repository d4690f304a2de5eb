"""The reports as somebody would write them with pandas over the same Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pandas as pd

from benchmarks.reports import METRICS, Report

_SUMS = [metric.lower() for metric in METRICS]
_KEYS = {"video_title": "video_id", "video_owner_channel_slug": "owner_channel_id"}
_TIMES = {"day": "D", "month": "M"}

Files = Mapping[str, tuple[str, ...]]


def write(report: Report, shift: int, files: Files, to: Path) -> None:
    """Write the report's CSV, having read no more columns, rows and files than it takes."""
    cells = [name.lower() for name in report.dimensions]
    plays = pd.read_parquet(list(files["plays"]), columns=_stored(cells), filters=_filters(report, shift))
    for time_cell in _TIMES.keys() & set(cells):
        plays[time_cell] = plays["started_at"].dt.tz_localize(None).dt.to_period(_TIMES[time_cell])
    if "video_title" in cells:
        plays = _named(plays, "video_title", files["videos"], "title")
    if "video_owner_channel_slug" in cells:
        # Few channels, many plays: summed first, named after.
        summed = _summed(plays, [cells[0], "owner_channel_id"])
        named = _named(summed, "video_owner_channel_slug", files["channels"], "slug")
        named.sort_values(cells)[[*cells, *_SUMS]].to_csv(to, index=False)
    else:
        _summed(plays, cells).to_csv(to, index=False)


def _stored(cells: list[str]) -> list[str]:
    """The stored columns that the cells and sums are made of."""
    keys = [_KEYS.get(cell, cell) for cell in cells if cell not in _TIMES]
    return list(dict.fromkeys(["started_at", *keys, *_SUMS]))


def _filters(report: Report, shift: int) -> list[tuple[str, str, object]]:
    start, end = (datetime.combine(day, time(), UTC) for day in report.span(shift))
    days: list[tuple[str, str, object]] = [("started_at", ">=", start), ("started_at", "<", end + timedelta(days=1))]
    return days if report.channel is None else [*days, ("owner_channel_id", "==", report.channel)]


def _named(rows: pd.DataFrame, cell: str, files: tuple[str, ...], column: str) -> pd.DataFrame:
    objects = pd.read_parquet(list(files), columns=["id", column])
    return rows.merge(objects, how="left", left_on=_KEYS[cell], right_on="id").rename(columns={column: cell})


def _summed(rows: pd.DataFrame, cells: list[str]) -> pd.DataFrame:
    return rows.groupby(cells, as_index=False, dropna=False)[_SUMS].sum()
