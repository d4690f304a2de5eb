"""The owner of a store of reports: one state of one service.

The owner's sweeps delete every other file in the store.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Engine

from reelport.errors import UsageError
from reelport.server.credentials import has_service_secret, load_service_secret
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.place import find_place, identify_place
from reelport.server.state.secret_fingerprint import read_fingerprint, require_same_secret
from reelport.storage.file_store import FileStore, read_file

NAME = ".reelport-service"
"""The file that holds the fingerprint of a service's secret; no report has such a name."""
PLACE_NAME = ".reelport-state"
"""The file that holds the identity of the place that the service's state lies in."""


def require_own_store(db: Engine, settings: Settings) -> None:
    """Claim the prefix of report files for this state; UsageError if it is another one's."""
    if not settings.files_url:
        return
    own, place = require_same_secret(db, settings).fingerprint, identify_place(db, settings)
    store = settings.report_store
    if _read_owner(store, NAME, own) != own:
        # A state has one secret at a time, and no other service takes a prefix whose state lies elsewhere.
        if _read(store, PLACE_NAME) != place:
            raise UsageError(_describe_other_secret(settings))
        store.put(NAME, own.encode())
    if _read_owner(store, PLACE_NAME, place) != place:
        raise UsageError(_describe_other_place(settings))


def find_owner_fault(db: Engine, settings: Settings) -> str | None:
    """Say why `require_own_store` would refuse the prefix; None where it wouldn't."""
    if not settings.files_url:
        return None
    with reading(db) as connection:
        own = {None, read_fingerprint(connection)}
    if has_service_secret(settings):
        own.add(load_service_secret(settings).fingerprint)
    marked, place = _read(settings.report_store, PLACE_NAME), find_place(db, settings)
    if marked is not None and marked == place:
        return None
    if _read(settings.report_store, NAME) not in own:
        return _describe_other_secret(settings)
    return None if marked is None else _describe_other_place(settings)


def _describe_other_secret(settings: Settings) -> str:
    return (
        f"{settings.files_url} holds the reports of a service with another secret, whose files this one would "
        "delete. Take another prefix (REELPORT_FILES_URL); or, where that service is gone, or was this one before its "
        f"secret was replaced, delete {NAME} there."
    )


def _describe_other_place(settings: Settings) -> str:
    return (
        f"{settings.files_url} holds the reports of this service as it is elsewhere: its state was copied, moved "
        "or restored, and each would delete the other's files. Take another prefix (REELPORT_FILES_URL); or, where "
        f"the other one never starts again, delete {PLACE_NAME} there, and this one takes over."
    )


def _read_owner(store: FileStore, name: str, own: str) -> str | None:
    if (found := _read(store, name)) is not None:
        return found
    with suppress(FileExistsError):
        store.put(name, own.encode(), is_new=True)
        return own
    return _read(store, name)


def _read(store: FileStore, name: str) -> str | None:
    try:
        return read_file(store, name).decode().strip()
    except FileNotFoundError:
        return None
