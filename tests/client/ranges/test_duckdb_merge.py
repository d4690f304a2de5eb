"""DuckDB merges windows to the very bytes that Python merges them to, or leaves it to Python; nothing stays behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import thin_out

from reelport import MergeRefused, ReportQuery
from reelport.client.ranges.duckdb_merge import Declined, order_rows
from reelport.client.ranges.merge import merge
from reelport.client.ranges.merge_rules import MergePlan, plan_merge
from reelport.errors import IncompleteDownload

pytest.importorskip("duckdb")

START, END = date(2024, 1, 1), date(2025, 12, 31)
SUMMED = "VIDEO_TITLE VIDEO_ID"
ORDERED = "VIDEO_TITLE DAY"


def how(metrics: str, dimensions: str) -> MergePlan:
    return plan_merge(ReportQuery.of(metrics.split(), dimensions.split(), START, END), months=True, ordered=True)


class Kept:
    """An output that keeps what is written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def rewind(self) -> None:
        """Keep nothing."""
        self.data.clear()


def merged(made: MergePlan, paths: Sequence[Path], *, worth: float) -> bytes | str:
    """What the files come to, or what was raised; nothing else is left in the folder."""
    output = Kept()
    before = sorted(paths[0].parent.iterdir())
    try:
        for _ in merge(made, paths, output, paths[0].parent, worth=worth):
            pass
    except (MergeRefused, IncompleteDownload) as error:
        return str(error)
    finally:
        assert sorted(paths[0].parent.iterdir()) == before
    return bytes(output.data)


def by_duckdb(made: MergePlan, paths: Sequence[Path]) -> bytes | None:
    """The rows that DuckDB made; None where it left them to Python."""
    going = order_rows(made, paths, paths[0].parent)
    try:
        while True:
            next(going)
    except StopIteration as done:
        found: bytes = done.value.read_bytes()
        return found
    except Declined:
        return None


