"""A state database that is up to date and holds no row, made once in a process and copied: to make one is dear.

What migrations do is tried in `tests/server/state`; the first state of each process is still made from nothing.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect


def begin_state(settings: Settings) -> None:
    """Give a data directory without a state one that is up to date; PostgreSQL is left as it is."""
    if settings.database_url or settings.state_file.exists():
        return
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(_migrate_once(), settings.state_file)


@cache
def _migrate_once() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="reelport-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = read_settings(data=folder, database_url="")
    connect(settings).dispose()
    return settings.state_file
