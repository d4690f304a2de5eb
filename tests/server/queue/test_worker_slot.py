"""How a supervisor replaces a worker that asks for it: with real processes that say what workers say."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

import pytest
from tests.patience import until

from reelport.server.child_process import keep_running
from reelport.server.queue.worker_slot import WorkerSlot

SAYS = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"-") if "long" in sys.argv[2] else os._exit(0))
os.write(int(sys.argv[1]), sys.argv[2].removeprefix('long').encode())
if len(sys.argv) > 3:
    os._exit(int(sys.argv[3]))
os.read(0, 1)
os._exit(1)
"""


class Ticks(threading.Event):
    """A stop that is not given, which counts the rounds of whoever waits for it."""

    rounds = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as an event does."""
        self.rounds += 1
        return super().wait(timeout)


@dataclass
class Supervised:
    """A slot that runs in a thread: what each of its workers says and does, the workers, and deaths."""

    scripts: list[tuple[str, ...]]
    popens: list[subprocess.Popen[bytes]] = field(default_factory=list)
    deaths: list[tuple[int, int]] = field(default_factory=list)
    stopping: Ticks = field(default_factory=Ticks)
    said: IO[bytes] = field(default_factory=TemporaryFile)

    def start(self, pipe: int) -> subprocess.Popen[bytes]:
        """Start the next worker."""
        words = self.scripts[len(self.popens)]
        command = [sys.executable, "-S", "-E", "-c", SAYS, str(pipe), *words]
        self.popens.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.said, pass_fds=(pipe,)))
        return self.popens[-1]

    def run(self) -> threading.Thread:
        """Run the slot in a thread, as a supervisor does."""
        slot = WorkerSlot(self.start, lambda pid, status: self.deaths.append((pid, status)), self.stopping, 5)

        def work() -> None:
            keep_running("worker", slot.run, self.stopping)
            slot.close()

        thread = threading.Thread(target=work)
        thread.start()
        return thread


@pytest.fixture
def supervised(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    """A slot with these scripts, which is stopped afterwards."""
    slot = Supervised(request.param)
    thread = slot.run()
    yield slot
    slot.stopping.set()
    thread.join()
    slot.said.close()
    assert all(popen.poll() is not None for popen in slot.popens)


@pytest.mark.parametrize("supervised", [[("rx",), ("r",)]], indirect=True)
def test_a_worker_goes_once_its_replacement_is_ready(supervised: Supervised) -> None:
    """The first is told to retire and ends by itself; that is no death, and the second goes on."""
    assert until(lambda: len(supervised.popens) == 2 and supervised.popens[0].poll() is not None)
    assert supervised.popens[0].returncode == 0
    assert supervised.popens[1].poll() is None
    assert supervised.deaths == []


@pytest.mark.parametrize("supervised", [[("rx",), ("", "3"), ("r",)]], indirect=True)
def test_a_worker_stays_when_its_replacement_ends_before_it_is_ready(supervised: Supervised) -> None:
    """The death of the replacement is noted; the worker that asked makes reports as before."""
    assert until(lambda: supervised.deaths)
    assert supervised.deaths == [(supervised.popens[1].pid, 3)]
    assert supervised.popens[0].poll() is None


@pytest.mark.parametrize("supervised", [[("rx",), ("",)]], indirect=True)
def test_a_worker_that_dies_while_its_replacement_warms_up_is_a_death(supervised: Supervised) -> None:
    """Its kill is noted, and the replacement is the worker from then on: no third one is started."""
    assert until(lambda: len(supervised.popens) == 2)
    supervised.popens[0].kill()
    assert until(lambda: supervised.deaths)
    assert supervised.deaths == [(supervised.popens[0].pid, -signal.SIGKILL)]
    assert supervised.popens[1].poll() is None


@pytest.mark.parametrize("supervised", [[("longrx",), ("rx",), ("r",)]], indirect=True)
def test_no_worker_is_replaced_while_an_older_one_still_makes_a_report(supervised: Supervised) -> None:
    """A slot has memory for two: the second waits with its wish until the first has ended."""
    assert until(lambda: os.fstat(supervised.said.fileno()).st_size)
    round_ = supervised.stopping.rounds
    assert until(lambda: supervised.stopping.rounds > round_ + 3)
    assert len(supervised.popens) == 2
    supervised.popens[0].kill()
    assert until(lambda: len(supervised.popens) == 3 and supervised.popens[1].poll() == 0)


def test_a_slot_that_has_no_descriptor_for_a_worker_says_so() -> None:
    """It is an end with a reason, which is tried again; descriptors come back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    slot = WorkerSlot(lambda _: pytest.fail("started"), lambda *_: None, threading.Event(), 5)
    taken = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
    try:
        ended = slot.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)
    assert "too many files are open" in str(ended["reason"])
