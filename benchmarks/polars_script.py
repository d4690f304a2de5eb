"""The reports as somebody would write them with Polars over the same Parquet files: lazily, in its streaming engine."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl

from benchmarks.pandas_script import Files
from benchmarks.reports import METRICS, Report

_SUMS = [metric.lower() for metric in METRICS]
_KEYS = {"video_title": "video_id", "video_owner_channel_slug": "owner_channel_id"}
_TIMES = {"day": pl.col("started_at").dt.date(), "month": pl.col("started_at").dt.truncate("1mo")}


def write(report: Report, shift: int, files: Files, to: Path) -> None:
    """Write the report's CSV. Polars leaves out what isn't asked for, files and row groups included."""
    cells = [name.lower() for name in report.dimensions]
    plays = pl.scan_parquet(list(files["plays"]), hive_partitioning=False).filter(*_filters(report, shift))
    plays = plays.with_columns(**{cell: _TIMES[cell] for cell in cells if cell in _TIMES})
    if "video_title" in cells:
        plays = _name(plays, "video_title", files["videos"], "title")
    if "video_owner_channel_slug" in cells:
        # Few channels, many plays: summed first, named after.
        summed = _sum(plays, [cells[0], "owner_channel_id"])
        rows = _name(summed, "video_owner_channel_slug", files["channels"], "slug")
    else:
        rows = _sum(plays, cells)
    rows = rows.select(*cells, *_SUMS).sort(cells, nulls_last=True)
    if "month" in cells:
        rows = rows.with_columns(pl.col("month").dt.strftime("%Y-%m"))
    rows.sink_csv(to, engine="streaming")


def _filters(report: Report, shift: int) -> list[pl.Expr]:
    start, end = (datetime.combine(day, time(), UTC) for day in report.span(shift))
    days = [pl.col("started_at") >= start, pl.col("started_at") < end + timedelta(days=1)]
    return days if report.channel is None else [*days, pl.col("owner_channel_id") == report.channel]


def _name(rows: pl.LazyFrame, cell: str, files: tuple[str, ...], column: str) -> pl.LazyFrame:
    objects = pl.scan_parquet(list(files), hive_partitioning=False).select("id", pl.col(column).alias(cell))
    return rows.join(objects, how="left", left_on=_KEYS[cell], right_on="id")


def _sum(rows: pl.LazyFrame, cells: list[str]) -> pl.LazyFrame:
    return rows.group_by(cells).agg(pl.col(_SUMS).sum())
