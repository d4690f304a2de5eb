"""The command that hears of a failure: what it may take, and what is no failure."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from tests.patience import until

from reelport.cli.client_commands.on_failure import run_on_failure
from reelport.errors import NotFinished, ServiceError


def test_a_command_that_never_ends_is_ended_with_what_it_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure itself goes on as if nobody had heard of it."""
    command = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(ServiceError, match="no answer"), run_on_failure(command, {}, patience=5):
        raise ServiceError("no answer")
    assert "took longer than 5 seconds and was ended" in capsys.readouterr().err
    assert until(lambda: has_ended(int((tmp_path / "child").read_text())))


def has_ended(process: int) -> bool:
    """Whether a process is gone, or waits for nobody but its parent."""
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def stop() -> None:
    """End as a command does at a Ctrl-C."""
    try:
        raise KeyboardInterrupt  # noqa: TRY301 - the stop itself
    except KeyboardInterrupt:
        raise NotFinished("Interrupted; nothing is lost.", "")  # noqa: B904 - so it is raised


def test_a_stop_is_no_failure(tmp_path: Path) -> None:
    """Whoever pressed Ctrl-C knows."""
    with pytest.raises(NotFinished), run_on_failure(f"touch {tmp_path}/told", {}):
        stop()
    assert not (tmp_path / "told").exists()
