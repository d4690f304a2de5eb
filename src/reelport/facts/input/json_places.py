"""Find file and line of an NDJSON object by its number: DuckDB numbers objects, not lines."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from reelport.facts.input.files import InputFile
from reelport.facts.input.lines import LineReader


class ObjectPlaces:
    """Finds an object's file and line by its number, from 1, through all files in order.

    The lines without an object are either added file by file, or found when the first object is located.
    """

    def __init__(self, files: Sequence[InputFile]) -> None:
        self._files = files
        self._others: list[array[int]] = []
        self._ends: list[int] = []

    def add_file(self, lines: int, others: array[int]) -> None:
        """Add the next file: its lines, and the sorted numbers of those without an object."""
        self._others.append(others)
        self._ends.append((self._ends[-1] if self._ends else 0) + lines - len(others))

    def locate(self, number: int) -> tuple[int, int]:
        """Return the file, from 0, and the line, from 1, of the object with this number."""
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
    """Return the line of the object with this number; `others` are the lines without one."""
    return number + bisect_right(range(len(others)), number, key=lambda place: others[place] - place)
