"""Restores a backup into an empty data directory, after checking that it can be.

A PostgreSQL is claimed for one directory's restore, until the state is loaded. Two restores that find it empty would
else both begin, and one that was killed takes the state that another has loaded for its own: two directories would
share one state. A killed restore knows its claim again by its directory's mark.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, inspect, select, text

from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.layout import (
    FILE_NAME,
    UNFINISHED_NAME,
    begin_restore,
    cancel_restore,
    end_restore,
    read_unfinished,
)
from reelport.facts.log.snapshot import ABSENT
from reelport.facts.log.table_marks import RECORD, restore_identity
from reelport.server import credentials
from reelport.server.backup.archive import FACTS, FILES, Archive, BackedUpFile, Manifest, Stored
from reelport.server.backup.damage import describe_damage, list_needed
from reelport.server.backup.state_dump import (
    POSTGRESQL,
    SQLITE,
    describe_address,
    find_tool_problem,
    load_state,
    name_database,
)
from reelport.server.settings import Settings
from reelport.server.state import state_record
from reelport.server.state.database import CLAIM, FREE_CLAIM, lock_tables, opened, reading, upgrade, writing
from reelport.server.state.own_tables import read_tables_identity
from reelport.server.state.revisions import describe_newer_revision
from reelport.server.state.tables import REPORTS
from reelport.storage.durable import private, strip_draft, translate_io_errors
from reelport.wire import ReportStatus

if TYPE_CHECKING:
    from reelport.server.backup.bucket import Bucket

_RESTORED = frozenset(
    {"facts", "files", "cache", "state.db", state_record.NAME, RECORD, FILE_NAME, UNFINISHED_NAME}
    | {f"state.db-{kind}" for kind in ("journal", "wal", "shm", "writer")}
)
"""What an unfinished restore may have left in a data directory, beside drafts of these files."""
_ROOM = 1.05
"""Free bytes that a restore asks for, as a multiple of the backup's."""
_BLOCK = 512
"""Bytes of a block in which the system counts what a file takes."""
_READ_CLAIM = text(f"SELECT token FROM {CLAIM}")  # noqa: S608 - a name of ours
_SET_CLAIM = text(f"CREATE TABLE {CLAIM} AS SELECT CAST(:token AS text) AS token")

_NOT_EMPTY = "The database of REELPORT_DATABASE_URL isn't empty: name a new one."
_ELSEWHERE = (
    "The database of REELPORT_DATABASE_URL is being restored into another data directory: "
    "run that restore to its end, or name a new database."
)


def restore_backup(
    archive: Archive,
    manifest: Manifest,
    settings: Settings,
    *,
    check_secret: bool = True,
    without_damaged: bool = False,
) -> tuple[BackedUpFile, ...]:
    """Restore a backup into the data directory of these settings, and into its empty database.

    UsageError lists every reason why that can't be; nothing was touched then. Return what is left out: finished reports
    that are damaged or missing in the archive, which are expired then, and with `without_damaged` such data files of
    tables. StorageError names all else that is damaged. After a kill only a restore may use the directory.
    """
    needed = list_needed(manifest, without_damaged=without_damaged)
    # Names the backup and the database that its state goes to, to know a killed restore again.
    origin = f"{manifest.id} {manifest.state.sha256} {describe_address(settings)}"
    with _lock(settings.data):
        claim = DatabaseClaim.of(settings, origin) if settings.database_url else None
        wrong = list(_find_problems(manifest, settings, claim, check_secret=check_secret))
        if missing := {content for content in needed if not archive.holds(content)}:
            wrong.append(describe_damage(archive, manifest, missing))
        if wrong:
            raise UsageError("\n".join(wrong))
        with translate_io_errors(settings.data):
            settings.data.chmod(0o777 & ~settings.readers.denied_bits)
            for path in _list_leftovers(settings):  # first: what is left may fill the disk
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if claim is None:
            begin_restore(settings.data, origin)
        with nullcontext(enter_result=False) if claim is None else claim.hold() as must_load:
            lost = _restore_files(archive, manifest, settings, needed)
            if manifest.database == SQLITE:
                archive.copy_out(manifest.state, settings.data, settings.state_file.name)
            elif must_load:  # else a restore that was killed has loaded it: all of it, or nothing
                load_state(settings, archive.locate(manifest.state))
        kept = {file.name for file in {*manifest.files} - lost if file.store == FILES}
        _bring_up_to_date(settings, kept, [name for name, at in manifest.versions.items() if at != ABSENT])
        end_restore(settings.data)
    return tuple(file for file in manifest.files if file in lost)


