"""Read numbered lines from a byte stream in bounded memory; lines can be pushed back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from reelport.errors import BadInput
from reelport.facts.input.files import InputFile, OpenedFile

_CHUNK = 1 << 22
LONGEST_LINE = 1 << 24
"""The most bytes that one line may have."""
_MARK = b"\xef\xbb\xbf"


class LineReader:
    """Iterates over numbered lines, from 1, without line feeds and without a UTF-8 BOM."""

    def __init__(self, stream: OpenedFile, file: InputFile) -> None:
        self._stream = stream
        self._file = file
        self._rest = b""
        self._started = False
        self._ended = False
        self._next = 1
        self._given_back: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while True:
            if not self._given_back:
                read = self._read()
                if read is None:
                    return
                self._given_back.extend(enumerate(read[1], read[0]))
                continue
            yield self._given_back.popleft()

    def read_block(self) -> tuple[int, list[bytes]] | None:
        """Read all lines in memory, after the number of the first; None at the end."""
        if self._given_back:
            first = self._given_back[0][0]
            lines = [line for _, line in self._given_back]
            self._given_back.clear()
            return first, lines
        return self._read()

    def push_back(self, first: int, lines: list[bytes]) -> None:
        """Push lines back, to be read again before all others."""
        self._given_back.extendleft(reversed(list(enumerate(lines, first))))

    def _read(self) -> tuple[int, list[bytes]] | None:
        while not self._ended:
            chunk = self._stream.read(_CHUNK)
            if not self._started:
                chunk = chunk.removeprefix(_MARK)
                self._started = True
            self._ended = not chunk
            lines = (self._rest + chunk).split(b"\n")
            self._rest = b"" if self._ended else lines.pop()
            if self._ended and lines == [b""]:
                return None
            if len(self._rest) > LONGEST_LINE:
                where = self._next + len(lines)
                raise BadInput(f"{self._file.path}: line {where} is longer than {LONGEST_LINE >> 20} MiB")
            if lines:
                first, self._next = self._next, self._next + len(lines)
                return first, lines
        return None
