"""Registers the workers of every machine that are ready.

Each writes heartbeats into the state, by the state's clock. A worker of this data directory is known to be dead at once
(see `liveness`), one of another directory or machine when its heartbeats stop.
"""

from __future__ import annotations

from sqlalchemy import Engine

from reelport.server.queue import liveness
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing
from reelport.server.state.statements import Statements

_SQL = Statements("queue/worker_registry")
BEAT_SECONDS = 10.0
"""Seconds between two heartbeats of a worker."""
SILENT_SECONDS = 35.0
"""Seconds without a heartbeat after which a worker counts as dead: three heartbeats and some slack."""
_FORGOTTEN_SECONDS = 3600.0


def record_heartbeat(db: Engine, owner: str) -> None:
    """Record that this worker is alive and ready."""
    with writing(db) as connection:
        _SQL.run(connection, "beat", {"owner": owner})


def unregister(db: Engine, owner: str) -> None:
    """Remove this worker, and every other that has sent no heartbeat for an hour."""
    with writing(db) as connection:
        _SQL.run(connection, "leave", {"owner": owner})
        _SQL.run(connection, "forget", {"longest": round(_FORGOTTEN_SECONDS * 1000)})


def list_ready(db: Engine, settings: Settings) -> tuple[str, ...]:
    """List the workers that are ready now. StorageError when the state can't be read."""
    with reading(db) as connection:
        fresh = _SQL.run(connection, "fresh", {"longest": round(SILENT_SECONDS * 1000)}).scalars().all()
    here = frozenset(liveness.list_living(settings))
    return tuple(owner for owner in fresh if owner in here or not liveness.is_of_this_directory(settings, owner))
