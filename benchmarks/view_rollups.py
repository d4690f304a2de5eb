"""The rollups that views are measured with."""

from __future__ import annotations

import time
from pathlib import Path

from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.columns import make_rollup
from reelport.facts.rollups import add_rollup

ROLLUPS = (
    make_rollup("plays", []),
    *(make_rollup("plays", [name]) for name in ("action", "video_id", "visitor_country", "visitor_device_type")),
)
"""What serves the explorer's first pages: lines and channels, and a leaderboard each."""


def build(root: Path) -> None:
    """Build the rollups, and print what each takes."""
    for rollup in ROLLUPS:
        add_rollup(root, rollup)
        began = time.process_time()
        built = build_rollups(root, [rollup], space=10**12)
        rows, size = sum(month.rows for month in built), sum(month.bytes for month in built)
        took = time.process_time() - began
        print(
            f"{rollup.name} ({', '.join(rollup.columns) or 'days'}): {rows:,} rows, {size / 1e6:.1f} MB, {took:.1f} s"
        )
