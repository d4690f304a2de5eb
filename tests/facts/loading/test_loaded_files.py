"""A file of facts counts once, whatever it is called; a load that is stopped ends at once and leaves nothing."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.forked import run_child

from reelport.errors import BadInput
from reelport.facts.input.files import Progress
from reelport.facts.loading import conflicts
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.preview import preview
from reelport.facts.loading.undo import undo
from reelport.facts.log.history import list_loads

pytestmark = pytest.mark.long

Ask = Callable[..., list[tuple[object, ...]]]
HEADER = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"


@pytest.fixture
def pair(plays: Callable[..., Path]) -> tuple[Path, Path]:
    """Two files of plays, of a day each."""
    return plays("a.csv", ("2023-07-01", "v1", "c1", 3)), plays("b.csv", ("2023-07-02", "v1", "c1", 5))


def _views(ask: Ask) -> object:
    return ask("plays", "SELECT sum(views) FROM t")[0][0]


def test_files_in_another_order_are_the_same_batch(root: Path, ask: Ask, pair: tuple[Path, Path]) -> None:
    """A rename that changes a glob's order loads nothing again."""
    first = load(root, "plays", pair)
    second = load(root, "plays", pair[::-1])
    assert (second.already, second.batch, _views(ask)) == (True, first.batch, 8)


@pytest.mark.parametrize("way", ["copy", "same path", "symlink"])
def test_a_file_that_is_given_twice_is_refused(
    tmp_path: Path, root: Path, ask: Ask, pair: tuple[Path, Path], way: str
) -> None:
    """Its rows would count twice: by whatever name it is given, both are named and nothing is loaded."""
    other = tmp_path / "a3.csv"
    match way:
        case "copy":
            other.write_bytes(pair[0].read_bytes())
        case "same path":
            other = tmp_path / ".." / tmp_path.name / "a.csv"
        case _:
            other.symlink_to(pair[0])
    for run in (load, preview):
        with pytest.raises(BadInput, match=f"{other} has the same contents as {pair[0]}: is it the same file twice"):
            run(root, "plays", [pair[0], other])
    assert not list_loads(root)
    assert load(root, "plays", [pair[0], other], again=True).rows == 2
    assert _views(ask) == 6


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: pa.compress(data, "zstd", asbytes=True)])
def test_a_file_and_its_compressed_copy_are_the_same_file(
    tmp_path: Path, root: Path, ask: Ask, pair: tuple[Path, Path], pack: Callable[[bytes], bytes]
) -> None:
    """In one command or after each other, whichever comes first: a log that was rotated counts once."""
    packed = tmp_path / "a.csv.packed"
    packed.write_bytes(pack(pair[0].read_bytes()))
    for run in (load, preview):
        with pytest.raises(BadInput, match=r"packed has the same contents as .*a.csv: is it the same file twice"):
            run(root, "plays", [pair[0], packed])
    for first, second in ((pair[0], packed), (packed, pair[0])):
        loaded = load(root, "plays", [first, pair[1]])
        for run in (load, preview):
            with pytest.raises(BadInput, match=f"{second.name} was loaded before, in batch {loaded.batch}"):
                run(root, "plays", [second])
        assert load(root, "plays", [first, pair[1]]).already
        assert _views(ask) == 8
        undo(root, loaded.batch)


def test_a_file_that_is_compressed_anew_is_known(tmp_path: Path, root: Path, pair: tuple[Path, Path]) -> None:
    """The time of compression is in the bytes of gzip, and doesn't make other facts of the same."""
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(pair[0].read_bytes(), mtime=1))
    batch = load(root, "plays", [packed]).batch
    packed.write_bytes(gzip.compress(pair[0].read_bytes(), mtime=2))
    with pytest.raises(BadInput, match=f"a.csv.gz was loaded before, in batch {batch}"):
        load(root, "plays", [packed])
    assert load(root, "plays", [packed], again=True).rows == 1


def test_a_file_that_another_load_committed_meanwhile_is_refused(root: Path, ask: Ask, pair: tuple[Path, Path]) -> None:
    """Of two loads at the same time one lands: the other is checked again at the version that it would follow."""

    def load_first(now: Progress) -> None:
        if now.stage == "writing" and not list_loads(root):
            load(root, "plays", [pair[0]])

    with pytest.raises(BadInput, match=r"a.csv was loaded before"):
        load(root, "plays", pair, progress=load_first)
    assert _views(ask) == 3


