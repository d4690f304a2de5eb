"""What a response's head says of a file, and rows that are counted while the bytes pass, in pieces of any size."""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import nullcontext, suppress
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelport import IncompleteDownload, ReportQuery
from reelport.catalog import CellType, Metric
from reelport.client.files.csv_checks import Lines, Rows
from reelport.client.files.resumable_transfer import Promise, _Unpacker, check_head
from reelport.client.steps import Reply
from reelport.errors import ReelportError, ReportExpired, ServiceError, Unreachable

QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2026, 1, 1), date(2026, 1, 9))

cells = st.text(st.sampled_from('ab,"\né \r'), max_size=6)
tables = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=6))


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\n\r') else cell


def written(rows: list[list[str]], width: int) -> bytes:
    """A CSV with a header, as a vendor's own writer quotes it; an empty cell is empty."""
    names = [f"c{at}" for at in range(width)]
    lines = [",".join(map(quoted, row)) for row in [names, *rows]]
    return ("\n".join(lines) + "\n").encode()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def counted(data: bytes, size: int) -> int:
    lines = Lines()
    for piece in pieces(data, size):
        lines.feed(piece)
    return lines.rows


def held(data: bytes, size: int, width: int) -> None:
    rows = Rows(width, None)
    for piece in pieces(data.partition(b"\n")[2], size):
        rows.feed(piece)
    rows.end()


@given(rows=tables, size=st.integers(1, 9))
def test_a_whole_file_is_counted_and_held(rows: list[list[str]], size: int) -> None:
    """Quotes, commas and line ends in cells, blank lines of one empty cell: every row counts once and fits."""
    width = len(rows[0]) if rows else 2
    data = written(rows, width)
    assert counted(data, size) == len(rows)
    held(data, size, width)
    if width > 1:  # Python's reader skips the blank line that is one empty cell.
        assert len(list(csv.reader(io.StringIO(data.decode(), newline="")))) == len(rows) + 1


@given(rows=tables.filter(bool), size=st.integers(1, 9), data=st.data())
def test_a_cut_inside_a_row_is_seen(rows: list[list[str]], size: int, data: st.DataObject) -> None:
    """Wherever a file of several columns stops but at a line end: too few cells, an open quote, or no line end."""
    width = len(rows[0])
    whole = written(rows, width)
    header = whole.index(b"\n") + 1
    cut = whole[: data.draw(st.integers(header, len(whole) - 1))]
    lines = Lines()
    lines.feed(cut)
    try:
        held(cut, size, width)
    except IncompleteDownload:
        return
    assert not lines.closed or counted(cut, size) < len(rows)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"2026-01-01,A,1\n2026-01-02,B\n2026-01-03,C,1\n", "Row 2 has 2 cells where the header has 3"),
        (b"2026-01-01,A,1\n2026-01-02,B,1,1\n", "Row 2 has 4 cells"),
        (b'2026-01-01,"A,1\n2026-01-02,B,1\n', "A quote never closes"),
        (b"2026-01-01,A,1\n2026-01-02,B", "Row 2 has 2 cells"),
        (b"2026-01-01,A,1\n\n2026-01-03,C,1\n", "Row 2 has 1 cells"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(body: bytes, says: str, size: int) -> None:
    """The number of the row, how many cells it has and how many there should be."""
    with pytest.raises(IncompleteDownload, match=says):
        held(b"day,video_title,views\n" + body, size, 3)


@pytest.mark.parametrize("size", [1, 7, 11, 1000])
@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b"2026-01-01,A,1\n2026-01-09,A,1\n", True),
        (b"2026-01-01,A,1\n2026-01-10,A,1\n", False),
        (b"2025-12-31,A,1\n", False),
        (b'2026-01-01,"text\n2031-01-01,",1\n', True),
        (b'2026-01-01,"a ""b""\n",1\n2031-01-01,B,1\n', False),
        (b'"2026-01-09",A,1\n"2031-01-01",A,1\n', False),
        (b'"2026-01-09\n","2031-01-01\n",1\n', True),
        (b"2026-01-01,2031-01-01,1\n2026-01-02,2031-01-01,1\n", True),
        (b"20260101,A,1\n", True),
        (b"2026-13-77,A,1\n", True),
        (b"2026-01-01," + b"A" * 5000 + b",1\n2031-01-01,B,1\n", False),
    ],
)
def test_days_lie_inside_of_the_range(body: bytes, size: int, good: bool) -> None:
    """A first cell that is a day outside of what was asked for is refused; a text that only looks like one isn't."""
    rows = Rows(3, QUERY)
    with nullcontext() if good else pytest.raises(ServiceError, match="outside of the range"):
        for piece in pieces(body, size):
            rows.feed(piece)


