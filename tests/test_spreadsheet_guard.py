"""A CSV for a spreadsheet: it says that it is UTF-8, no cell begins a formula, and nothing else of it changes."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.spreadsheet_guard import SpreadsheetGuard

_FORMULA = re.compile(r"[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def guarded(report: bytes) -> tuple[bytes, int]:
    """What becomes of a report, and how many of its cells were changed; the same however it is cut."""
    found = {_guard_pieces(report, size) for size in (1, 2, 7, len(report) + 1)}
    assert len(found) == 1
    return found.pop()


def _guard_pieces(report: bytes, size: int) -> tuple[bytes, int]:
    guard = SpreadsheetGuard()
    made = [guard.feed(report[at : at + size]) for at in range(0, len(report), size)]
    return b"".join((*made, guard.flush())), guard.changed


def written(cell: str) -> str:
    """A cell as a service writes it."""
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if set(cell) & set(',"\r\n') else cell


def rows_of(report: bytes) -> list[list[str]]:
    """The cells, as Python reads them."""
    return list(csv.reader(io.StringIO(report.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    ("cell", "becomes"),
    [
        ("=1+1", '"\'=1+1"'),
        ('"=HYPERLINK(""http://e/"",""x"")"', '"\'=HYPERLINK(""http://e/"",""x"")"'),
        ("+33 1", '"\'+33 1"'),
        ("-2+3", '"\'-2+3"'),
        ("@SUM(A1)", '"\'@SUM(A1)"'),
        ("\tx", '"\'\tx"'),
        ('"\rx"', '"\'\rx"'),
        ("\uff1d1", '"\'\uff1d1"'),
        ("a;=1", '"a;\'=1"'),
        ('"-5,x"', '"\'-5,x"'),
        ('"a;-5x"', '"a;\'-5x"'),
        ('"a\n=1"', '"a\n\'=1"'),
        ('"a\r\n=1"', '"a\r\n\'=1"'),
        ('"a\r\n\r\n=1"', '"a\r\n\r\n\'=1"'),
        ('"\r\nx"', '"\'\r\nx"'),
        ('"a;\r\nx"', '"a;\'\r\nx"'),
        ('=a"b', '"\'=a""b"'),
        ('"-5\n*cmd|x"', '"\'-5\n*cmd|x"'),
        ("-1\t&HYPERLINK(A1)", '"\'-1\t&HYPERLINK(A1)"'),
    ],
)
def test_a_cell_that_begins_a_formula_gets_an_apostrophe(cell: str, becomes: str) -> None:
    """In quotes or not, first or last, also where a spreadsheet splits cells at semicolons, tabs or line ends."""
    for line in ("{},b\n", "a,{}\n", "a,{},b\r\n", "{}"):
        made, changed = guarded(f"x,y\n{line.format(cell)}".encode())
        assert (made.decode(), changed) == (f"\ufeffx,y\n{line.format(becomes)}", 1)


@pytest.mark.parametrize(
    "line",
    [
        "-5,-5.25,+3,-4e-05",
        '"a;-5",b',
        '"-7",""',
        ",,",
        "a=b,a-b,a@b",
        '"a,=b"',
        "2026-01-01,x",
        '"a\r\nb"',
        '"a\r\n\r\nb\r\n"',
        '"say ""=1"""',
        "é,'",
    ],
)
def test_all_else_stays_byte_for_byte(line: str) -> None:
    """Numbers stay numbers, an empty text and an empty cell what they are; a byte order mark is there once."""
    report = f"day,views\n{line}\n"
    safe = f"\ufeff{report}".encode()
    assert guarded(report.encode()) == guarded(safe) == (safe, 0)


def test_a_file_without_any_byte_stays_so() -> None:
    """No mark is made of nothing."""
    assert guarded(b"") == (b"", 0)


CELLS = st.text(alphabet=st.sampled_from("=+-@\t\r\n,;\"' a5.\uff1d"), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=4))
def test_whatever_the_cells_no_formula_begins_and_no_row_is_lost(rows: list[list[str]]) -> None:
    """As many rows and cells; each is as it was, or has apostrophes more; none begins a formula but numbers."""
    report = "".join(",".join(map(written, row)) + "\n" for row in rows).encode()
    made, changed = guarded(report)
    assert made.startswith(b"\xef\xbb\xbf")
    before, after = rows_of(report), rows_of(made)
    assert [len(row) for row in after] == [len(row) for row in before]
    pairs = [pair for old, new in zip(before, after, strict=True) for pair in zip(old, new, strict=True)]
    assert changed == sum(old != new for old, new in pairs)
    for old, new in pairs:
        assert new.replace("'", "") == old.replace("'", "")
        for part in re.split(r"[;\t\r\n]", new):
            assert _NUMBER.fullmatch(part) or not _FORMULA.match(part), (old, new)
        for part in new.split(";"):  # a tab or line end is white space in a formula
            assert _NUMBER.fullmatch(part) or not _FORMULA.match(part), (old, new)
    assert guarded(made) == (made, 0)
