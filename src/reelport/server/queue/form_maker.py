"""A form maker: a process that makes the other forms of finished reports, one at a time.

It is started when a form is due, and ends when none was for a while. It holds nothing that its end could harm: a file
has its name only when it is whole, and its supervisor frees what it held. The same CSV gives the same bytes: one thread
writes, and nothing tells the time. The columns' types are the catalog's, so that money stays exact and no sum becomes a
double.
"""

from __future__ import annotations

import gzip
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from csv import field_size_limit, reader
from pathlib import Path

import duckdb
import structlog
from sqlalchemy import Engine

from reelport import killpoints
from reelport.catalog import CellType
from reelport.cells import PRECISION, Column, look_up_columns
from reelport.engine.duckdb.engine import translate_errors
from reelport.engine.memory_size import parse_size
from reelport.engine.report_format import CSV_GZ, CSV_ZST, NDJSON, PARQUET, XLSX, FileType, Written
from reelport.errors import InternalError, ReelportError, StorageError
from reelport.facts.layout import require_layout
from reelport.server.events import Kind, subscribe
from reelport.server.files import forms, report_files
from reelport.server.files.forms import FormClaim
from reelport.server.files.report_files import FileRecord
from reelport.server.process import exit_with_parent, lower_priority
from reelport.server.queue import liveness
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.state.own_tables import require_own_tables
from reelport.sql_quoting import quote_name, quote_text
from reelport.storage.digests import compute_digest, require_digest
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.file_cache import holding

_CHUNK_BYTES = 1 << 20
_TEXT, _COUNT = "VARCHAR", "BIGINT"
_WHOLE = f"DECIMAL({PRECISION},0)"
_NUMBERS = frozenset({CellType.INTEGER, CellType.DECIMAL})
_LONGEST_CELL = 16 << 20
_CSV = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
    "allow_quoted_nulls = false, hive_partitioning = false, max_line_size = 16777216"
)
"""How the engine writes a CSV: an empty cell is null, and one in quotes an empty text."""


def write_form(
    csv: Path, rows: int, form: FileType, about: Mapping[str, str], to: Path, memory: int, scratch: Path
) -> None:
    """Write a form of a whole CSV, of so many rows, to a new file.

    It takes about so many bytes of memory. `about` goes into the metadata of a Parquet file, below `reelport.`;
    `scratch` is a folder for temporary files. The file isn't durable yet. Raises OutOfMemory, DiskFull, StorageError,
    and UsageError for what a form can't hold; what is written by then stays.
    """
    with translate_errors(to.name):
        match form.suffix:
            case PARQUET.suffix | NDJSON.suffix:
                _write_typed(csv, form, about, to, memory, scratch)
            case CSV_GZ.suffix:
                with to.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed, csv.open("rb") as read:
                    shutil.copyfileobj(read, packed, _CHUNK_BYTES)
            case CSV_ZST.suffix:
                import pyarrow as pa  # noqa: PLC0415 - Python has no Zstandard before 3.14

                with pa.output_stream(to, compression="zstd") as packed, csv.open("rb") as read:
                    shutil.copyfileobj(read, packed, _CHUNK_BYTES)
            case XLSX.suffix:
                _write_xlsx(csv, rows, to, scratch / to.name)
            case suffix:
                raise InternalError(f"nothing writes a {suffix} file")


def _write_xlsx(csv: Path, rows: int, to: Path, draft: Path) -> None:
    """Write by way of a draft, beside which the library keeps parts of the file."""
    from reelport.xlsx import write_xlsx  # noqa: PLC0415 - loads a library of its own

    before = field_size_limit(_LONGEST_CELL)
    try:
        with csv.open(encoding="utf-8", newline="") as file:
            records = reader(file)
            # A blank line is one empty cell.
            write_xlsx(draft, next(records), (record or [""] for record in records), rows)
        shutil.move(draft, to)
    finally:
        field_size_limit(before)
        draft.unlink(missing_ok=True)


def _write_typed(csv: Path, form: FileType, about: Mapping[str, str], to: Path, memory: int, scratch: Path) -> None:
    """Write by a DuckDB of one thread: several could end row groups elsewhere each time."""
    with csv.open(encoding="utf-8") as file:
        columns = look_up_columns(file.readline().rstrip("\n").split(","))
    config: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": f"{memory}B"}
    # Else DuckDB would fetch what it lacks from the internet.
    config |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {quote_text(str(scratch))}")
        if form == PARQUET:
            types = _find_types(connection, csv, columns)
            metadata = ", ".join(
                f"{quote_text(f'reelport.{name}')}: {quote_text(told)}" for name, told in about.items()
            )
            options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{metadata}}}"
        else:
            # Numbers with the digits of the CSV, and times in its form.
            types = {
                each.name: f"DECIMAL({PRECISION},{each.digits})" if each.type in _NUMBERS else _TEXT for each in columns
            }
            options = "FORMAT json"
        connection.execute(
            f"COPY (FROM {_read_csv(csv, types)}) TO {quote_text(str(to))} ({options}, USE_TMP_FILE false)"
        )