def written(folder: Path, made: MergePlan, windows: Sequence[bytes]) -> list[Path]:
    """Files of these bodies, each below the header that was asked for."""
    header = ",".join((*made.asked.dimensions, *made.asked.metrics)).lower().encode() + b"\n"
    paths = [folder / f"window {number:04} [1]*'.csv" for number in range(len(windows))]
    for path, body in zip(paths, windows, strict=True):
        path.write_bytes(header + body)
    return paths


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts as a service writes them: in quotes where it must, a `#` too where `marks` says so."""

    rows: tuple[tuple[str | None, ...], ...]
    marks: bool = True
    closed: bool = True

    def body(self, *, shuffled: bool) -> bytes:
        """The lines, in order or not."""
        rows = sorted(self.rows, key=lambda row: [(not cell, (cell or "").encode()) for cell in row])
        if shuffled:
            random.Random(len(rows)).shuffle(rows)  # noqa: S311 - any order will do
        text = "".join(",".join(map(self._cell, row)) + "\n" for row in rows)
        return text.encode() if self.closed else text.encode().removesuffix(b"\n")

    def _cell(self, cell: str | None) -> str:
        if cell is None:
            return ""
        special = '",\n\r#' if self.marks else '",\n\r'
        return '"' + cell.replace('"', '""') + '"' if not cell or any(mark in cell for mark in special) else cell


# Few signs, so that keys meet; a combining accent beside its composed letter, and what is beyond the basic plane.
SIGNS = "ab,\"\n\r# \t\0'\\é\u0301e😀\U0010ffff\ufeff;|0"
texts = st.none() | st.text(SIGNS, max_size=4) | st.text(st.characters(codec="utf-8"), max_size=3)
counts = st.integers(0, 9).map(str) | st.sampled_from(["", "0", "9223372036854775807", "-7", "00012", "1" * 17])
money = st.decimals(-(10**9), 10**9, places=6).map(lambda value: f"{value:f}") | st.sampled_from(
    ["", "0.000000", "0.5", "12", "3.1", "-0.25", "0.000001"]
)
odd = st.sampled_from(
    ["9" * 20, "-0", "-0.000000", "+5", "1.", ".5", "1e3", "4e-05", "1.0000005", "12.50", "5" * 40, "NA", "1_0", "0x1"]
)
METRICS = "ESTIMATED_EARNINGS_EUR AVERAGE_WATCH_TIME_SEC VIEWS"  # a rate over VIEWS of what is asked for beside it


def tables(*numbers: st.SearchStrategy[str]) -> st.SearchStrategy[list[Table]]:
    """One to four windows of rows with two texts and these numbers."""
    rows = st.lists(st.tuples(texts, texts, *numbers), max_size=6).map(tuple)
    return st.lists(st.builds(Table, rows, closed=st.booleans()), min_size=1, max_size=4)


@given(tables(money, counts, counts, counts), st.booleans())
def test_sums_and_rates_by_duckdb_are_the_bytes_of_python(
    tmp_path_factory: pytest.TempPathFactory, windows: list[Table], shuffled: bool
) -> None:
    """Any keys, equal ones in several windows, empties of both kinds, windows without rows, money of any scale."""
    made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
    paths = written(tmp_path_factory.mktemp("sums"), made, [table.body(shuffled=shuffled) for table in windows])
    assert merged(made, paths, worth=0) == merged(made, paths, worth=inf)


@given(tables(money | odd, counts | odd, counts | odd, counts | odd))
def test_odd_numbers_are_added_up_by_whoever_can(
    tmp_path_factory: pytest.TempPathFactory, windows: list[Table]
) -> None:
    """Signs, exponents, more digits than 64 or 128 bits hold, words: the same bytes, or the same refusal."""
    made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
    paths = written(tmp_path_factory.mktemp("odd"), made, [table.body(shuffled=False) for table in windows])
    assert merged(made, paths, worth=0) == merged(made, paths, worth=inf)


@given(tables(counts), st.booleans())
def test_rows_put_in_order_by_duckdb_are_the_bytes_of_python(
    tmp_path_factory: pytest.TempPathFactory, windows: list[Table], shuffled: bool
) -> None:
    """In order or not, and rows of equal keys as they came."""
    made = how("VIEWS", "VIDEO_TITLE DAY")
    paths = written(tmp_path_factory.mktemp("order"), made, [table.body(shuffled=shuffled) for table in windows])
    assert merged(made, paths, worth=0) == merged(made, paths, worth=inf)


@given(st.lists(st.text('1a,"\n\r #', max_size=30).map(str.encode), min_size=1, max_size=3), st.booleans())
def test_files_that_no_service_writes_come_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, windows: list[bytes], summed: bool
) -> None:
    """Quotes in odd places, blanks, cut rows, commas and lines too many: the same bytes, or the same refusal."""
    made = how("VIEWS", "VIDEO_TITLE VIDEO_ID" if summed else "VIDEO_TITLE DAY")
    paths = written(tmp_path_factory.mktemp("odd"), made, windows)
    assert merged(made, paths, worth=0) == merged(made, paths, worth=inf)


TITLE = '"a ""b"", #1\né"'


@pytest.mark.parametrize(
    ("windows", "rows"),
    [
        ([f"{TITLE},v1,0.500000,1.00,3,6\n", f"{TITLE},v1,0.250000,,1,9223372036854775807"],
         f"{TITLE},v1,0.750000,2305843009213693953.25,4\n"),
        (['"",v1,1,,1,1\n', "", '"",v1,2.5,,2,1\n"",,,,,\n'], '"",v1,3.500000,0.67,3\n"",,,,\n'),
        (["a #1,v,0.000001,,0,1\n"], "a #1,v,0.000001,,0\n"),
    ],
)  # fmt: skip
def test_what_a_service_writes_is_added_up_by_duckdb(tmp_path: Path, windows: list[str], rows: str) -> None:
    """If it left all to Python, the tests above would hold too."""
    made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
    paths = written(tmp_path, made, [window.encode() for window in windows])
    assert (by_duckdb(made, paths) or b"").decode() == rows


def test_what_a_service_writes_is_put_in_order_by_duckdb(tmp_path: Path) -> None:
    """By UTF-8 bytes, empty last, rows of one key as they came, a last line without its end."""
    made = how("VIEWS", "VIDEO_TITLE DAY")
    windows = [f"😀,d,1\nb,d,9\n,d,2\n{TITLE},d,3\n", 'b,d,8\nb,d,\n"",d,4\né,d,5\n\uffff,d,6']
    paths = written(tmp_path, made, [window.encode() for window in windows])
    wanted = f'{TITLE},d,3\nb,d,9\nb,d,8\nb,d,\né,d,5\n\uffff,d,6\n😀,d,1\n,d,2\n"",d,4\n'
    assert (by_duckdb(made, paths) or b"").decode() == wanted


@pytest.mark.parametrize(
    "row",
    thin_out(
        [
            *(
                "a,v,1e3,,1,1",
                "a,v,1.0000005,,1,1",
                f"a,v,1,,{'9' * 19},1",
                "a,v,1,,1,-0",
                'a,v,"1",,1,1',
                "a,v,1,,1,1,",
            ),
            *('a"b,v,1,,1,1', '"a",v,1,,1,1', "a,v,1,,1,1\n", 'a,v,1, "",1,1', '"a #",v,1,,1,1\na #,v,1,,1,1'),
        ],
        3,
    ),
)
def test_what_might_come_to_other_bytes_is_left_to_python(tmp_path: Path, row: str) -> None:
    """Numbers that DuckDB would round or not hold, and cells that it would write otherwise than they came."""
    made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
    paths = written(tmp_path, made, [b"b,v,1,,1,1\n", f"{row}\n".encode()])
    assert by_duckdb(made, paths) is None


@pytest.mark.long
def test_many_rows_of_equal_keys_stay_as_they_came(tmp_path: Path) -> None:
    """More than one thread reads at once: the order of rows is that of the files all the same."""
    made = how("VIEWS", "VIDEO_TITLE DAY")
    window = "".join(f"t{number % 7},d,{number}\n" for number in range(10_000)).encode()
    paths = written(tmp_path, made, [window] * 9)
    assert merged(made, paths, worth=0) == merged(made, paths, worth=inf)
    assert by_duckdb(made, paths) is not None


def test_whoever_ends_a_merge_early_leaves_nothing_behind(tmp_path: Path) -> None:
    """DuckDB has let go when the merge is closed, and its folder is gone."""
    made = how("VIEWS", "VIDEO_TITLE DAY")
    window = "".join(f"t{number % 7919},d,{number}\n" for number in range(30_000)).encode()
    paths = written(tmp_path, made, [window] * 9)
    merging = merge(made, paths, Kept(), tmp_path, worth=0)
    next(merging)
    merging.close()
    assert sorted(tmp_path.iterdir()) == paths
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reelport-merge")]


_INTERRUPTED = """
import sys, time
from contextlib import closing
from pathlib import Path
from tests.client.ranges.test_duckdb_merge import Kept, how, merge

