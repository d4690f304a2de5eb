"""How fast a piece of plays is loaded from Parquet, beside the bare engine sorting the same rows into one file."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import duckdb
import pyarrow.parquet as pq

from benchmarks.facts import MEMORY, Facts
from benchmarks.measure import Took, measured
from reelport.facts.loading.load import load

_BARE = """
COPY (
    SELECT *, started_at::DATE AS day FROM read_parquet('{file}') ORDER BY day, owner_channel_id, started_at, video_id
) TO '{to}' (FORMAT parquet, COMPRESSION zstd)
"""


def loading(facts: Facts, rounds: int) -> dict[str, object]:
    """Rows a second of CPU, of the wall and at the most memory, of both; each run in a process of its own."""
    file = facts.first_piece
    rows = pq.ParquetFile(file).metadata.num_rows
    took: dict[str, list[Took]] = {"reelport": [], "duckdb": []}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as process:
        for _ in range(rounds):
            took["reelport"].append(_in(process, facts, _load, file))
            took["duckdb"].append(_in(process, facts, _sort, file))
    return {"rows": rows, "file_bytes": file.stat().st_size, **{name: _rates(rows, of) for name, of in took.items()}}


def _in(process: ProcessPoolExecutor, facts: Facts, call: object, file: Path) -> Took:
    folder = facts.folder / "loading"
    folder.mkdir(exist_ok=True)
    try:
        return process.submit(measured, call, file, folder).result()  # type: ignore[arg-type]  # one of the two below
    finally:
        shutil.rmtree(folder)


def _load(file: Path, folder: Path) -> None:
    load(folder / "facts", "plays", [file], memory=MEMORY)


def _sort(file: Path, folder: Path) -> None:
    settings = {"memory_limit": f"'{MEMORY}'", "temp_directory": f"'{folder}/spill'", "TimeZone": "'UTC'"}
    with duckdb.connect() as session:
        for name, value in {**settings, "preserve_insertion_order": "false", "enable_progress_bar": "false"}.items():
            session.execute(f"SET {name} = {value}")
        session.execute(_BARE.format(file=file, to=folder / "sorted.parquet"))


def _rates(rows: int, took: list[Took]) -> dict[str, float]:
    seconds = median(each.seconds for each in took)
    cpu = median(each.cpu for each in took)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "rows_a_second": rows / seconds,
        "rows_a_core_second": rows / cpu,
        "peak_bytes": max(each.peak for each in took),
        "times": len(took),
    }
