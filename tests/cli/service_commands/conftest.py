"""What the tests of a platform's commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.forked import COMMANDS, PIPE, Popen
from tests.migrated import begin_state

from reelport.cli.main import main
from reelport.server.settings import read_settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command line over the test's data directory, another or none named: its exit status, stdout and stderr."""

    def call(*words: object, data: str | Path | None = tmp_path / "data") -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*map(str, words), *(() if data is None else ("--data", str(data)))])
        return int(left.value.code or 0), *capsys.readouterr()

    yield call
    # `serve` and `worker` have set up logging to a stream that ends with this test.
    logging.basicConfig(force=True)


class Commands:
    """Runs commands, each a process of its own with a real standard input, over one data directory in a folder."""

    def __init__(self, folder: Path, *organizations: str) -> None:
        self._folder = folder
        begin_state(read_settings(data=folder / "data"))
        for name in organizations:
            assert self("org", "add", name)[0] == 0

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Run one that reads this text: its exit status, stdout and stderr."""
        typed = self._folder / "typed.txt"
        typed.write_bytes(stdin.encode())
        command = ["-m", "reelport", *words, "--data", str(self._folder / "data")]
        with typed.open() as source, Popen(command, stdin=source, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as process:
            out, err = process.communicate()
        return process.wait(), out, err
