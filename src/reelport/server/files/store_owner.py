"""The owner of a store of reports: one service, for its sweeps delete files of others."""

from __future__ import annotations

from contextlib import suppress

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.settings import Settings
from reelport.storage.file_store import FileStore, read_file

NAME = ".reelport-service"
"""The file that holds the fingerprint of a service's secret; no report has such a name."""


def require_own_store(settings: Settings) -> None:
    """Claim the prefix of the finished reports for this service.

    UsageError where another service has it.
    """
    if not settings.files_url:
        return
    own = credentials.load_service_secret(settings).fingerprint
    if _read_owner(settings.report_store, own) != own:
        raise UsageError(
            f"{settings.files_url} holds the reports of a service with another secret, whose files this one would "
            f"delete. Take another prefix (REELPORT_FILES_URL); or, where that service is gone, delete {NAME} there."
        )


def _read_owner(store: FileStore, own: str) -> str:
    """Read whose it is; whoever is first puts its own."""
    with suppress(FileNotFoundError):
        return read_file(store, NAME).decode().strip()
    with suppress(FileExistsError):
        store.put(NAME, own.encode(), is_new=True)
        return own
    return read_file(store, NAME).decode().strip()
