"""Tables in an object store, which everybody names by a folder of this machine.

The folder then holds only what is this machine's: work folders, and files that are being written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from reelport.storage.file_cache import FileCache
from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder
from reelport.storage.retries import FIRST_PAUSE, LONGEST_PAUSE, MOST_RETRIES, get_retry_seconds
from reelport.storage.s3_address import S3Address, find_endpoint, is_loopback

_DRAFTS = ".drafts"
_NO_DRAFTS = ".no-drafts"
"""A folder that is never made: in the place of the drafts, for who wants to see none."""


@dataclass(frozen=True, slots=True)
class RemoteTables:
    """Where the tables are that a root folder stands for."""

    address: S3Address
    cache: FileCache

    def open_store(self, folder: Path, *, has_drafts: bool = True) -> FileStore:
        """Open the store of the table of this folder; without drafts of this machine to read only."""
        from reelport.storage.object_store import ObjectStore  # noqa: PLC0415 - loads a library that few need

        cache = replace(self.cache, folder=f"{self.cache.folder}{folder.name}/")
        return ObjectStore(
            self.address.below(folder.name),
            LocalFolder(locate_drafts(folder) if has_drafts else folder.parent / _NO_DRAFTS),
            cache,
        )

    def delta_options(self) -> dict[str, str]:
        """Return the Delta library's options: a commit is a put on condition that there is none."""
        options = {
            "aws_conditional_put": "etag",
            "aws_virtual_hosted_style_request": "false",
            "max_retries": str(MOST_RETRIES),
            "retry_timeout": _format_milliseconds(get_retry_seconds()),
            "backoff_config.init_backoff": _format_milliseconds(FIRST_PAUSE),
            "backoff_config.max_backoff": _format_milliseconds(LONGEST_PAUSE),
        }
        if endpoint := find_endpoint(os.environ):
            options |= {"aws_endpoint": endpoint, "allow_http": str(is_loopback(endpoint)).lower()}
        return options


def _format_milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


_ATTACHED: dict[Path, RemoteTables] = {}
"""The remote tables of this process, by their root folder."""


def attach_tables(root: Path, tables: RemoteTables) -> None:
    """Let a root folder stand for remote tables, in this process."""
    _ATTACHED[root.absolute()] = tables


def find_remote(folder: Path) -> RemoteTables | None:
    """Return the remote tables of which this folder stands for one, if it does."""
    return _ATTACHED.get(folder.absolute().parent)


def locate_drafts(folder: Path) -> Path:
    """Return where files of a table are written: its own folder, or the drafts of a remote one."""
    return folder if find_remote(folder) is None else folder.parent / _DRAFTS / folder.name


def describe_place(folder: Path) -> str:
    """Name the place of a table: its folder, or its address."""
    remote = find_remote(folder)
    return str(folder) if remote is None else str(remote.address.below(folder.name))
