"""The files of a table's Delta log: where they lie, their names, a commit's actions.

Everybody names a table in an object store by a folder of this machine, which need not exist.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reelport.errors import StorageError
from reelport.facts.tables import TABLES, Table
from reelport.storage.file_cache import FileCache
from reelport.storage.file_store import FileStore, read_file
from reelport.storage.local_folder import LocalFolder
from reelport.storage.retries import FIRST_PAUSE, LONGEST_PAUSE, MOST_RETRIES, get_retry_seconds
from reelport.storage.s3_address import S3Address, find_endpoint, is_loopback

_NO_DRAFTS = ".no-drafts"
"""A folder that is never made: the drafts of a store whose user writes none."""


@dataclass(frozen=True, slots=True)
class RemoteTables:
    """Where the tables are that a root folder stands for."""

    address: S3Address
    cache: FileCache

    def open_store(self, folder: Path, drafts: Path | None = None) -> FileStore:
        """Open the store of the table of this folder."""
        from reelport.storage.object_store import ObjectStore  # noqa: PLC0415 - loads a library that few need

        cache = replace(self.cache, folder=f"{self.cache.folder}{folder.name}/")
        return ObjectStore(self.address.below(folder.name), LocalFolder(drafts or folder.parent / _NO_DRAFTS), cache)

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


def describe_place(folder: Path) -> str:
    """Name the place of a table: its folder, or its address."""
    remote = find_remote(folder)
    return str(folder) if remote is None else str(remote.address.below(folder.name))


LOG_FOLDER = "_delta_log"
HINT = f"{LOG_FOLDER}/_last_checkpoint"
"""The file that names the last checkpoint."""
_NEWEST: dict[Path, int] = {}
"""The newest version of a remote table that was found last, by the folder that it stands for."""
_FETCHES = 8
"""Commits of a remote log that are fetched at the same time."""
_MOST_AT_ONCE = 512
"""Commits that are asked for, at most, before it is known whether they are needed."""
_COMMIT = re.compile(LOG_FOLDER + r"/(\d{20})\.json")


class DamagedCommit(StorageError):
    """A commit's file is not as it was written."""


def open_store(folder: Path, drafts: Path | None = None) -> FileStore:
    """Open the store of a table's files: data files, and the log below LOG_FOLDER.

    In an object store a file is first written as a draft in the folder `drafts`, which only this store sees, and then
    uploaded. In a folder it is written where it stays.
    """
    remote = find_remote(folder)
    return LocalFolder(folder) if remote is None else remote.open_store(folder, drafts)


def commit_name(version: int) -> str:
    """Name the log's file that holds the commit of this version."""
    return f"{LOG_FOLDER}/{version:020}.json"


def find_commit_tag(store: FileStore, version: int) -> str | None:
    """Find the tag of a commit's file, which a table made anew doesn't share; None without it."""
    found = store.find(commit_name(version))
    return None if found is None else found.tag


def list_commits(store: FileStore, first: int = 0) -> Mapping[int, str]:
    """List the files of a table's commits from this version on, by version."""
    found = map(_COMMIT.fullmatch, store.list_names(LOG_FOLDER, after=f"{LOG_FOLDER}/{first:020}"))
    return {int(match[1]): match[0] for match in found if match}


def find_newest_commit(folder: Path) -> int | None:
    """Find the version of the newest commit; None without one.

    An object store lists a thousand names at a time: only those from the newest that is known on are asked for, which
    is that of the last call, or else of the last checkpoint.
    """
    store, key = open_store(folder), folder.absolute()
    if find_remote(folder) is None:
        return max(list_commits(store), default=None)
    known = _NEWEST.get(key)
    if known is None:
        known = _read_hint(store) or 0
    found = list_commits(store, known)
    if known and known not in found:  # the table was begun anew, or its log is damaged
        found = list_commits(store)
    _NEWEST[key] = max(found, default=0)
    return max(found, default=None)


def _read_hint(store: FileStore) -> int | None:
    """Read of which version the last checkpoint is; None where nothing tells."""
    try:
        told = json.loads(read_file(store, HINT))
    except (FileNotFoundError, ValueError):
        return None
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, int) else None


def read_actions(store: FileStore, name: str) -> list[dict[str, Any]]:
    """Read a commit's actions. FileNotFoundError without its file, DamagedCommit if it is cut."""
    content = read_file(store, name)
    try:
        # A text may hold other ends of lines, such as U+2028, which JSON doesn't escape.
        return [json.loads(line) for line in content.decode().split("\n") if line.strip()]
    except ValueError as error:
        raise DamagedCommit(f"{store.describe(name)} is cut or damaged; run reelport verify") from error


def read_commit(folder: Path, version: int) -> list[dict[str, Any]]:
    """Read the actions of a table's commit. StorageError when its file is missing or cut."""
    try:
        return read_actions(open_store(folder), commit_name(version))
    except FileNotFoundError as error:
        raise StorageError(f"{describe_place(folder)}: commit {version} is gone; run reelport verify") from error


def find_damaged_commit(folder: Path) -> DamagedCommit | None:
    """Find the first damaged commit from the last checkpoint on, as readers of the log meet it."""
    store = open_store(folder)
    for _, name in sorted(list_commits(store, _read_hint(store) or 0).items()):
        try:
            read_actions(store, name)
        except DamagedCommit as damage:
            return damage
        except FileNotFoundError:
            continue
    return None


def read_back(folder: Path, version: int) -> Iterator[dict[str, Any]]:
    """Yield what each commit says of itself, from this version back.

    None is read that isn't asked for. Mostly the newest tell: of an object store as many are fetched at once as were
    read before.
    """
    step = 1
    while version >= 0:
        versions = range(version, max(version - step, -1), -1)
        for found, actions in zip(versions, _read_commits(folder, versions), strict=True):
            yield from ({**action["commitInfo"], "version": found} for action in actions if "commitInfo" in action)
        version, step = version - step, min(2 * step, _MOST_AT_ONCE)


def _read_commits(folder: Path, versions: range) -> Iterator[list[dict[str, Any]]]:
    """Yield the actions of each commit, in order; several are fetched of a store at once."""
    if find_remote(folder) is None:
        yield from (read_commit(folder, version) for version in versions)
        return
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="commits") as pool:
        contexts = [copy_context() for _ in versions]  # they say for how long the store is asked again
        yield from pool.map(lambda context, version: context.run(read_commit, folder, version), contexts, versions)


def has_log(folder: Path) -> bool:
    """Whether the table's folder has a log."""
    return any(open_store(folder).list_names(LOG_FOLDER))


def list_tables(root: Path) -> tuple[Table, ...]:
    """List the tables that exist under the root, in the order of their declaration."""
    return tuple(table for name, table in TABLES.items() if has_log(root / name))