@contextmanager
def _lock(data: Path) -> Iterator[None]:
    """Let one restore at a time use the directory; one made for it goes if it fails early."""
    is_new = not data.exists()
    with translate_io_errors(data), private():
        data.mkdir(parents=True, exist_ok=True)
        handle = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(f"Another restore into {data} is running.") from None
    except ReelportError:
        if is_new:
            with suppress(OSError):  # it isn't empty: the restore had begun
                data.rmdir()
        raise
    finally:
        os.close(handle)


def _restore_files(
    archive: Archive, manifest: Manifest, settings: Settings, needed: Collection[Stored]
) -> set[BackedUpFile]:
    """Copy files out, also to object stores; return lost ones, StorageError if one is needed."""

    def refuse(damaged: set[Stored]) -> None:
        if damaged:
            raise StorageError(describe_damage(archive, manifest, damaged))

    roots = {FACTS: settings.facts_root, FILES: settings.files_root}
    local = _list_local_files(manifest, settings)
    lost = {file for file in local if not archive.copy_out(file.content, roots[file.store], file.name)}
    damaged = {file.content for file in lost if file.content in needed}
    refuse(damaged if archive.is_whole(manifest.state) else {*damaged, manifest.state})
    for bucket in _list_buckets(manifest, settings):
        names = bucket.restore(archive, needed)
        there = {file for file in manifest.files if file.store == bucket.kind and file.name in names}
        refuse({file.content for file in there if file.content in needed})
        lost |= there
    return lost


def _list_local_files(manifest: Manifest, settings: Settings) -> list[BackedUpFile]:
    urls = {FACTS: settings.facts_url, FILES: settings.files_url}
    return [file for file in manifest.files if not urls[file.store]]


def _list_buckets(manifest: Manifest, settings: Settings) -> list[Bucket]:
    if not settings.facts_url and not settings.files_url:
        return []
    from reelport.server.backup.bucket import list_buckets  # noqa: PLC0415 - loads a library that few need

    return list_buckets(manifest, settings)


def _find_problems(
    manifest: Manifest, settings: Settings, claim: DatabaseClaim | None, *, check_secret: bool
) -> Iterator[str]:
    if newer := describe_newer_revision(manifest.revision):
        yield newer
    if manifest.database != name_database(settings):
        needed = "set" if manifest.database == POSTGRESQL else "don't set"
        yield f"The state was in {manifest.database}: {needed} REELPORT_DATABASE_URL."
    elif problem := find_tool_problem(manifest.database) or (None if claim is None else claim.find_problem()):
        yield problem
    if check_secret and manifest.fingerprint is not None:
        yield from _find_secret_problems(manifest.fingerprint, settings)
    for bucket in _list_buckets(manifest, settings):
        yield from bucket.find_problems()
    yield from _find_place_problems(manifest, settings)


def _find_secret_problems(fingerprint: str, settings: Settings) -> Iterator[str]:
    """Say if the secret isn't the one that the keys were made under. None is made here."""
    bring = f"bring {settings.data / credentials.SECRET_FILE} from where you keep it, or set REELPORT_SECRET."
    if settings.secret is None and not (settings.data / credentials.SECRET_FILE).exists():
        yield f"The keys of the backup need their secret, which no backup holds: {bring}"
    elif credentials.load_service_secret(settings).fingerprint != fingerprint:
        yield f"The secret here is another one than the keys of the backup were made under: {bring}"


def _find_place_problems(manifest: Manifest, settings: Settings) -> Iterator[str]:
    data = settings.data
    is_unfinished = read_unfinished(data) is not None
    try:
        with translate_io_errors(data):
            held = {path.name for path in data.iterdir()}
            free = shutil.disk_usage(data).free
            if is_unfinished:  # what the next restore frees before it writes
                found = (file for path in _list_leftovers(settings) for file in (path, *path.rglob("*")))
                free += sum(file.lstat().st_blocks * _BLOCK for file in found)
    except StorageError as error:
        yield str(error)
        return
    own = {credentials.SECRET_FILE} | (_RESTORED if is_unfinished else {UNFINISHED_NAME})
    if {strip_draft(name) for name in held} - own:
        yield (
            f"{data} isn't empty: name a new directory, "
            f"with {credentials.SECRET_FILE} alone in it if that is where the secret is."
        )
    kept = {manifest.state, *(file.content for file in _list_local_files(manifest, settings))}
    needed = int(_ROOM * sum(stored.size for stored in kept))
    if free < needed:
        yield f"{data} has {free:,} bytes of room, and the backup needs {needed:,}."


