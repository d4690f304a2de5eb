"""What the tests of a platform's commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reelport.cli.main import main

Reelport = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reelport(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reelport:
    """Runs a command line over a data directory; its exit status, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*map(str, words), "--data", str(tmp_path / "data")])
        assert isinstance(left.value.code, int)
        return left.value.code, *capsys.readouterr()

    return run
