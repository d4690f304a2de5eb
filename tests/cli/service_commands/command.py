"""Commands of a platform, each a process of its own with a real standard input, over one data directory."""

from __future__ import annotations

from pathlib import Path

from tests.forked import COMMANDS, PIPE, Popen
from tests.migrated import begin_state

from reelport.server.settings import read_settings


class Commands:
    """Runs commands over a data directory in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        begin_state(read_settings(data=folder / "data"))

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Run one that reads this text: its exit status, stdout and stderr."""
        typed = self._folder / "typed.txt"
        typed.write_bytes(stdin.encode())
        command = ["-m", "reelport", *words, "--data", str(self._folder / "data")]
        with typed.open() as source, Popen(command, stdin=source, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as process:
            out, err = process.communicate()
        return process.wait(), out, err
