"""The checks of `reelport doctor`: whether a thing is fine, and what to do if not.

They change nothing, apart from probe files that they remove again.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
import socket
import sqlite3
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, select, text

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.memory_size import parse_size
from reelport.engine.plan import Plan, single_piece
from reelport.engine.report_format import CSV
from reelport.engine.spark.pinned_files import PinnedFiles
from reelport.engine.spark.server_address import describe_address
from reelport.errors import ReelportError, StorageError
from reelport.facts.layout import FILE_NAME, UNFINISHED_NAME, check_layout
from reelport.facts.log.log_files import open_store
from reelport.facts.log.snapshot import ABSENT, newest_versions, pin
from reelport.facts.log.table_identity import identify_tables
from reelport.facts.tables import TABLES
from reelport.server import resources
from reelport.server.api_memory import count_api_bytes
from reelport.server.credentials import has_service_secret, load_service_secret, short_id
from reelport.server.doctor.start_checks import find_file_fault, find_link_fault
from reelport.server.files import retention, store_owner
from reelport.server.masking import hide_passwords
from reelport.server.queue import liveness, worker_memory
from reelport.server.queue.supervisor import can_begin
from reelport.server.settings import Settings
from reelport.server.state import database, revisions, secret_fingerprint
from reelport.server.state.own_tables import read_tables_identity
from reelport.server.state.revisions import REVISION
from reelport.server.state.state_record import describe_empty, describe_missing, find_traces
from reelport.server.state.tables import JOBS
from reelport.server.state.write_ahead import LONG_LOG, choose_journal, measure_log
from reelport.storage.durable import Readers, describe_os_error
from reelport.storage.file_store import FileStore, read_file
from reelport.storage.retries import BRIEF_SECONDS, retry_for
from reelport.wording import advise_extra, format_count, format_size

if TYPE_CHECKING:
    from reelport.engine.spark.connection import SparkConnection

_MOST_SKEW = 1.0
_LEAST_WORKER_BYTES = 200_000_000
_PROBES = "probes"
"""A name beside those of the tables."""
_CONTENT = b"written by reelport doctor"
_FACTS = [name for name, table in TABLES.items() if table.is_fact]
_MIN_FREE_BYTES = 1_000_000_000
_MIN_FREE_SHARE = 0.05
_MAX_SYNC_SECONDS = 0.2
_SYNCS = 5
_OWNER_ONLY = ("secret.key", "workers", "spill", "facts/.work")
"""Paths that only the owner may read, whatever the setting: the secret, and files of running processes."""
_HOW_MADE = "the first load, sample, org add or serve makes it"
_MAY_CREATE = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: its subject, whether it is fine, and a sentence."""

    subject: str
    well: bool
    sentence: str


def run_checks(settings: Settings) -> tuple[Finding, ...]:
    """Run all checks. A failing check doesn't keep the others from running."""
    checks: dict[str, Callable[[Settings], Iterator[tuple[bool, str]]]] = {
        "data directory": check_directory,
        "permissions": check_permissions,
        "access": check_access,
        "disk": check_disk,
        "open files": _check_open_files,
        "secret": _check_secret,
        "database": _check_database,
        "workers": _check_workers,
        "object store": check_object_store,
        "tables": check_tables,
        "files": _check_files,
        "engine": _check_engine,
        "spark": check_spark,
        "port": _check_port,
        "links": _check_links,
    }
    findings = []
    with retry_for(BRIEF_SECONDS):
        for subject, check in checks.items():
            try:
                for well, sentence in check(settings):
                    findings.append(Finding(subject, well, hide_passwords(sentence)))
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                findings.append(Finding(subject, False, hide_passwords(f"{where}{describe_os_error(error)}.")))
            except ReelportError as error:
                findings.append(Finding(subject, False, hide_passwords(str(error))))
    return tuple(findings)