def test_a_file_of_an_earlier_batch_is_refused(root: Path, ask: Ask, pair: tuple[Path, Path]) -> None:
    """Alone after others, or with others after it alone: the batch that holds it is named."""
    first = load(root, "plays", [pair[0]])
    renamed = pair[0].rename(pair[0].with_name("renamed.csv"))
    for run in (load, preview):
        with pytest.raises(BadInput, match=rf"renamed.csv was loaded before, in batch {first.batch} of \d{{4}}-"):
            run(root, "plays", [renamed, pair[1]])
    undo(root, first.batch)
    both = load(root, "plays", [renamed, pair[1]])
    for path in (renamed, pair[1]):
        with pytest.raises(BadInput, match=f"{path.name} was loaded before, in batch {both.batch} of .*\n.*load undo"):
            load(root, "plays", [path])
    assert _views(ask) == 8
    assert load(root, "plays", [renamed], again=True).batch == first.batch
    assert _views(ask) == 11


@pytest.mark.parametrize("commits", [0, conflicts.COMMITS_READ])
def test_a_file_of_many_is_found_by_a_look_up_and_by_the_whole_log(
    root: Path, plays: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """Whichever reads less of the log; a long one is read for nothing but what a look-up has found."""
    monkeypatch.setattr(conflicts, "COMMITS_READ", commits)
    paths = [plays(f"{n}.csv", ("2023-07-01", "v1", "c1", n + 1)) for n in range(25)]
    load(root, "plays", paths)
    assert load(root, "plays", [plays("other.csv", ("2023-07-01", "v1", "c1", 99))]).rows == 1
    with pytest.raises(BadInput, match=r"0.csv was loaded before(?s:.)*and 19 more files too"):
        load(root, "plays", paths[:24])


def test_a_file_is_loadable_again_when_its_rows_are_gone(root: Path, ask: Ask, pair: tuple[Path, Path]) -> None:
    """After an undo of its batch, or a replacement of all its days; a replacement itself is never refused."""
    both = load(root, "plays", pair)
    undo(root, both.batch)
    assert load(root, "plays", [pair[0]]).rows == 1
    undo(root, load(root, "plays", [pair[1]]).batch)
    load(root, "plays", pair, again=True)
    day = date(2023, 7, 1)
    load(root, "plays", [pair[0]], replace=(day, day))
    assert _views(ask) == 8
    with pytest.raises(BadInput, match=r"b.csv was loaded before"):
        load(root, "plays", [pair[1]])


def test_a_file_whose_days_were_all_replaced_is_loaded(
    root: Path, ask: Ask, pair: tuple[Path, Path], plays: Callable[..., Path]
) -> None:
    """Its batch stands in the log, but none of its rows in the table; part of them still would count twice."""
    load(root, "plays", pair)
    corrected = plays("c.csv", ("2023-07-01", "v2", "c1", 100))
    load(root, "plays", [corrected], replace=(date(2023, 7, 1), date(2023, 7, 1)))
    with pytest.raises(BadInput, match=r"a.csv was loaded before"):
        load(root, "plays", [pair[0]])
    load(root, "plays", [corrected], replace=(date(2023, 7, 1), date(2023, 7, 2)))
    load(root, "plays", [pair[0]])
    assert _views(ask) == 103


def test_files_with_a_header_only_are_alike_and_no_mistake(tmp_path: Path, root: Path, pair: tuple[Path, Path]) -> None:
    """Two hours without plays are two files; they come with every batch."""
    quiet = [tmp_path / "e1.csv", tmp_path / "e2.csv"]
    for path in quiet:
        path.write_text(HEADER)
    assert load(root, "plays", [pair[0], *quiet]).rows == 1
    assert load(root, "plays", [pair[1], *quiet]).rows == 1


def test_objects_may_be_given_and_loaded_twice(tmp_path: Path, root: Path) -> None:
    """Rows with the same id replace each other: nothing adds up."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,one\n")
    assert load(root, "channels", [path, path]).rows == 1
    assert load(root, "channels", [path]).already


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
