"""A real service whose serving process is forked from one that has imported the libraries: a start costs a third less.

What a start itself does, and what kills of the whole service do to it, is tried on `reelport.testing.Service`.
"""

from __future__ import annotations

import subprocess
from typing import BinaryIO, cast

from tests import forked
from tests.migrated import begin_state

import reelport.testing


class Service(reelport.testing.Service):
    """Runs `reelport serve` and its workers as the public one; its interpreter and its state don't start anew."""

    def _run(self, environment: dict[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
        begin_state(self.settings)
        words = ["-m", "reelport", "serve"]
        process = forked.Popen(words, env=environment, stdout=log, stderr=log, loads=forked.SERVING)
        return cast("subprocess.Popen[bytes]", process)