def _find_types(connection: duckdb.DuckDBPyConnection, csv: Path, columns: tuple[Column, ...]) -> dict[str, str]:
    """Find the columns' types: the catalog's, but a decimal where a count is beyond 64 bits."""
    types = {column.name: column.sql_type for column in columns}
    counts = [name for name, kind in types.items() if kind == _COUNT]
    if not counts:
        return types
    beyond = ", ".join(
        f"bool_or(TRY_CAST({quote_name(name)} AS {_COUNT}) IS NULL AND {quote_name(name)} IS NOT NULL)"
        for name in counts
    )
    sql = f"SELECT {beyond} FROM {_read_csv(csv, dict.fromkeys(types, _TEXT))}"  # noqa: S608 - quoted above
    (found,) = connection.execute(sql).fetchall()
    return types | {name: _WHOLE for name, is_beyond in zip(counts, found, strict=True) if is_beyond}


def _read_csv(csv: Path, types: Mapping[str, str]) -> str:
    columns = ", ".join(f"{quote_text(name)}: {quote_text(kind)}" for name, kind in types.items())
    return f"read_csv({quote_text(str(csv))}, columns = {{{columns}}}, {_CSV})"


IDLE_SECONDS = 60.0
"""Seconds without a form after which the process ends."""
MEMORY = 512_000_000
"""Most bytes that a form's writer takes: its largest rows are kept in memory for a group of rows."""
_LOWEST = 19
_BEATS = 3
"""A lease is renewed so often before it runs out."""
_log = structlog.get_logger()


@private()
def run_form_maker(settings: Settings, supervisor: str, owner: str) -> None:
    """Make forms, as this owner, until none is due for a while or the supervisor ends."""
    require_layout(settings.data)
    name = liveness.make_owner_name(settings)
    scratch = liveness.spill_folder(settings, name)
    with (
        connected(settings) as db,
        liveness.hold_name(settings, name, supervisor),
        subscribe(db, Kind.FORM_QUEUED) as events,
    ):
        require_own_tables(db, settings)
        exit_with_parent()
        lower_priority(min(settings.worker_nice, _LOWEST))
        until = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < until:
            try:
                made = make_next_form(db, settings, owner, scratch)
            except StorageError as error:  # of the state: the lease of what it held runs out
                _log.warning("the queue of forms can't be used, trying again", reason=str(error))
                made = False
            if made:
                until = time.monotonic() + IDLE_SECONDS
            else:
                events.wait()


def make_next_form(db: Engine, settings: Settings, owner: str, scratch: Path) -> bool:
    """Make the next form; False when none is due. StorageError when the state can't be used.

    `scratch` is a folder for temporary files, which is made.
    """
    claim = forms.claim_form(db, owner, settings.lease_seconds)
    if claim is None:
        return False
    log = _log.bind(report=claim.report_id, form=claim.form.suffix)
    try:
        with _keep_lease(db, claim, settings.lease_seconds):
            record = _make_form(settings, claim, scratch)
    except Exception as error:  # whatever it was, who waits for the form must be told
        known = isinstance(error, ReelportError)
        log.warning("form failed", reason=str(error), exc_info=None if known else error)
        forms.fail_form(db, claim, error.code if isinstance(error, ReelportError) else InternalError.code)
    else:
        if not forms.finish_form(db, claim, record):
            settings.report_store.delete(record.name)
        log.info("form made", bytes=record.bytes)
    return True


def _make_form(settings: Settings, claim: FormClaim, scratch: Path) -> FileRecord:
    """Make the file of a form from the report's CSV, whose bytes are checked first."""
    draft = report_files.prepare_draft(settings, claim.report_id, claim.attempt, claim.form)
    memory = min(parse_size(settings.worker_memory), MEMORY)
    try:
        with holding():
            (csv,) = settings.report_store.local_paths([claim.csv.name])
            with translate_io_errors(csv):
                require_digest(csv, claim.csv.sha256)
            with translate_io_errors(scratch):
                scratch.mkdir(parents=True, exist_ok=True)
            write_form(csv, claim.csv.rows, claim.form, claim.about, draft, memory, scratch)
        killpoints.reach("form-write")
        with translate_io_errors(draft):
            written = Written(claim.csv.rows, draft.stat().st_size, compute_digest(draft))
        return report_files.publish_draft(settings, draft, written)
    finally:
        with suppress(OSError):  # the cause is already being raised; a later sweep deletes the draft
            draft.unlink(missing_ok=True)


@contextmanager
def _keep_lease(db: Engine, claim: FormClaim, seconds: float) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds / _BEATS):
            with suppress(StorageError):  # the next beat tries again
                forms.renew_form_lease(db, claim, seconds)

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
