"""What the API's process spends on sending a finished file: seconds of CPU for each 100 MB, by `curl`.

    .venv/bin/python -m benchmarks.sending      # --megabytes 100 --rounds 9; --readers 8 for as many at once

The file lies in the page cache. To compare two versions, run it in both of their folders in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

from benchmarks.machine import load
from benchmarks.service import Wire
from reelport.engine.report_format import Written
from reelport.query import ReportQuery
from reelport.server.access import organizations
from reelport.server.files import report_files
from reelport.server.queue import jobs
from reelport.server.state.database import connect
from reelport.testing import Service

_ROW = b"2026-01-01,1234567\n"


def main() -> None:
    """Run the rounds and print their median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--readers", type=int, default=1)
    asked = parser.parse_args()
    body = b"day,views\n" + _ROW * (asked.megabytes * 1_000_000 // len(_ROW))
    with Service(workers=0, log_level="warning") as service, _granted(service) as wire:
        token = wire.ask(ReportQuery(("VIEWS",), ("DAY",), date(2026, 1, 1), date(2026, 1, 2)))
        _finish(service, body)
        took = list(_measure(service, wire.link(token), asked.rounds, asked.readers))
    hundreds = len(body) * asked.readers / 100e6
    cpu, seconds = (median(each) / hundreds for each in zip(*took, strict=True))
    print(f"{cpu * 1000:.0f} ms of CPU and {seconds * 1000:.0f} ms for each 100 MB (x {asked.readers}); load {load()}")


def _measure(service: Service, link: str, rounds: int, readers: int) -> Iterator[tuple[float, float]]:
    """Seconds of CPU and of the clock of each round, after one that doesn't count."""
    for number in range(rounds + 1):
        before, began = _cpu_seconds(service.pid), time.perf_counter()
        command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", link]
        running = [subprocess.Popen(command) for _ in range(readers)]
        if any(each.wait() for each in running):
            raise RuntimeError("a download failed")
        seconds, after = time.perf_counter() - began, _cpu_seconds(service.pid)
        if number:
            yield after - before, seconds


def _cpu_seconds(pid: int) -> float:
    """Seconds of CPU of all threads, by the scheduler's nanoseconds: the usual ticks are 10 ms long."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _granted(service: Service) -> Wire:
    db = connect(service.settings)
    organization = organizations.add_organization(db, "reader", datetime.now(UTC))
    organizations.allow_channels(db, organization.id, ["c-reader"])
    db.dispose()
    wire = Wire(service.url, service.key("reader"))
    wire.grant()
    return wire


def _finish(service: Service, body: bytes) -> None:
    """Be the worker of the one report that waits."""
    db = connect(service.settings)
    claim = jobs.claim(db, "bench", running=9, lease_seconds=60)
    if claim is None:
        raise RuntimeError("no report waits")
    draft = report_files.prepare_draft(service.settings, claim.report_id, claim.attempt)
    draft.write_bytes(body)
    written = Written(body.count(b"\n") - 1, len(body), hashlib.sha256(body).hexdigest())
    jobs.finish(db, claim, report_files.publish_draft(service.settings, draft, written), datetime.now(UTC))
    db.dispose()


if __name__ == "__main__":
    main()
