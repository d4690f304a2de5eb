"""What a cold report fetches of a data file in an object store: `python -m benchmarks.object_ranges FILE`.

For the owner with the most rows, for one in the middle, and for all of them: bytes and requests, as reports fetch them
into an empty cache. The rows that are read are compared with those of the file.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import duckdb
import obstore
from obstore.store import S3Store
from tests.storage.object_server import BUCKET, CREDENTIALS, FaultyProxy, serve_faults, serve_objects

from reelport.facts.row_groups.row_group_cutter import RowGroupCutter
from reelport.facts.schema import OWNER
from reelport.storage.excerpts import ExcerptRule
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.local_folder import LocalFolder
from reelport.storage.object_store import ObjectStore
from reelport.storage.s3_address import ENDPOINT, S3Address

_TIME = "started_at"
_RULE = ExcerptRule(8 << 20, 0.5)
"""The settings' defaults."""
_NAME = "file"


def measure(path: Path) -> None:
    """Print a table of what is fetched for whom."""
    owners = [
        owner
        for (owner,) in duckdb.execute(f"SELECT {OWNER} FROM '{path}' GROUP BY 1 ORDER BY count(*) DESC").fetchall()
    ]
    asked = {"largest": owners[0], "median": owners[len(owners) // 2], "all": None}
    print(f"{path.stat().st_size / 1e6:.1f} MB of {len(owners)} owners\n")
    print("| owner | requests | MB | of the file |\n|---|---|---|---|")
    with serve_objects() as endpoint, serve_faults(endpoint) as proxy:
        os.environ |= CREDENTIALS | {ENDPOINT: proxy.endpoint}
        names = {"access_key_id": "tests", "secret_access_key": "tests-only", "region": "us-east-1"}
        direct = S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True}, **names)  # type: ignore[arg-type]
        obstore.put(direct, _NAME, path)
        for label, owner in asked.items():
            requests, size = _fetch(path, owner, proxy)
            print(f"| {label} | {requests} | {size / 1e6:.2f} | {size / path.stat().st_size:.3f} |")


def _fetch(path: Path, owner: str | None, proxy: FaultyProxy) -> tuple[int, int]:
    """Fetch what a report of an owner, or of all, reads; return requests and bytes."""
    proxy.seen.clear()
    with tempfile.TemporaryDirectory() as folder, holding() as fetched:
        cache = FileCache(Path(folder), 1 << 40)
        store = ObjectStore(S3Address(BUCKET, ""), LocalFolder(Path(folder) / "drafts"), cache, excerpts=_RULE)
        if owner is None:
            (copy,) = store.local_paths([_NAME])
        else:
            cutter = RowGroupCutter(OWNER, frozenset({owner}), _TIME, None, None)
            (copy,) = store.local_excerpts({_NAME: path.stat().st_size}, cutter)
        if _sum_rows(copy, owner) != _sum_rows(path, owner):
            raise RuntimeError("other rows are read than the file has")
        return len(proxy.seen), fetched.whole + fetched.parts


def _sum_rows(path: Path, owner: str | None) -> tuple[object, ...] | None:
    """Sum up an owner's rows of a file, so that two files can be compared."""
    where = "true" if owner is None else f"{OWNER} = '{owner}'"
    read = f"read_parquet('{path}', hive_partitioning = false)"
    return duckdb.execute(f"SELECT count(*), sum(hash(COLUMNS(*))) FROM {read} WHERE {where}").fetchone()


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