folder = Path(sys.argv[1])
try:
    with closing(merge(how("VIEWS", "VIDEO_TITLE DAY"), sorted(folder.glob("window*")), Kept(), folder)) as merging:
        next(merging)
        print("ready", flush=True)
        for _ in merging:
            pass
        time.sleep(600)
except KeyboardInterrupt:
    print(sorted(path.name for path in folder.iterdir()))
"""


def test_ctrl_c_ends_a_merge_that_duckdb_is_at(tmp_path: Path) -> None:
    """It comes through at once, and nothing but the windows is left."""
    made = how("VIEWS", "VIDEO_TITLE DAY")
    window = "".join(f"t{number % 7919},d,{number}\n" for number in range(30_000)).encode()
    paths = written(tmp_path, made, [window] * 9)
    words = [sys.executable, "-c", _INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == f"{[path.name for path in paths]}\n"


_WITHOUT = """
import logging, sys
from pathlib import Path
from tests.client.ranges.test_duckdb_merge import METRICS, how, merged

sys.modules["duckdb"] = None  # as where it isn't installed
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
sys.stdout.buffer.write(merged(made, sorted(Path(sys.argv[1]).glob("window*")), worth=0))
"""


def test_without_duckdb_python_merges_and_the_log_says_so(tmp_path: Path) -> None:
    """The same bytes; whoever wonders why it takes long finds what to install."""
    made = how(METRICS, "VIDEO_TITLE VIDEO_ID")
    paths = written(tmp_path, made, [b"b,v,1.500000,,1,7\n", b"a,v,2.000000,,1,1\nb,v,1.000000,,2,1\n"])
    words = [sys.executable, "-c", _WITHOUT, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stdout == merged(made, paths, worth=0)
    assert done.stderr.decode().strip() == (
        "reelport INFO merging without DuckDB: it is not installed "
        "(pip install 'reelport[duckdb]' in the environment that has reelport)"
    )
