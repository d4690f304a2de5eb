"""Which workers are ready for reports, on whatever machine: each writes a heartbeat into the state, by its clock.

Of a worker of this machine it is known at once when it dies (`presence`); of another one once its heartbeats stop.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import Engine, TextClause, text

from reelport.server.queue import liveness
from reelport.server.settings import Settings
from reelport.server.state.database import load_statements, reading, writing

BEAT_SECONDS = 10.0
"""How often a worker writes its heartbeat."""
SILENT_SECONDS = 35.0
"""After so long without one a worker counts as dead: three heartbeats, and some room."""
_FORGOTTEN_SECONDS = 3600.0


@cache
def _load_statements() -> dict[str, TextClause]:
    return {name: text(statement) for name, statement in load_statements("queue/worker_registry").items()}


def record_heartbeat(db: Engine, owner: str) -> None:
    """Say that this worker is ready."""
    with writing(db) as connection:
        connection.execute(_load_statements()["beat"], {"owner": owner})


def unregister(db: Engine, owner: str) -> None:
    """Say that this worker takes no more reports, and forget those that have been silent for long."""
    with writing(db) as connection:
        connection.execute(_load_statements()["leave"], {"owner": owner})
        connection.execute(_load_statements()["forget"], {"longest": round(_FORGOTTEN_SECONDS * 1000)})


def list_ready(db: Engine, settings: Settings) -> tuple[str, ...]:
    """The workers that are ready now. StorageError when the state can't be read."""
    with reading(db) as connection:
        fresh = (
            connection.execute(_load_statements()["fresh"], {"longest": round(SILENT_SECONDS * 1000)}).scalars().all()
        )
    here = frozenset(liveness.list_living(settings))
    return tuple(owner for owner in fresh if owner in here or not liveness.is_of_this_machine(owner))
