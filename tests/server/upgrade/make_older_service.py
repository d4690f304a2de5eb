"""Makes `older_service.tar.xz`: the data directory of a service as the version at commit c138733 wrote it.

Run it with that version, never with a later one, or what it tells of older directories is lost:

    git worktree add ../older c138733
    PYTHONPATH=../older/src:../older .venv/bin/python tests/server/upgrade/make_older_service.py \
        tests/server/upgrade/older_service.tar.xz

`service_of_0_1_0.tar.xz` is the same of the release 0.1.0, by the commit that cut its changelog, 6970f9a2.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.whole.partner import Partner

from reelport.testing import Channel, Service

DAYS = {"startDate": "2026-01-01", "endDate": "2026-01-02"}
BY_DAY = {**DAYS, "dimensions": ["DAY", "MEDIA_TYPE"]}
BY_VIDEO = {**DAYS, "dimensions": ["VIDEO_TITLE"], "metrics": ["VIEWS", "TIME_WATCHED_SECONDS"]}
KEPT_HOURS = 1_000_000.0
"""Reports of the directory don't expire while anybody runs its tests."""


def make(data: Path) -> dict[str, object]:
    """Make facts, two keys, two finished reports, and one that waits; tell what later tests ask for."""
    with Service(data, retention_hours=KEPT_HOURS) as service:
        _load(service)
        first, second = (Partner(service, service.key("demo")) for _ in range(2))
        tokens = [first.ask(**BY_DAY), first.ask(**BY_VIDEO)]
        bodies = [first.fetch(token).decode() for token in tokens]
    with Service(data, workers=0, retention_hours=KEPT_HOURS) as service:
        waiting = replace(second, service=service).ask(**BY_VIDEO)
    return {"key": first.key.id, "secret": first.key.secret, "other": [second.key.id, second.key.secret]} | {
        "finished": dict(zip(tokens, bodies, strict=True)),
        "waiting": {waiting: bodies[1]},
    }


def _load(service: Service) -> None:
    service.organization("demo", [Channel("c1", "one"), Channel("c2", "two")])
    service.load("videos", [{"id": f"v{n}", "title": f"Video {n}", "owner_channel_id": "c1"} for n in range(3)])
    service.load("plays", [_play(day, n) for day in (1, 2) for n in range(3)])


def _play(day: int, n: int) -> dict[str, object]:
    began = datetime(2026, 1, day, 5 + n, tzinfo=UTC)
    row = {"started_at": began, "video_id": f"v{n}", "owner_channel_id": "c1", "media_type": "video"}
    return row | {"views": 10 * day + n, "time_watched_seconds": 60 * n}


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (entry.isfile() or entry.isdir()):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sys.argv[1], "w:xz") as archive:
        (Path(folder) / "told.json").write_text(json.dumps(make(Path(folder) / "data")), "utf-8")
        for name in ("data", "told.json"):
            archive.add(Path(folder) / name, name, filter=_plain)
