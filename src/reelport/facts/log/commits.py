"""Commit to a Delta log: durably, retried on the newest version after a conflict.

A commit first adds the columns that are declared and that the table's log lacks.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from reelport import killpoints
from reelport.errors import NewerData, OutcomeUnknown, StorageError
from reelport.facts.log.delta_log import (
    DIGESTS,
    RESTATED,
    TableVersion,
    counter_name,
    file_mark,
    folder_uri,
    list_digests,
    open_delta,
    read_newest,
    storage_options,
    translate_delta_errors,
)
from reelport.facts.log.log_entry import DataFile, LogEntry, entry_to_json
from reelport.facts.log.log_files import LOG_FOLDER, commit_name, describe_place, find_remote, open_store, read_actions
from reelport.facts.log.table_identity import note_table
from reelport.facts.tables import BATCH, MONTH, OWNER, Table, delta_schema, partition_columns
from reelport.storage.durable import full_disk_sentence, make_folder, private, translate_io_errors
from reelport.storage.retries import ask_again, get_retry_seconds

CHECKPOINT_EVERY = 20
_ATTEMPTS = 200
_SAME_COMMITS = 3
"""How often one commit is tried while nothing tells whether it was taken."""
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_MARK = "reelportCommit"
"""The name under which a commit to an object store says which attempt made it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to commit: the log entry, and the data files to add and remove."""

    entry: LogEntry
    adds: tuple[DataFile, ...] = ()
    removes: tuple[DataFile, ...] = ()
    loaded: bool | None = None
    """True if the batch is loaded after the commit, False if it is undone, None if the commit doesn't change that."""


@private()
def commit(root: Path, table: Table, propose: Callable[[TableVersion], Change | None]) -> int | None:
    """Commit durably the change that `propose` returns for the newest version of the table.

    Returns the new version, or None when `propose` returns None. This is optimistic concurrency: when another process
    commits first, `propose` is called again with the then newest version. So what it checks holds at the version that
    its change builds on.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _try_commit(root, table, propose)
        except StorageError as error:
            if not isinstance(error.__cause__, CommitFailedError) or full_disk_sentence(str(error)):
                raise
            time.sleep(random.uniform(0, 0.02 * min(attempt + 1, 10)))  # noqa: S311 - jitter, not a secret
    raise StorageError(f"{root / table.name}: other processes kept committing first; run it again")


def _try_commit(root: Path, table: Table, propose: Callable[[TableVersion], Change | None]) -> int | None:
    now = _add_missing_columns(root, table)
    change = propose(now)
    if change is None:
        return None
    delta = now.delta or _create(root, table)
    version = delta.version() + 1
    if find_remote(now.folder) is None:
        with translate_delta_errors(now.folder):
            _commit_once(delta, table, change, now.load_counter(change.entry.batch))
    else:
        _commit_remotely(now, delta, change)
    killpoints.reach("load-commit")
    _sync_commit(now.folder, version)
    note_table(root, table.name)
    return version


def _add_missing_columns(root: Path, table: Table) -> TableVersion:
    """Return the table's newest version, once its log has all declared columns."""
    now = read_newest(root, table)
    missing = find_missing_columns(now)
    if now.delta is None or not missing:
        return now
    fields = [field for field in Schema.from_arrow(delta_schema(table.name)).fields if field.name in missing]
    with translate_delta_errors(now.folder):
        now.delta.alter.add_columns(
            fields,
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=_NO_HOOKS,
        )
    _sync_commit(now.folder, now.version + 1)
    return read_newest(root, table)


def find_missing_columns(now: TableVersion) -> tuple[str, ...]:
    """List the declared columns that the table's log lacks.

    Raises NewerData when the log has columns that this version doesn't declare: rewriting rows would lose them.
    """
    if now.delta is None:
        return ()
    known = [field.name for field in now.delta.schema().fields]
    declared = delta_schema(now.table.name).names
    foreign = [name for name in known if name not in declared]
    if foreign:
        raise NewerData(
            f"{now.folder} has columns that this version doesn't know ({', '.join(foreign)}) and would lose: "
            "change it with the version or tool that added them"
        )
    return tuple(name for name in declared if name not in known)


def _create(root: Path, table: Table) -> DeltaTable:
    folder = root / table.name
    if find_remote(folder) is None:
        with translate_io_errors(folder):
            make_folder(folder / LOG_FOLDER)
    with translate_delta_errors(folder):
        with suppress(DeltaError):  # another process has just created it
            ask_again(lambda: _create_first_version(folder, table), get_retry_seconds())
        created = open_delta(folder, 0)
        _sync_commit(folder, 0)
    return created


