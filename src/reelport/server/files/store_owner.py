"""The owner of a store of reports: one state of one service.

Its sweeps delete files of all others.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Engine

from reelport.errors import UsageError
from reelport.server.settings import Settings
from reelport.server.state.place import identify_place
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.storage.file_store import FileStore, read_file

NAME = ".reelport-service"
"""The file that holds the fingerprint of a service's secret; no report has such a name."""
PLACE_NAME = ".reelport-state"
"""The file that holds the identity of the place that the service's state lies in."""


def require_own_store(db: Engine, settings: Settings) -> None:
    """Claim the prefix of the finished reports for this service's state, where that lies.

    UsageError where another service has it, or a copy of the state.
    """
    if not settings.files_url:
        return
    own = require_same_secret(db, settings).fingerprint
    if _read_owner(settings.report_store, NAME, own) != own:
        raise UsageError(
            f"{settings.files_url} holds the reports of a service with another secret, whose files this one would "
            f"delete. Take another prefix (REELPORT_FILES_URL); or, where that service is gone, delete {NAME} there."
        )
    place = identify_place(db, settings)
    if _read_owner(settings.report_store, PLACE_NAME, place) != place:
        raise UsageError(
            f"{settings.files_url} holds the reports of this service as it is elsewhere: its state was copied, moved "
            "or restored, and each would delete the other's files. Take another prefix (REELPORT_FILES_URL); or, where "
            f"the other one never starts again, delete {PLACE_NAME} there, and this one takes over."
        )


def _read_owner(store: FileStore, name: str, own: str) -> str:
    """Read whose it is; whoever is first puts its own."""
    with suppress(FileNotFoundError):
        return read_file(store, name).decode().strip()
    with suppress(FileExistsError):
        store.put(name, own.encode(), is_new=True)
        return own
    return read_file(store, name).decode().strip()