def _check_secret(settings: Settings) -> Iterator[tuple[bool, str]]:
    path = settings.data / "secret.key"
    if settings.secret is not None:
        yield True, "Given by REELPORT_SECRET."
    elif not path.exists():
        yield True, "Not made yet: the first key or serve makes it."
    else:
        load_service_secret(settings)
        private = path.stat().st_mode & 0o077 == 0
        yield private, f"{path} is {'readable by its user alone' if private else 'readable by others: chmod 600 it'}."


def _check_database(settings: Settings) -> Iterator[tuple[bool, str]]:
    traces = find_traces(settings)
    if (missing := describe_missing(settings, traces)) is not None:
        yield False, missing
        return
    if not settings.database_url:
        journal = choose_journal(settings.data)
        yield True, f"SQLite {sqlite3.sqlite_version}, journal {journal.mode}, {journal.reason}."
        if not settings.state_file.exists():
            yield True, "No state yet: the first serve, org or sample makes it."
            return
    with database.opened(settings) as db, database.reading(db) as connection:
        found = revisions.read_revision(connection)
        if found is None:
            empty = describe_empty(settings, traces)
            yield empty is None, empty or "It is new and holds no state yet: the first serve, org or sample makes it."
            if empty is None and settings.database_url and not connection.execute(_MAY_CREATE).scalar():
                yield False, "Its user may make no tables in it: GRANT CREATE ON SCHEMA public TO that user."
            return
        current = found == revisions.REVISION
        behind = f"At revision {found}, not {revisions.REVISION}: serve brings it there."
        yield current, f"At revision {found}." if current else revisions.describe_newer_revision(found) or behind
        if current:
            skew = abs(connection.execute(text("SELECT clock_ms()")).scalar_one() / 1000 - time.time())
            yield skew < _MOST_SKEW, f"Its clock and this machine's are {skew:.3f} s apart."
            # Without a secret yet, don't load it: loading would create one.
            made = has_service_secret(settings)
            yield secret_fingerprint.describe(db, load_service_secret(settings) if made else None)
        if settings.database_url:
            if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                advice = "end REELPORT_DATABASE_URL with ?target_session_attrs=read-write, and name every host in it"
                yield False, f"It takes no writes, as a standby doesn't: {advice}."
        else:
            state = settings.state_file
            if (size := measure_log(state)) > LONG_LOG:
                why = "a read that began long ago keeps it growing, be it a backup or another program"
                end = f"Find the program (fuser {state}) and let it end: the log is cut soon after."
                yield False, f"The write-ahead log {state}-wal has {format_size(size)}: {why}. {end}"
            sound = connection.execute(text("PRAGMA quick_check")).scalar()
            yield sound == "ok", f"SQLite's own check of the file says: {sound}."


def _check_open_files(_: Settings) -> Iterator[tuple[bool, str]]:
    fault = find_file_fault()
    yield fault is None, fault or "A process may open enough files."


def _check_workers(settings: Settings) -> Iterator[tuple[bool, str]]:
    names = liveness.list_living(settings)
    with open_state(settings) as (db, revision):
        count, living = 0, names
        if db is not None and revision == revisions.REVISION:
            with database.reading(db) as connection:
                count = connection.execute(select(func.count()).select_from(JOBS)).scalar_one()
            living = names or liveness.list_ready(db, settings)
    if count and not living:
        waiting = format_count(count, "report waits or runs", "reports wait or run")
        yield False, f"{waiting}, and no worker lives: start `reelport serve` or `reelport worker`."
    elif settings.workers_root.is_dir():
        yield True, f"{len(names)} alive on this machine{': ' if names else ''}{', '.join(names)}."


def _check_files(settings: Settings) -> Iterator[tuple[bool, str]]:
    if not settings.files_url and not settings.files_root.is_dir():
        return
    with open_state(settings) as (db, revision):
        if db is None or revision != revisions.REVISION:
            return
        if (fault := store_owner.find_owner_fault(db, settings)) is not None:
            yield False, fault  # no sweep removes anything there
            return
        orphans = retention.find_orphans(db, settings)
        older = retention.find_older_files(db, settings, orphans)
    advice = ": the next sweep removes that" if len(orphans) == 1 else ": the next sweep removes them"
    count = format_count(len(orphans), "file belongs to no report", "files belong to no report")
    if not older:
        yield not orphans, f"{count}{advice if orphans else ''}."
    else:
        of_them = f"{format_count(len(older), 'is', 'are')} older than the state, such as {min(older)}"
        advice = "bring the state back that they belong to, or move them away"
        yield False, f"{count}, of which {of_them}, and no sweep removes them: {advice}."


