"""What lists and fields look like where a person reads them, and where a program does."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_NASTY = "a\x1b[2J\x9b31m\u202eb"
_PRINT = """
from reelport.cli.output.listing import print_fields, print_json, print_list
nasty = {nasty!r}
print_fields({{"token": nasty}}, as_json=False)
print_list([{{"token": nasty}}], as_json=False)
print_json({{"token": nasty}})
"""


def _run(stdout: int) -> None:
    command = [sys.executable, "-c", _PRINT.format(nasty=_NASTY)]
    subprocess.run(command, stdout=stdout, check=True, timeout=300, env={**os.environ, "TERM": "dumb"})


def test_a_terminal_gets_no_control_characters_and_a_pipe_all() -> None:
    """A text of a vendor can't steer the terminal of who looks at it; a program reads it as it is."""
    master, slave = os.openpty()
    _run(slave)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert not set(shown) & {"\x1b", "\x9b", "\u202e"}
    assert "a [2J 31m b" in shown
    reader, writer = os.pipe()
    _run(writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        fields, _, listed, *parts = pipe.read().splitlines()
    assert fields == f"token  {_NASTY}"
    assert listed == _NASTY
    assert json.loads("".join(parts)) == {"token": _NASTY}
