"""What a client is for, from end to end, in the folder that is named: prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelport import AsyncClient, Client, ReportQuery, UsageError
from reelport.client import ledger_rows as owners
from reelport.client.files.locks import POSIX
from reelport.client.ledger import LEASE
from reelport.client.ranges.run import TargetFolder
from reelport.sync import sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.spec import Kind, Place, Spec

LAST = datetime.now(UTC).date() - timedelta(days=1)
FIRST = LAST - timedelta(days=9)
QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], FIRST, LAST)

OWNER = "from reelport.client.ledger_rows import new_owner; print(new_owner())"


def main(home: Path) -> dict[str, object]:
    """Fetch a report in every way, twice; keep copies of both kinds, and change them."""
    url, key, secret = (os.environ[name] for name in ("REELPORT_URL", "REELPORT_API_KEY", "REELPORT_API_SECRET"))
    with Client(url, key, secret, ledger=home / "ledger.db") as client:
        done = client.reports.run(QUERY, home / "views.csv")
        again = client.reports.run(QUERY, home / "views.csv")
        assert done.path.read_bytes() == (home / "views.csv").read_bytes() == again.path.read_bytes()
        merged = client.with_options(windows=3).reports.run_range(QUERY, home / "merged.csv")
        assert merged.path.read_bytes() == done.path.read_bytes()
        client.with_options(windows=3).reports.run_range(QUERY, home / "apart", keep_windows=True)
        totals = ReportQuery.of(["VIEWS"], ["VIDEO_TITLE"], FIRST, LAST)
        summed = client.with_options(windows=3).reports.run_range(totals, home / "summed.csv")
        assert summed.path.read_bytes() == client.reports.run(totals, home / "summed.csv").path.read_bytes()
        assert client.reports.run(totals).parquet(home / "summed.parquet").is_file()
        places = [Place(Kind.DUCKDB, home / "copy.duckdb"), Place(Kind.PARQUET, home / "copy")]
        kept = []
        for place in places:
            spec = Spec("views", ("VIEWS",), ("DAY", "VIDEO_TITLE"), FIRST, place, window=4, lookback=2)
            for every_day in (False, False, True):
                sync_run.run([spec], client, every_day=every_day)
            kept.append(coverage_of(spec).rows)
        refused = _refused(client, home)
    asyncio.run(_asynchronously(url, key, secret, home))
    held = TargetFolder(home / "held.csv", QUERY)
    other = TargetFolder(home / "held.csv", QUERY)
    alone = held.path != other.path
    held.remove()
    other.close()
    ended = subprocess.check_output([sys.executable, "-c", OWNER], text=True).strip()
    now = datetime.now(UTC)
    dead = owners.is_gone(ended, now + LEASE, now) and not owners.is_gone(owners.new_owner(), now + LEASE, now)
    left = sorted(path.name for path in home.iterdir())
    return {
        "posix": POSIX,
        "rows": done.rows,
        "kept": kept,
        "alone": alone,
        "dead": dead,
        "refused": refused,
        "left": left,
    }


def _refused(client: Client, home: Path) -> str:
    try:
        client.reports.run(QUERY, home / "views:hidden.csv")
        (home / "views:hidden.csv").unlink()
        (home / "views:hidden.csv.json").unlink()
    except UsageError as error:
        return str(error)
    return ""


async def _asynchronously(url: str, key: str, secret: str, home: Path) -> None:
    async with AsyncClient(url, key, secret, ledger=home / "ledger.db") as client:
        await client.reports.run(QUERY, home / "views.csv")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
