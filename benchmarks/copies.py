"""Makes the facts of more rows as copies of those of fewer, each file several times, with rollups over all of them.

    .venv/bin/python -m benchmarks.copies 1000000000 --of 100000000

The rows are those of the fewer facts, each so many times: what reads them reads so many times the rows and bytes, and
gives as many rows. It takes minutes, where so many different rows take an hour.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from benchmarks.facts import Facts
from benchmarks.kept_sums import prepare_rollups
from reelport.facts.loading.load import load
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_entry import DataFile, LogEntry
from reelport.facts.tables import find_table

_ROOM = 10_000_000_000
"""Bytes of the disk that stay free."""


def copy_facts(facts: Facts, of: Facts) -> None:
    """Make these facts of the others, unless they are there. SystemExit when the disk has too little room."""
    of.ready()
    if facts.is_ready():
        return
    shutil.rmtree(facts.folder, ignore_errors=True)
    files = read_newest(of.data / "facts", find_table("plays")).files
    times, size = facts.rows // of.rows, sum(file.size for file in files)
    facts.first_piece.parent.mkdir(parents=True)
    free = shutil.disk_usage(facts.folder).free
    if size * times + _ROOM > free:
        raise SystemExit(f"{size * times / 1e9:.0f} GB are to be copied, and {free / 1e9:.0f} GB are free")
    for table in ("channels", "videos"):
        load(facts.data / "facts", table, [of.first_piece.with_name(f"{table}.parquet")])
    os.link(of.first_piece, facts.first_piece)
    for number in range(times):
        print(f"copy {number + 1} of {times}", flush=True)
        _copy(facts, of, files, number)
    facts.mark(of=of.rows)


def _copy(facts: Facts, of: Facts, files: tuple[DataFile, ...], number: int) -> None:
    """Add one copy of each file to the table, as a load of its own."""
    table, root = find_table("plays"), facts.data / "facts"
    added = tuple(_copy_file(root / table.name, of.data / "facts" / table.name, file) for file in files)
    os.sync()
    rows, days = sum(file.rows for file in files), tuple(_list_days(files))
    entry = LogEntry("load", f"copy-{number}", rows, days=days, sources=(of.first_piece.name,))
    commit(root, table, lambda _: Change(entry, added, loaded=True))


def _copy_file(to: Path, folder: Path, file: DataFile) -> DataFile:
    place = Path(file.path)
    copied = str(place.with_name(f"{place.stem.rpartition('-')[0]}-{secrets.token_hex(6)}.parquet"))
    (to / copied).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / file.path, to / copied)
    return replace(file, path=copied)


def _list_days(files: tuple[DataFile, ...]) -> Iterator[date]:
    yield from sorted({day for file in files for day in (file.first_day, file.last_day)})


def main() -> None:
    """Make the facts, and rollups over them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("--of", type=int, help="rows of the facts to copy; else as many different ones are made")
    asked = parser.parse_args()
    facts = Facts(asked.rows)
    if asked.of is None:
        facts.ready()
    else:
        copy_facts(facts, Facts(asked.of))
    for rollup in prepare_rollups(facts):
        print(rollup)


if __name__ == "__main__":
    main()