def _check_engine(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Make a report of one row there: a file system may refuse it."""
    around = settings.data if settings.data.is_dir() else None
    threads = settings.worker_threads or resources.count_cores()
    limit = resources.find_memory_limit()
    fitting = worker_memory.find_fitting_memory(settings, settings.workers, limit, count_api_bytes(settings))
    memory = settings.worker_memory if fitting is None else f"{fitting}B"
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=around) as folder:
        spill = Path(folder)
        with QueryEngine(memory, threads, spill) as engine:
            engine.session().write(single_piece(Plan("SELECT 1 AS n", ("n",))), spill / CSV.file_name("probe"))
    shown = settings.worker_memory if fitting is None else format_size(fitting)
    if parse_size(memory) < _LEAST_WORKER_BYTES:
        least = format_size(_LEAST_WORKER_BYTES)
        yield False, f"{shown} of memory are too little: a worker at rest takes half of the {least} it should have."
    yield True, f"DuckDB makes a report with {shown} of memory and {format_count(threads, 'thread')}."
    if fitting is not None and limit is not None:
        yield True, f"{settings.worker_memory} are set: the control group allows all processes {format_size(limit)}."


def _check_port(settings: Settings) -> Iterator[tuple[bool, str]]:
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = settings.port != 0 and probe.connect_ex((settings.host, settings.port)) == 0
    yield True, f"Port {settings.port} of {settings.host} is {'in use (by a running serve?)' if taken else 'free'}."


def _check_links(settings: Settings) -> Iterator[tuple[bool, str]]:
    fault = find_link_fault(settings)
    begin = f"with {settings.public_url}" if settings.public_url else "with the scheme and host that their caller used"
    yield fault is None, fault or f"They begin {begin}."


def check_object_store(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that files can be put, read and deleted there, and that a name is taken once."""
    if settings.facts_url:
        yield from _check(open_store(settings.facts_root / _PROBES), settings.facts_url)
    if settings.files_url:
        yield from _check(settings.report_store, settings.files_url)


def _check(store: FileStore, url: str) -> Iterator[tuple[bool, str]]:
    name = f".probe-{short_id()}"
    started = time.perf_counter()
    try:
        store.put(name, _CONTENT, is_new=True)
        well = read_file(store, name) == _CONTENT
        took = time.perf_counter() - started
        yield well, f"{url}: {f'A probe was put and read in {took * 1000:.0f} ms' if well else 'It gives other bytes'}."
        try:
            store.put(name, _CONTENT, is_new=True)
        except FileExistsError:
            yield True, f"{url}: Of two writers of one name it takes the first."
        else:
            yield (
                False,
                f"{url}: It ignores the condition If-None-Match of a put: of two loads at once one could be lost.",
            )
    except BaseException:  # a Ctrl-C too must leave no probe behind; it is raised again
        with suppress(StorageError):  # the first error says more
            store.delete(name)
        raise
    store.delete(name)


def check_spark(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check the server, where one is set. Raises as `SparkConnection.stream`."""
    if not settings.engine:
        return
    # Its warnings say nothing that an error doesn't.
    warnings.filterwarnings("ignore", module=r"pyspark\.")
    try:
        from reelport.engine.spark.connection import SparkConnection  # noqa: PLC0415 - loads pyspark
    except ImportError as error:
        yield False, f"{error}: {advise_extra('server,spark', 'spark')}."
        return
    connection = SparkConnection(settings.engine, "reelport-doctor")
    try:
        larger = f"aggregates reports over {format_count(settings.spark_from_rows, 'row', 'rows')} of facts or more"
        yield True, f"Spark {connection.version} at {describe_address(settings.engine)} {larger}."
        yield True, _read_newest(settings, connection)
    finally:
        connection.close()


def _read_newest(settings: Settings, connection: SparkConnection) -> str:
    """Have its workers count the rows of one file of facts."""
    snapshot = pin(settings.facts_root, _FACTS)
    for name in _FACTS:
        if files := snapshot.files(name):
            views = PinnedFiles()
            views(TABLES[name], files[-1:])
            (view,) = views
            (rows,) = connection.stream(f"SELECT COUNT(*) AS number FROM `{view.name}`", views)  # noqa: S608 - a name of our own
            return f"Its workers read {files[-1]} ({format_count(rows['number'][0].as_py(), 'row', 'rows')})."
    return "There are no facts yet by which to see whether its workers read them."


def check_tables(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check whose they are; StorageError where they are another's, or one is missing."""
    root = settings.facts_root
    with open_state(settings) as (db, revision):
        known = None if db is None or revision != REVISION else read_tables_identity(db)
    identify_tables(settings.data, root, known=known)
    there = [name for name, version in newest_versions(root).items() if version != ABSENT]
    yield True, f"These are there, and known: {', '.join(there)}." if there else "Nothing is loaded yet."


def check_directory(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that it is a data directory of this version; none is fine with a new PostgreSQL."""
    data = settings.data
    if (data / FILE_NAME).exists() or (data / UNFINISHED_NAME).exists():
        check_layout(data)  # which tells an unfinished restore, too
        yield True, f"{data} has a layout that this version knows."
    elif data.is_dir() and any(data.iterdir()):
        yield False, f"{data} has no layout.json: is it a data directory of Reelport?"
    elif settings.database_url and _is_new(settings):
        yield True, f"{data} is new, as the database is: {_HOW_MADE}."
    elif can_begin(settings):
        yield True, f"{data} is new, and all that others need lies elsewhere: the first worker makes it."
    elif data.exists() and not data.is_dir():
        yield False, f"{data.absolute()} is no directory: name the data directory by --data or REELPORT_DATA."
    else:
        what = "holds no layout.json" if data.is_dir() else "isn't there"
        # It may have been lost, or the path may be wrong: without a database nothing tells that from a first start.
        yield False, f"{data.absolute()} {what}: {_HOW_MADE}. If there is one, name it by --data or REELPORT_DATA."


def _is_new(settings: Settings) -> bool:
    with open_state(settings) as (db, revision):
        return db is not None and revision is None


@contextmanager
def open_state(settings: Settings) -> Iterator[tuple[Engine | None, str | None]]:
    """Open the database, if there is one, with its revision: "" where it can't be read."""
    db, revision = None, None
    try:
        if settings.database_url or settings.state_file.exists():
            db = database.open_database(settings)
            with database.reading(db) as connection:
                revision = revisions.read_revision(connection)
    except ReelportError:
        revision = ""
    try:
        yield db, revision
    finally:
        if db is not None:
            db.dispose()


def check_permissions(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that the right users can read it, and nobody else."""
    data, readers = settings.data, settings.readers
    if not data.is_dir():
        return
    audience = "its owner" if readers is Readers.OWNER else "its owner and group"
    hint = " (its group may read them where REELPORT_READABLE_BY=group)" if readers is Readers.OWNER else ""
    modes, own = tuple(_walk_modes(data)), {data / name for name in _OWNER_ONLY}
    too_open = [path for path, mode in modes if stat.S_IMODE(mode) & readers.denied_bits]
    too_closed = [path for path, mode in modes if readers.needed_bits(mode) & ~mode and not own & {path, *path.parents}]
    if too_open:
        denied = "go-rwx" if readers is Readers.OWNER else "g-w,o-rwx"
        closing = f"chmod -R {denied} {shlex.quote(str(data))}"
        yield False, f"{_count_paths(too_open)} open to more than {audience}{hint}. To close them: {closing}"
    if too_closed:
        spared = " ".join(f"-name {Path(name).name} -prune -o" for name in _OWNER_ONLY)
        opening = f"find {shlex.quote(str(data))}/. {spared} -exec chmod g+rX {{}} +"
        why = "though REELPORT_READABLE_BY=group lets it"
        yield False, f"{_count_paths(too_closed)} closed to its group, {why}. To open them: {opening}"
    if not too_open and not too_closed:
        yield True, f"Open to {audience} alone."


def check_access(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that this user can read and write all of it, as commands that write must."""
    if not settings.data.is_dir():
        return
    if inaccessible := list_inaccessible(settings.data):
        mend = _format_owner_command(settings.data)
        closed = f"{_count_paths(inaccessible)} closed to the user of its commands, who has to read and write."
        yield False, f"{closed} Mend it: {mend}"
    else:
        yield True, "Its user can read and write what is in it."


def list_inaccessible(data: Path) -> tuple[Path, ...]:
    """List what this user, or for root the owner, can't use: folders, databases, other files."""
    return tuple(path for path, mode in _walk_modes(data) if not _is_usable(path, mode))


def _format_owner_command(data: Path) -> str:
    owner = data.stat().st_uid
    if os.geteuid() in {0, owner}:
        return f"chmod -R u+rwX {shlex.quote(str(data))}"
    give = f"chown -R {_name_user(os.geteuid())} {shlex.quote(str(data))}"
    return f"run Reelport as {_name_user(owner)}, to whom it belongs, or give it to this user as root: {give}"


def _is_usable(path: Path, mode: int) -> bool:
    if stat.S_ISDIR(mode):
        needed = os.R_OK | os.W_OK | os.X_OK
    else:
        needed = os.R_OK | os.W_OK if path.name.startswith("state.db") else os.R_OK
    # The owner's permission bits are R_OK, W_OK and X_OK, shifted by six.
    denied_to_owner = os.geteuid() == 0 and needed << 6 & ~mode
    return not denied_to_owner and (os.access(path, needed) or not path.exists())


def _name_user(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _walk_modes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield a folder and the folders and regular files in it, with their modes."""
    waiting = [folder]
    yield folder, folder.stat().st_mode
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                        yield Path(entry.path), mode
                    if stat.S_ISDIR(mode):
                        waiting.append(Path(entry.path))
        except (FileNotFoundError, PermissionError):
            # `list_inaccessible` reports folders that can't be listed.
            continue


def _count_paths(paths: Sequence[Path]) -> str:
    return f"{len(paths)} files and folders, such as {paths[0]}, are" if len(paths) > 1 else f"{paths[0]} is"


def check_disk(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that its disk has free space, and writes and syncs 4 kB fast enough."""
    if not settings.data.is_dir():
        return
    space = shutil.disk_usage(settings.data)
    needed = max(_MIN_FREE_BYTES, round(_MIN_FREE_SHARE * space.total))
    free_space = f"{format_size(space.free)} of {format_size(space.total)} are free"
    advice = (
        f", and {format_size(needed)} should be (1 GB, and 5 % of the disk). Make room, move the data directory to "
        "a larger disk, or keep reports for less long (REELPORT_RETENTION_HOURS)."
    )
    enough = space.free >= needed
    yield enough, f"{free_space}{'.' if enough else advice}"
    # The least of some: what else the disk has to do at one moment says nothing of how fast it is.
    seconds = min(_time_sync(settings.data / f".probe-{short_id()}") for _ in range(_SYNCS))
    yield seconds < _MAX_SYNC_SECONDS, f"Writing and syncing 4 kB takes {seconds * 1000:.1f} ms."
    if fault := _find_lock_fault(settings.data / f".probe-{short_id()}"):
        yield False, f"A file of it can't be locked: {fault}."


def _find_lock_fault(probe: Path) -> str | None:
    """Say why a lock by which processes keep each other out can't be had; None if all can."""
    try:
        for lock in (fcntl.flock, fcntl.lockf):
            with probe.open("wb") as file:  # one after the other: over NFS the two keep each other out
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return describe_os_error(error, probe)
    finally:
        probe.unlink(missing_ok=True)
    return None


def _time_sync(probe: Path) -> float:
    started = time.perf_counter()
    try:
        with probe.open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    return time.perf_counter() - started
