"""What a file comes to while it is written is what it comes to when it is whole."""

from __future__ import annotations

import hashlib

import pytest

from reelport.client.files.part import Tally
from reelport.client.files.shape import Lines

BODY = b'day,title\n2026-01-01,"two\nlines"\n' * 120_000


def counted(body: bytes) -> int:
    """The rows below the header, in one go."""
    lines = Lines()
    lines.feed(body)
    return lines.rows


@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20, (1 << 20) + 1, len(BODY)])
def test_pieces_of_any_size_come_to_the_same(piece: int) -> None:
    """Hash and rows are those of the whole; a copy that was taken on the way goes on by itself."""
    tally = Tally()
    for at in range(0, len(BODY), piece):
        tally.feed(BODY[at : at + piece])
        if at == 0:
            begun = tally.copy()
    begun.feed(b"more")
    assert (tally.sha256, tally.rows) == (hashlib.sha256(BODY).hexdigest(), counted(BODY))
    assert begun.sha256 == hashlib.sha256(BODY[:piece] + b"more").hexdigest()
    assert tally.lines.closed


def test_rows_that_are_known_are_not_counted() -> None:
    """They are what was told, of a copy too; the hash is made all the same."""
    tally = Tally(7)
    tally.feed(BODY)
    assert (tally.rows, tally.copy().rows, tally.sha256) == (7, 7, hashlib.sha256(BODY).hexdigest())


def test_lines_that_another_counted_are_not_counted_again() -> None:
    """What is told of a piece is taken for it, among pieces of which nothing is told."""
    tally = Tally()
    tally.feed(b"day,title\n")
    tally.feed(BODY, 5)
    tally.feed(b"2026-01-02,cut")
    assert (tally.rows, tally.lines.closed) == (6, False)
    tally.feed(b" short\n", 1)
    assert (tally.rows, tally.lines.closed) == (6, True)