@given(
    st.lists(st.tuples(st.sampled_from(range(1, 10)), cells, st.booleans()), min_size=1, max_size=40),
    st.none() | st.integers(0, 39),
    st.integers(1, 60),
)
def test_one_day_outside_is_found_among_any_others(
    rows: list[tuple[int, str, bool]], wrong: int | None, size: int
) -> None:
    """In order or not, few days or many, in quotes or not, whatever the other cells hold and wherever pieces end."""
    texts = [f"2026-01-{day:02}" for day, _, _ in rows]
    if wrong is not None and wrong < len(rows):
        texts[wrong] = "2026-01-10"
    lines = [
        f'"{text}",{quoted(cell)},1\n' if marked else f"{text},{quoted(cell)},1\n"
        for text, (_, cell, marked) in zip(texts, rows, strict=True)
    ]
    good = "2026-01-10" not in texts
    watch = Rows(3, QUERY)
    with nullcontext() if good else pytest.raises(ServiceError, match="outside of the range"):
        for piece in pieces("".join(lines).encode(), size):
            watch.feed(piece)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"2026-01-01,A,1\n2026-01-01,B,1\n2026-01-02,A,1\n", None),
        (b"2026-01-01,A,1\n2026-01-01,A,2\n", "2026-01-01,A: they would count twice"),
        (b'2026-01-01,"A,\nB",1\n2026-01-01,"A,\nB",2\n', "count twice"),
        (b"2026-01-01,A,1\n2026-01-02,B,1\n2026-01-01,A,1\n2026-01-02,B,1\n", "count twice"),
        (b"2026-01-01,A,1\n2026-01-01,A,2", "count twice"),
        (b"2026-01-01,,1\n2026-01-01,,2\n", None),
        (b'2026-01-01,the "A, B" of C,1\n', None),
        (b"2026-01-01,A,many\n", "Row 1, column views: 'many' is no number"),
        (b"2026-01-01,A,1\n2026-01-02,A,\xff\xfe\r\n", "Row 2, column views: '��' is no number"),
        (b"2026-01-01,A,1\n2026-01-02,A,1.2.3", "Row 2"),
        (b'2026-01-01,A,"+1.5e3"\r\n2026-01-02,A,\n2026-01-03,A, 7 \n2026-01-04,A,.5\n', None),
    ],
)
def test_metrics_are_numbers_and_no_key_comes_twice(body: bytes, says: str | None, size: int) -> None:
    """Neighbours of one key, and a file that is there twice, are refused; an empty cell may stand for several."""
    rows = Rows(3, QUERY)
    with nullcontext() if says is None else pytest.raises(ServiceError, match=says):
        for piece in pieces(body, size):
            rows.feed(piece)
        rows.end()


@given(
    body=st.text(st.sampled_from('a1.," \n\ré'), max_size=60), size=st.integers(1, 20), width=st.sampled_from([2, 3])
)
@example(body="1,\r\r\n", size=9, width=2)
def test_whatever_comes_is_taken_or_refused(body: str, size: int, width: int) -> None:
    """No bytes are too odd for the sentence that tells what is wrong with them."""
    rows = Rows(width, QUERY if width == 3 else ReportQuery.of(["VIEWS", "ECPM_EUR"], [], QUERY.start, QUERY.end))
    with suppress(ServiceError):
        for piece in pieces(body.encode(), size):
            rows.feed(piece)
        rows.end()


