"""What a cold report fetches of a table in an object store: `python -m benchmarks.cold_reports ROWS`.

For the owner with the most rows, the one in the middle and all of them, over a month and over four days: requests and
bytes, through a stand-in for S3 and an empty cache. ROWS are those of the benchmarks' plays.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import duckdb
import obstore
from obstore.store import S3Store
from tests.storage.object_server import BUCKET, CREDENTIALS, FaultyProxy, serve_faults, serve_objects

from benchmarks.facts import START, Facts
from reelport.facts.data_files.duckdb_session import path_list_sql
from reelport.facts.log.log_files import RemoteTables, attach_tables
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.tables import OWNER
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.s3_address import ENDPOINT, S3Address

_TABLE = "plays"
_FOLDER = "facts"


def measure(facts: Facts) -> None:
    """Print a table of what is fetched for whom."""
    facts.ready()
    root = facts.data / "facts"
    local = pin(root, [_TABLE])
    owners = _list_owners(local)
    asked = {"largest": owners[:1], "median": [owners[len(owners) // 2]], "all": owners}
    sizes = sorted(file.size for file in local.listing[_TABLE])
    print(f"{len(sizes)} files of {sizes[0] / 1e6:.1f} to {sizes[-1] / 1e6:.1f} MB, {len(owners)} owners\n")
    print("| owner | days | files | requests | MB | of its days' files |\n|---|---|---|---|---|---|")
    with serve_objects() as endpoint, serve_faults(endpoint) as proxy:
        os.environ |= CREDENTIALS | {ENDPOINT: proxy.endpoint}
        _upload(root / _TABLE, endpoint)
        for label, channels in asked.items():
            for days in (4, 30, 180):
                end = START + timedelta(days=days - 1)
                whole = sum(file.size for file in local.data_files(_TABLE, START, end))
                files, requests, size = _fetch(frozenset(channels), end, proxy)
                print(
                    f"| {label} | {days} | {files} | {requests} | {size / 1e6:.2f} | {size / whole:.3f} |", flush=True
                )


def _list_owners(local: Snapshot) -> list[str]:
    """List the owners, the one with the most rows first."""
    files = path_list_sql(list(local.files(_TABLE)))
    read = f"SELECT {OWNER} FROM read_parquet({files}, hive_partitioning = false) GROUP BY 1 ORDER BY count(*) DESC, 1"
    return [owner for (owner,) in duckdb.execute(read).fetchall()]


def _upload(folder: Path, endpoint: str) -> None:
    names = {"access_key_id": "tests", "secret_access_key": "tests-only", "region": "us-east-1"}
    direct = S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True}, **names)  # type: ignore[arg-type]
    for path in folder.rglob("*"):
        if path.is_file():
            obstore.put(direct, f"{_FOLDER}/{_TABLE}/{path.relative_to(folder).as_posix()}", path)


def _fetch(channels: frozenset[str], end: date, proxy: FaultyProxy) -> tuple[int, int, int]:
    """Fetch what a report of these owners reads; return files, requests and bytes of files."""
    with tempfile.TemporaryDirectory() as place, holding():
        root = Path(place) / "facts"
        cache = FileCache(Path(place) / "cache", 1 << 40, f"{_FOLDER}/")
        attach_tables(root, RemoteTables(S3Address.parse(f"s3://{BUCKET}/{_FOLDER}"), cache))
        snapshot = pin(root, [_TABLE])
        proxy.seen.clear()
        paths = snapshot.files(_TABLE, START, end, channels)
        seen = Counter(path for method, path, _ in proxy.seen if method == "GET" and ".parquet" in path)
        return len(paths), seen.total(), sum(Path(path).stat().st_size for path in paths)


if __name__ == "__main__":
    measure(Facts(int(sys.argv[1])))
