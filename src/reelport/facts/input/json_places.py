"""Where the objects of NDJSON files stand: the engine numbers them, and knows no lines."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from reelport.facts.input.files import InputFile
from reelport.facts.input.lines import LineReader


class ObjectPlaces:
    """Finds the file and line of an object by its number, from 1, among the objects of all files in their order.

    Lines that hold no object are either told, file by file, or looked for when the first object is.
    """

    def __init__(self, files: Sequence[InputFile]) -> None:
        self._files = files
        self._others: list[array[int]] = []
        self._ends: list[int] = []

    def add_file(self, lines: int, others: array[int]) -> None:
        """Take note that the next file has so many lines, and that these of them, in order, hold no object."""
        self._others.append(others)
        self._ends.append((self._ends[-1] if self._ends else 0) + lines - len(others))

    def locate(self, number: int) -> tuple[int, int]:
        """The file, from 0, and the line, from 1."""
        if not self._ends:
            self._count_lines()
        file = bisect_left(self._ends, number)
        return file, _line_of_object(number - (self._ends[file - 1] if file else 0), self._others[file])

    def _count_lines(self) -> None:
        for file in self._files:
            lines, blank = 0, array("q")
            with file.open() as stream:
                for line, raw in LineReader(stream, file):
                    lines = line
                    if not raw.strip():
                        blank.append(line)
            self.add_file(lines, blank)


def _line_of_object(number: int, others: array[int]) -> int:
    """The line of the object of that number, where these lines hold none."""
    low, high = 0, len(others)
    while low < high:
        middle = (low + high) // 2
        if others[middle] - middle <= number:
            low = middle + 1
        else:
            high = middle
    return number + low