@pytest.mark.parametrize(
    ("dimensions", "most"), [([], 1), (["DAY"], 9), (["MONTH"], 1), (["HOUR"], 9 * 24), (["MONTH", "DAY"], 9)]
)
def test_there_are_no_more_rows_than_times(dimensions: list[str], most: int) -> None:
    """Where days, hours or months alone tell rows apart, one row more than there are is refused, in any order."""
    query = ReportQuery.of(["VIEWS"], dimensions, QUERY.start, QUERY.end)
    key = ",".join(["{0}"] * len(dimensions))
    rows = Rows(len(dimensions) + 1, query)
    line = f"{key},1\n" if key else "1\n"
    for number in range(most):
        rows.feed(line.format(f"t{number}").encode())
    rows.feed(line.format("more").encode())
    with pytest.raises(ServiceError, match=f"more than {most} row"):
        rows.end()


@pytest.mark.parametrize("cell", [b"x" * 65536, b'"' + b"xx\n" * 40000 + b'"'])
def test_a_row_without_an_end_is_not_held_in_memory(cell: bytes) -> None:
    """From a megabyte on it is refused, and what follows of it is let go."""
    rows = Rows(3, QUERY)
    rows.feed(b"2026-01-01,")
    for _ in range(20):
        rows.feed(cell)
    rows.feed(b",1\n2026-01-02,B,1\n")
    with pytest.raises(ServiceError, match="Row 1 is longer than 1"):
        rows.end()


def test_a_row_of_all_metrics_is_refused_as_fast_as_one_of_few() -> None:
    """Each number is read in one way only: two ways would make 2**n of n numbers, which never ends."""
    names = [name for name, metric in Metric.__members__.items() if metric.type is CellType.INTEGER]
    rows = Rows(len(names) + 1, ReportQuery.of(names, ["VIDEO_TITLE"], QUERY.start, QUERY.end))
    rows.feed(b"A," + b"1," * (len(names) - 1) + b"x\n")
    with pytest.raises(ServiceError, match=f"column {names[-1].lower()}: 'x'"):
        rows.end()
    assert len(names) > 30


def test_a_metric_that_the_catalog_lacks_may_be_a_text() -> None:
    """Another vendor may have metrics of its own, and nothing is known of their cells."""
    query = ReportQuery.of(["MOOD", "VIEWS"], ["VIDEO_TITLE"], QUERY.start, QUERY.end)
    rows = Rows(3, query)
    rows.feed(b'A,"so, so",1\n')
    rows.end()
    rows.feed(b"A,good,x\n")
    with pytest.raises(ServiceError, match="column views: 'x'"):
        rows.end()


def test_a_few_packed_bytes_never_become_very_many_at_once() -> None:
    """What a piece of gzip unpacks to comes in pieces of a megabyte at most, and all of it."""
    whole = b"2026-01-01,A,1\n" * 1_000_000
    unpacker, size = _Unpacker(), 0
    for piece in pieces(gzip.compress(whole), 65536):
        for data in unpacker.unpack(piece):
            assert len(data) <= 1 << 20
            size += len(data)
    assert size + sum(map(len, unpacker.end())) == len(whole)


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (ReportExpired, (400, 401, 403, 404, 410)),
        (Unreachable, (408, 425, 429, 500, 502, 503, 504)),
        (ServiceError, (204, 300, 402, 405, 418, 501)),
    ],
)
def test_a_status_tells_an_expired_link_from_a_service_to_be_tried_again(
    error: type[ReelportError], statuses: tuple[int, ...]
) -> None:
    """Hosts of signed links refuse an expired one by several statuses; what passes is retried; the rest is final."""
    for status in statuses:
        with pytest.raises(ReelportError) as caught:
            check_head(Reply(status, {}, b""))
        assert type(caught.value) is error, status


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", "gzip", "x-gzip"])
def test_encodings_that_are_read(encoding: str) -> None:
    """A host may say that a file has no encoding; gzip has an old name."""
    head = Reply(200, {"content-encoding": encoding}, b"")
    check_head(head)
    assert Promise.of(head).encoded is encoding.endswith("gzip")


@pytest.mark.parametrize("status", [200, 206])
def test_only_a_partial_response_has_a_range(status: int) -> None:
    """A `Content-Range` beside a whole file means nothing: the body begins at the file's first byte."""
    promise = Promise.of(Reply(status, {"content-range": "bytes 7-9/10", "content-length": "3"}, b""))
    assert (promise.start, promise.total) == ((7, 10) if status == 206 else (0, 3))
