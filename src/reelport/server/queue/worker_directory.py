"""Begins the data directory of a machine that runs workers alone.

Only where it is to hold nothing that others need: the state lies in PostgreSQL, tables and finished reports in an
object store. A directory that looks new because its disk is away then passes for no service without facts: what the
worker makes there can be made again.
"""

from __future__ import annotations

import structlog

from reelport.errors import UsageError
from reelport.facts.layout import FILE_NAME, check_layout
from reelport.server.credentials import SECRET_FILE, has_service_secret, load_service_secret
from reelport.server.settings import Settings
from reelport.server.state.database import open_database, reading
from reelport.server.state.revisions import read_revision
from reelport.server.state.secret_fingerprint import read_fingerprint
from reelport.storage.durable import translate_io_errors
from reelport.storage.folder_lock import lock_folder
from reelport.storage.modes import private

_PREPARED = frozenset({SECRET_FILE, "lost+found"})
"""What may lie in a directory that is still new: a secret that was put there, and what a new file system has."""
_log = structlog.get_logger()


def can_begin(settings: Settings) -> bool:
    """Whether a worker may make this data directory if it is new.

    It may where all that others need lies elsewhere. A directory in a folder that isn't there either is a name that was
    mistyped.
    """
    data = settings.data
    has_place = data.is_dir() or (not data.exists() and data.absolute().parent.is_dir())
    return bool(settings.database_url and settings.facts_url and settings.files_url) and has_place


def begin_directory(settings: Settings) -> None:
    """Make a new data directory for a worker, where it may; else do nothing.

    It is new if it is empty, or missing in a folder that is there. UsageError unless the state is there and was made
    under this secret, StorageError when it can't be read.
    """
    data = settings.data
    with translate_io_errors(data):
        if (data / FILE_NAME).exists() or not can_begin(settings):
            return
    if (fault := _find_state_fault(settings)) is not None:
        raise UsageError(f"{data.absolute()} is no data directory yet, and this worker makes none: {fault}")
    with translate_io_errors(data), private():
        data.mkdir(exist_ok=True)
        with lock_folder(data):  # another worker may begin at the same moment
            if {path.name for path in data.iterdir()} <= _PREPARED:
                check_layout(data)
                _log.info("data directory made", path=str(data.absolute()))


def _find_state_fault(settings: Settings) -> str | None:
    """Say why this is not the state of the service that the worker is for; None if it is."""
    if not has_service_secret(settings):
        return "set REELPORT_SECRET to the service's secret."
    db = open_database(settings)
    try:
        with reading(db) as connection:
            found = None if read_revision(connection) is None else read_fingerprint(connection)
    finally:
        db.dispose()
    if found is None:
        return "the database of REELPORT_DATABASE_URL belongs to no service yet. Start `reelport serve` first."
    if found != load_service_secret(settings).fingerprint:
        return "the service's state was made under another secret. Set REELPORT_SECRET to that one."
    return None
