"""Runs a worker in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.patience import PATIENCE

from reelport.server.queue.worker import Worker


@contextmanager
def running_worker(worker: Worker) -> Iterator[None]:
    """Run it within the block, and stop it afterwards."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()
