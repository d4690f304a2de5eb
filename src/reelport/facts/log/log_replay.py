"""Lists the files of a table's version by replaying its log, without the Delta library.

The library takes 26 MB of a process, and a worker needs nothing else of it. What isn't plainly of the kind that
Reelport and the library's checkpoints write is left to the library, which is loaded then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from reelport.errors import StorageError, StoreUnavailable
from reelport.facts.log.checkpoint import read_checkpoint
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.log_files import (
    HINT,
    LOG_FOLDER,
    DamagedCommit,
    before_version,
    commit_name,
    open_store,
    read_actions,
    read_each,
    read_hint,
)
from reelport.facts.log.plain_actions import (
    UnusualLog,
    parse_action,
    parse_file,
    parse_json,
    parse_path,
    require_plain_metadata,
    require_plain_protocol,
)
from reelport.facts.tables import TABLES, Table
from reelport.storage.file_store import FileStore, read_file

_NUMBERED = re.compile(LOG_FOLDER + r"/([0-9]{20})\.(.*)")
_LEFT = re.compile(r".*#[0-9]+")
"""What is left of a file whose writer was killed: the library doesn't see it either."""
_COMMIT, _CHECKPOINT = "json", "checkpoint.parquet"
_NEAR = 100
"""Versions before the last checkpoint, among which the one of a pinned version is looked for first."""


def _keep_quiet(reason: str) -> None:
    """Tell nobody."""


def list_files_at(
    folder: Path, table: Table, version: int, tell: Callable[[str], object] = _keep_quiet
) -> tuple[DataFile, ...]:
    """List the files of a version of the table, ordered by path, as the Delta library does.

    Raises what that raises: StorageError when the version is gone or can't be read, NewerData. `tell` is told why the
    library reads the log, which is loaded for it: not where the store is away, for the library too.
    """
    try:
        return replay_files(folder, table, version)
    except StoreUnavailable:
        raise
    except (UnusualLog, StorageError) as error:
        tell(str(error))
        from reelport.facts.log import delta_log  # noqa: PLC0415 - loads the library

        return delta_log.list_files_at(folder, table, version)


def replay_files(folder: Path, table: Table, version: int) -> tuple[DataFile, ...]:
    """Replay the log up to the version. UnusualLog where the Delta library is to judge."""
    store = open_store(folder)
    start = _find_checkpoint(store, version)
    replay = _Replay(table) if start is None else _start_from(folder, store, table, start)
    later = range(0 if start is None else start + 1, version + 1)
    for actions in read_each(folder, later, partial(_read_commit, store)):
        replay.apply(actions)
    require_plain_protocol(replay.protocol)
    require_plain_metadata(replay.metadata, table)
    return tuple(sorted(replay.files.values(), key=lambda file: file.path))


def _find_checkpoint(store: FileStore, version: int) -> int | None:
    """Find the newest checkpoint up to this version; None without one."""
    # An object store lists a thousand names at a time, and a log may have many thousands.
    hint = read_hint(store)
    first = max(min(hint or 0, version) - _NEAR, 0)
    found = _find_checkpoint_from(store, first, version, hint)
    return _find_checkpoint_from(store, 0, version, hint) if found is None and first else found


def _find_checkpoint_from(store: FileStore, first: int, version: int, hint: int | None) -> int | None:
    names = set(store.list_names(LOG_FOLDER, after=before_version(first)))
    found = {(int(match[1]), match[2]) for name in names if (match := _NUMBERED.fullmatch(name))}
    if others := {kind for _, kind in found if kind not in {_COMMIT, _CHECKPOINT} and not _LEFT.fullmatch(kind)}:
        raise UnusualLog(f"files of the log that Reelport doesn't write: {sorted(others)[:3]}")
    newest = max((number for number, kind in found if kind == _CHECKPOINT and number <= version), default=None)
    if HINT in names and hint is None:
        raise UnusualLog(f"{HINT} names no version")
    if hint is not None and (-1 if newest is None else newest) < hint <= version:
        # The library fails where that is gone.
        raise UnusualLog(f"the checkpoint of version {hint} is gone")
    return newest


def _start_from(folder: Path, store: FileStore, table: Table, version: int) -> _Replay:
    """Start a replay from a checkpoint, which the replay of a version before may have read."""
    name = f"{LOG_FOLDER}/{version:020}.{_CHECKPOINT}"
    found = store.find(name)
    if found is None:
        raise UnusualLog(f"{name} is gone")
    read = _replay_checkpoint(folder, table, name, found.tag)
    return replace(read, files=dict(read.files))


@lru_cache(maxsize=2 * len(TABLES))
def _replay_checkpoint(folder: Path, table: Table, name: str, _tag: str) -> _Replay:
    replay = _Replay(table)
    replay.apply(read_checkpoint(_read(open_store(folder), name)))
    return replay


def _read_commit(store: FileStore, version: int) -> list[dict[str, Any]]:
    try:
        actions = read_actions(store, commit_name(version), parse_json)
    except (FileNotFoundError, DamagedCommit) as error:
        raise UnusualLog(f"commit {version} is gone or no text: {error}") from error
    if not actions:
        raise UnusualLog(f"commit {version} is empty")
    return actions


def _read(store: FileStore, name: str) -> bytes:
    try:
        return read_file(store, name)
    except FileNotFoundError as error:
        raise UnusualLog(f"{name} is gone") from error


@dataclass(slots=True)
class _Replay:
    """What a log comes to so far: its files by path, the last metadata and protocol."""

    table: Table
    files: dict[str, DataFile] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None

    def apply(self, actions: Iterable[Mapping[str, Any]]) -> None:
        """Apply the actions of one commit, or of a checkpoint, whose order means nothing."""
        changed: set[str] = set()
        for kind, told in map(parse_action, actions):
            if kind in {"txn", "commitInfo"}:
                continue
            subject = parse_path(told, self.table) if kind in {"add", "remove"} else kind
            if subject in changed:
                raise UnusualLog(f"{subject} changes twice in one commit")
            changed.add(subject)
            self._apply(kind, told, subject)

    def _apply(self, kind: str, told: Mapping[str, Any], subject: str) -> None:
        match kind:
            case "add":
                self.files[subject] = parse_file(told, self.table)
            case "remove":
                self.files.pop(subject, None)
            case "metaData":
                self.metadata = told
            case "protocol":
                self.protocol = told