def _create_first_version(folder: Path, table: Table) -> None:
    DeltaTable.create(
        folder_uri(folder),
        Schema.from_arrow(delta_schema(table.name)),
        "error",
        partition_columns(table),
        table.name,
        table.sentence,
        # Only the log records what was loaded, so it must never be cleaned up.
        configuration={"delta.enableExpiredLogCleanup": "false"},
        storage_options=storage_options(folder),
    )


def _commit_remotely(now: TableVersion, delta: DeltaTable, change: Change) -> None:
    """Commit to a store whose answer may be lost: the log then tells whose commit it is.

    Without that, our own commit would be taken for another process's, and the files that it names would be deleted.
    Where nothing tells, the same commit is tried again: another could come beside the first, if that is on its way.
    """
    name, mark = commit_name(delta.version() + 1), secrets.token_hex(16)
    last: BaseException | None = None
    for attempt in range(_SAME_COMMITS):
        try:
            with translate_delta_errors(now.folder):
                _commit_once(delta, now.table, change, now.load_counter(change.entry.batch), {_MARK: mark})
        except StorageError as error:
            try:
                found = _read_mark(now, name)
            except StorageError:
                found = None
            if found == mark:
                return
            if found is not None:  # whatever became of ours: it would be refused now
                with translate_delta_errors(now.folder):
                    raise CommitFailedError(f"another process committed {name} first") from error
            last = error
            time.sleep(random.uniform(0, 0.2 * 2**attempt))  # noqa: S311 - jitter, not a secret
        except KeyboardInterrupt as error:
            last = error
            break
        else:
            return
    raise OutcomeUnknown(
        f"{describe_place(now.folder)}: nothing told whether this was committed: look with "
        "`reelport load list` when the object store answers, and run it again; a batch is loaded once"
    ) from last


def _read_mark(now: TableVersion, name: str) -> str | None:
    """Read the mark of a commit, "" for one without; None when there is no such commit."""
    try:
        actions = read_actions(now.store, name)
    except FileNotFoundError:
        return None
    return next((str(action["commitInfo"].get(_MARK, "")) for action in actions if "commitInfo" in action), "")


def _commit_once(
    delta: DeltaTable, table: Table, change: Change, loads: int, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    stamp = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(file.path, True, stamp, file.size, _partition_values(file)) for file in change.removes
    ]
    actions += [
        AddAction(file.path, file.size, _partition_values(file), stamp, True, json.dumps(_statistics(file, table)))
        for file in change.adds
    ]
    record = entry_to_json(change.entry)
    digests = {DIGESTS: found} if (found := list_digests(change.adds)) else {}
    counters = []
    if change.loaded is not None:
        step = 1 if (loads % 2 == 1) != change.loaded else 2  # the counter is odd while the batch is loaded
        counters = [Transaction(counter_name(change.entry.batch), loads + step)]
        # A file that is a batch by itself is found by the counter of that.
        marks = dict.fromkeys(file for file in change.entry.files if file != change.entry.batch)
        counters += [Transaction(file_mark(file), 1) for file in marks]
    if change.entry.restated is not None:
        counters.append(Transaction(RESTATED, delta.version() + 1))
    delta.create_write_transaction(
        actions,
        "append",
        delta.schema(),
        partition_columns(table),
        commit_properties=CommitProperties(
            {"reelport": record, **digests, **more}, max_commit_retries=0, app_transactions=counters
        ),
        post_commithook_properties=_NO_HOOKS,
    )


def _partition_values(file: DataFile) -> dict[str, str | None]:
    return {} if file.month is None else {MONTH: file.month}


def _statistics(file: DataFile, table: Table) -> dict[str, object]:
    if table.born is not None and file.newest is not None:
        return {"numRecords": file.rows, "maxValues": {table.born: _format_moment(file.newest)}}
    if table.time is None or file.first is None or file.last is None:
        return {"numRecords": file.rows}
    return {
        "numRecords": file.rows,
        "minValues": {table.time: _format_moment(file.first), OWNER: file.low_owner},
        "maxValues": {table.time: _format_moment(file.last), OWNER: file.high_owner},
        "nullCount": {table.time: 0, OWNER: 0, BATCH: 0},
    }


def _format_moment(moment: datetime | date) -> str:
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.isoformat()


def _sync_commit(folder: Path, version: int) -> None:
    store = open_store(folder)
    store.sync(commit_name(version))
    if version and version % CHECKPOINT_EVERY == 0:
        # The commit is complete; a checkpoint only makes reading faster, so a full disk must not fail it.
        with suppress(DeltaError, OSError, StorageError):
            open_delta(folder, version).create_checkpoint()
            store.sync(f"{LOG_FOLDER}/{version:020}.checkpoint.parquet", f"{LOG_FOLDER}/_last_checkpoint")
    killpoints.reach("load-logsync")
