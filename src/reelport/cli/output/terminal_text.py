"""Make text safe for a terminal: no control characters, no changes of writing direction."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import BinaryIO

_STEERING_INSIDE_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    """Write the control characters of a JSON text as escapes: `json` escapes some of them alone."""
    return _STEERING_INSIDE_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class CleanedOutput:
    """Writes UTF-8 to a terminal, with U+FFFD for control characters; line ends and tabs stay.

    A byte order mark in front is left out.
    """

    def __init__(self, terminal: BinaryIO) -> None:
        self._terminal = terminal
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._held = ""

    def write(self, data: bytes, /) -> int:
        """Write bytes. A final carriage return waits for the next byte: a line may end there."""
        text = self._held + self._decoder.decode(data)
        self._held = "\r" if text.endswith("\r") else ""
        self._put(text.removesuffix("\r"))
        return len(data)

    def finish(self) -> None:
        """Write what was held back."""
        self._put(self._held + self._decoder.decode(b"", final=True))
        self._held = ""

    def _put(self, text: str) -> None:
        self._terminal.write(_STEERING_INSIDE_LINES.sub("\ufffd", text.replace("\r\n", "\n")).encode())
