"""A part of the fleet: a program that runs on this machine, can be killed and is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

READY_SECONDS = 180.0
_POLL_SECONDS = 0.05
_STOP_SECONDS = 30.0


class FleetError(Exception):
    """A part didn't start, or ended by itself; the sentence says where its log lies."""


@dataclass
class Part:
    """A program with all that it starts: one session of processes, which a kill ends together."""

    name: str
    command: list[str]
    folder: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it has printed."""
        return self.folder / f"{self.name}.log"

    def launch(self) -> None:
        """Start it. It isn't ready yet."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
            )

    def wait(self) -> None:
        """Wait until it is ready. FleetError when it ends, or takes too long."""
        if self._process is None:
            raise FleetError(f"{self.name} isn't running")
        end = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if (status := self._process.poll()) is not None:
                raise FleetError(f"{self.name} ended with status {status}; its log: {self.log}")
            if time.monotonic() > end:
                raise FleetError(f"{self.name} wasn't ready within {READY_SECONDS:.0f} seconds; its log: {self.log}")
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """Kill it by SIGKILL, with all that it started."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it by SIGTERM; what doesn't end is killed."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, by)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        # A program that lost its leader may have left others of its session behind.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
