"""Makes `older_data.tar.xz`: a data directory as the version at commit ed694b1 wrote it, for later versions to read.

Run it with that version, never with a later one, or what it tells of older files is lost:

    git worktree add ../older ed694b1
    PYTHONPATH=../older/src .venv/bin/python tests/facts/log/make_older_data.py tests/facts/log/older_data.tar.xz
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.facts.layout import check_layout
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow

PLAY = {"media_type": "video", "time_watched_seconds": 60}
JULY_5 = (date(2023, 7, 5), date(2023, 7, 5))


def make(data: Path) -> None:
    """Two batches of plays, one day of which is restated, in a month file and in day files; objects, ads, earnings."""
    check_layout(data)
    root = data / "facts"
    load_arrow(root, "channels", _rows({"id": "c1", "slug": "one"}, {"id": "c2", "slug": "two"}), "channels")
    load_arrow(root, "videos", _rows({"id": "v1", "title": "First", "owner_channel_id": "c1", "tags": ["a"]}), "videos")
    load_arrow(root, "plays", _rows(*(_play(f"2023-06-0{day}T05:00:00", "c1") for day in range(1, 7))), "june")
    load_arrow(root, "plays", _rows(*(_play(f"2023-06-0{day}T05:00:00", "c2") for day in (2, 3))), "more-june")
    compact(root, today=date(2023, 7, 1))
    load_arrow(root, "plays", _rows(*(_play(f"2023-07-0{day}T05:00:00", "c1") for day in (4, 5))), "july")
    load_arrow(root, "plays", _rows(_play("2023-07-05T06:00:00", "c1") | {"views": 20}), "july-5", replace=JULY_5)
    ad = {"started_at": "2023-07-04T05:00:00", "owner_channel_id": "c1", "media_type": "video", "sellable_inventory": 9}
    load_arrow(root, "ads", _rows(ad), "ads")
    for number, eur in ((1, "1.5"), (2, "2.25")):
        earned = {"day": f"2023-07-0{number}", "owner_channel_id": "c1", "eur": eur, "usd": eur}
        load_arrow(root, "earnings", _rows(earned), f"earnings-{number}")


def _play(moment: str, owner: str) -> dict[str, object]:
    return PLAY | {"started_at": moment, "video_id": "v1", "owner_channel_id": owner, "views": 10}


def _rows(*rows: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows])


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sys.argv[1], "w:xz") as archive:
        make(Path(folder) / "data")
        archive.add(Path(folder) / "data", "data", filter=_plain)
