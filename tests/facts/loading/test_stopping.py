"""A load that is stopped: it ends at once, says so, and leaves nothing."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.forked import run_child

from reelport.errors import BadInput
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.preview import preview


def _left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


_ENDLESS = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from reelport.facts.loading.load import load_arrow

drawn = 0

def endless():
    global drawn
    while drawn < 2000:
        drawn += 1
        if drawn == 5:
            os.kill(os.getpid(), signal.SIGINT)
        yield pa.RecordBatch.from_pylist([{"id": f"c{drawn}-{number}", "slug": "s"} for number in range(2000)])

try:
    print("ready", flush=True)
    load_arrow(Path(sys.argv[1]), "channels", endless(), "endless")
except KeyboardInterrupt:
    print(drawn)
"""


def test_a_stop_while_the_engine_works_ends_the_load_at_once(root: Path) -> None:
    """A Ctrl-C is heard while the engine reads and sorts, and not only when it gives its first rows."""
    drawn = int(run_child(_ENDLESS, str(root)))
    assert drawn < 2000
    assert _left(root) == []


def test_a_stop_while_a_file_is_read_is_no_bad_input(tmp_path: Path, root: Path) -> None:
    """A Ctrl-C that lands where the lines of a file are read is the end of the load, and no fault of the file."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\n" + "".join(f"c{number},s{number}\n" for number in range(900_000)))
    told = 0

    def stopped(_: object) -> None:
        nonlocal told
        told += 1
        if told == 1:
            raise KeyboardInterrupt(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        load(root, "channels", [path], progress=stopped)
    assert _left(root) == []


def test_a_stop_inside_the_engine_is_no_bad_input(root: Path) -> None:
    """DuckDB tells a stop that lands while it draws rows from Python as an error: it stays the stop that it was."""

    def drawn() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"id": "c1", "slug": "s"}])
        raise KeyboardInterrupt(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt) as stop:
        load_arrow(root, "channels", drawn(), "b")
    assert stop.value.args == (signal.SIGTERM,)
    assert _left(root) == []


_COMMITTED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.loading.verification import verify

root, first, second = map(Path, sys.argv[1:])
day = date(2023, 7, 2)
awaited = []

def stop_once_committed(event, words):
    # A commit is opened to be synced as soon as it is there.
    if event == "open" and awaited and str(words[0]).endswith(awaited[0]):
        awaited.clear()
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(stop_once_committed)
print("ready", flush=True)
for version, change in enumerate(
    (
        lambda: load(root, "earnings", [first]),
        lambda: load(root, "earnings", [second], replace=(day, day)),
        lambda: compact(root, today=date(2023, 9, 1)),
        lambda: undo(root, load(root, "earnings", [first]).batch),
    ),
    1,
):
    awaited.append(f"{version:020}.json")
    try:
        change()
    except KeyboardInterrupt:
        print(version, [one.findings for one in verify(root)], flush=True)
"""


def test_a_stop_just_after_a_commit_deletes_no_file_that_it_names(
    root: Path, earnings: Callable[..., Path], ask: Callable[..., list[tuple[object, ...]]]
) -> None:
    """Stopped between the commit and the end of the command, each change stands whole, and its files stay."""
    first = earnings("a.csv", *((f"2023-07-0{day}", "a", 1) for day in (1, 2, 3)))
    second = earnings("b.csv", ("2023-07-02", "b", 1))
    told = run_child(_COMMITTED, str(root), str(first), str(second))
    assert told.splitlines() == [f"{version} [()]" for version in (1, 2, 3, 4)]
    assert ask("earnings", "SELECT day(day), owner_channel_id FROM t") == [(2, "b")]


@pytest.mark.parametrize("dry", thin_out([False, True], 2))
def test_a_file_that_breaks_off_later_on_is_told_in_one_sentence(tmp_path: Path, root: Path, dry: bool) -> None:
    """What goes wrong while the engine pulls the lines is told in our words, without a word of the engine's."""
    path = tmp_path / "c.csv.gz"
    ids = os.urandom(2_500_000).hex()
    lines = "".join(f"{ids[place : place + 50]},s\n" for place in range(0, len(ids), 50))
    path.write_bytes(gzip.compress(f"id,slug\n{lines}".encode(), 1)[:-60])
    with pytest.raises(BadInput) as caught:
        preview(root, "channels", [path], count=99_999) if dry else load(root, "channels", [path])
    assert str(caught.value).startswith(f"{path}: the gzip data is cut or damaged (")
    assert _left(root) == []