def _list_leftovers(settings: Settings) -> list[Path]:
    """List what an unfinished restore left: the next one makes it anew."""
    kept = {credentials.SECRET_FILE, UNFINISHED_NAME}
    return [path for path in settings.data.iterdir() if path.name not in kept]


def _bring_up_to_date(settings: Settings, kept: set[str], tables: Iterable[str]) -> None:
    """Migrate the state, mark its tables, and expire reports whose files vanished."""
    with opened(settings) as db, private():
        upgrade(db)
        with writing(db) as connection:
            found = connection.execute(select(REPORTS.c.id, REPORTS.c.file).where(REPORTS.c.file.is_not(None)))
            if lost := [row.id for row in found if row.file not in kept]:
                expired = {"status": ReportStatus.EXPIRED.value, "file": None}
                connection.execute(REPORTS.update().where(REPORTS.c.id.in_(lost)).values(expired))
        if (identity := read_tables_identity(db)) is not None:
            restore_identity(settings.data, settings.facts_root, identity, tables)
        state_record.record_state(settings, is_new=True)


@dataclass(frozen=True, slots=True)
class DatabaseClaim:
    """The claim of one restore on its database.

    `origin` says which backup goes where, `token` is the data directory's own. `before` is the mark that an unfinished
    restore left in the directory.
    """

    settings: Settings
    origin: str
    token: str
    before: str | None

    @classmethod
    def of(cls, settings: Settings, origin: str) -> Self:
        """Make the claim of a restore, or the one that its killed forerunner may have taken."""
        before = read_unfinished(settings.data)
        _, token, *_ = [*(before or "").split("\n"), ""]
        return cls(settings, origin, token or secrets.token_hex(16), before)

    def find_problem(self) -> str | None:
        """Say why the database can't be restored into, if it can't."""
        with opened(self.settings) as db, reading(db) as connection:
            return self._find_problem(connection)

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Mark the directory and claim the database for the block.

        Gives whether the state must be loaded in it. Raises UsageError where another restore was faster; a directory
        without a mark has none then, too. After an error of a block that had to load the state the database is free
        again: what lies in it then is somebody else's.
        """
        must_load = self._take()
        try:
            yield must_load
        except ReelportError:
            if must_load:
                with suppress(ReelportError):  # the first error says more
                    self._give_back()
            raise
        begin_restore(self.settings.data, self._loaded_mark)
        self._give_back()

    def _take(self) -> bool:
        is_loaded = self.before == self._loaded_mark
        begin_restore(self.settings.data, self._loaded_mark if is_loaded else self._mark)
        with opened(self.settings) as db, writing(db) as connection:
            lock_tables(connection)  # who looks after us sees the claim, be it a restore or a service that begins
            problem, must_load = self._find_problem(connection), not _list_others(connection)
            if problem is None and must_load and not inspect(connection).has_table(CLAIM):
                connection.execute(_SET_CLAIM, {"token": self.token})
        if problem is not None:
            if self.before is None:
                cancel_restore(self.settings.data)
            raise UsageError(problem)
        if must_load and is_loaded:  # somebody has emptied the database since
            begin_restore(self.settings.data, self._mark)
        return must_load

    def _give_back(self) -> None:
        with opened(self.settings) as db, writing(db) as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {CLAIM}"))

    @property
    def _mark(self) -> str:
        return f"{self.origin}\n{self.token}"

    @property
    def _loaded_mark(self) -> str:
        return f"{self._mark}\nloaded"

    def _find_problem(self, connection: Connection) -> str | None:
        held = connection.execute(_READ_CLAIM).scalar() if inspect(connection).has_table(CLAIM) else None
        if held not in {None, self.token}:
            return _ELSEWHERE if _list_others(connection) else _ELSEWHERE + FREE_CLAIM
        # Without the claim only a mark tells whose state it is: another's restore may have ended meanwhile.
        is_own = self.before == self._loaded_mark or (held is not None and self.before == self._mark)
        return None if is_own or not _list_others(connection) else _NOT_EMPTY


def _list_others(connection: Connection) -> set[str]:
    return {*inspect(connection).get_table_names()} - {CLAIM}
