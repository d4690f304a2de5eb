"""The files of a load: their formats by first bytes, and the progress of reading them."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, BinaryIO

import pyarrow as pa

from reelport.errors import BadInput, UsageError

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""A frame of zstd without data, which its readers skip; pzstd begins its files with one."""
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOKS = {".xlsx", ".xlsm", ".xlsb", ".ods"}
_UTF8_MARK = b"\xef\xbb\xbf"
_JSON_LIST = re.compile(rb"\[\s*(?:[{\[\]\"\d-]|$)")
"""How a list begins; a CSV's header may begin with a name in brackets."""
_STDIN = "would be standard input, which a load can't read more than once: write it to a file, and load that"
_HEAD = 4096


class FileFormat(StrEnum):
    """The format of a file's rows."""

    PARQUET = "Parquet"
    CSV = "CSV"
    NDJSON = "NDJSON"


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a load."""

    path: Path
    format: FileFormat
    compression: str | None
    stamp: tuple[int, int, int]
    """The inode, size and modification time (ns) when the file was first opened."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    @property
    def size(self) -> int:
        """The size on disk in bytes, when the file was first opened."""
        return self.stamp[1]

    @contextmanager
    def open(self) -> Iterator[OpenedFile]:
        """Open the file for reading its decompressed bytes; reads may raise any of `READ_ERRORS`."""
        with self.path.open("rb") as raw:
            match self.compression:
                case "gzip":
                    with gzip.open(raw, "rb") as stream:
                        yield OpenedFile(stream, raw)
                case "zstd":
                    with pa.CompressedInputStream(raw, "zstd") as stream:
                        yield OpenedFile(stream, raw)
                case _:
                    yield OpenedFile(raw, raw)


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file open for reading: the stream of its decompressed bytes, and the raw file on disk."""

    stream: IO[bytes] | gzip.GzipFile
    raw: BinaryIO

    def read(self, size: int) -> bytes:
        """Read the next decompressed bytes; empty at the end."""
        return self.stream.read(size)

    @property
    def position(self) -> int:
        """How many bytes of the file on disk were read."""
        return self.raw.tell()


READ_ERRORS = (EOFError, OSError, zlib.error, pa.ArrowException)
"""What reading an `OpenedFile` can raise when the file is truncated or damaged."""


def detect_format(paths: Sequence[Path]) -> tuple[InputFile, ...]:
    """Detect formats by first bytes; BadInput with the problems of all files."""
    if not paths:
        raise UsageError("no file was given")
    found, problems = [], []
    for path in paths:
        try:
            found.append(_detect_file(path))
        except BadInput as problem:
            problems.append(str(problem))
    if problems:
        raise BadInput("\n".join(problems))
    return tuple(found)


def _detect_file(path: Path) -> InputFile:
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder: name its files")
        if not path.exists():
            if path == Path("-"):
                raise BadInput(f"- {_STDIN}")
            raise BadInput(f"{path}: there is no such file")
        if not path.is_file():
            raise BadInput(f"{path} is no regular file: write what it gives to a file, and load that")
        with path.open("rb") as file:
            start = file.read(4)
        stamp = _read_stamp(path)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}") from error
    if not stamp[1]:
        raise BadInput(f"{path} is empty")
    is_zstd = start.startswith(_ZSTD) or _SKIPPABLE.match(start)
    compression = "gzip" if start.startswith(_GZIP) else "zstd" if is_zstd else None
    unpacked = InputFile(path, FileFormat.CSV, compression, stamp)
    try:
        with unpacked.open() as file:
            head = file.read(_HEAD)
    except READ_ERRORS as error:
        raise BadInput(damaged_sentence(unpacked, error)) from error
    return InputFile(path, _detect_by_content(path, compression, head), compression, stamp)


def _read_stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_unchanged(files: Sequence[InputFile]) -> None:
    """Raise BadInput if a file changed since its batch was named."""
    for file in files:
        try:
            same = _read_stamp(file.path) == file.stamp
        except OSError:
            same = False
        if not same:
            raise BadInput(f"nothing was loaded: {file.path} changed while it was read; load it when it is complete")


def _detect_by_content(path: Path, compression: str | None, head: bytes) -> FileFormat:
    if head.startswith(_PARQUET):
        if compression is not None:
            raise BadInput(f"{path}: Parquet inside {compression} can't be read; unpack it first")
        return FileFormat.PARQUET
    if not head.strip():
        raise BadInput(f"{path} is empty")
    if head.startswith(_OLD_EXCEL) or (head.startswith(_ZIP) and path.suffix.lower() in _WORKBOOKS):
        raise BadInput(f"{path} is a workbook: save its sheet as CSV in UTF-8, and load that")
    if head.startswith(_ZIP):
        raise BadInput(f"{path} is a ZIP archive: unpack it, and load what it holds")
    if head.startswith(_UTF16_MARKS) or (b"\0" in head and head.count(b"\0") * 3 > len(head)):
        raise BadInput(f"{path} is written in UTF-16 or UTF-32: convert it to UTF-8 (iconv -t UTF-8)")
    endings = {suffix.lower() for suffix in path.suffixes}
    if ".parquet" in endings and not _is_text(head):
        raise BadInput(f"{path} is no Parquet file, for all its name: it doesn't begin with PAR1")
    start = head.removeprefix(_UTF8_MARK).lstrip()
    if start.startswith(b"{") or (endings & {".ndjson", ".jsonl"} and _is_json(start.splitlines()[0])):
        return FileFormat.NDJSON
    if _JSON_LIST.match(start):
        raise BadInput(f"{path} is a JSON list: write one object a line (jq -c '.[]')")
    return FileFormat.CSV


def _is_text(head: bytes) -> bool:
    """Whether a file's first bytes are UTF-8 without a NUL; their last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _is_json(line: bytes) -> bool:
    """Whether a line is JSON; if it is no object, other lines may still be rows."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def damaged_sentence(file: InputFile, error: BaseException) -> str:
    """Format the error for a file that can't be read to its end."""
    what = f"{file.compression} data" if file.compression else "file"
    return f"{file.path}: the {what} is cut or damaged ({str(error).splitlines()[0] if str(error) else error!r})"


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage (reading, mapping, sorting, writing, committing) and the rows through with it.

    `done` and `total` are in `unit`, 'bytes' of the files on disk or 'rows'; None where unknown.
    """

    stage: str
    rows: int
    done: int | None = None
    total: int | None = None
    unit: str = "rows"

    @property
    def share(self) -> float | None:
        """The share that is done, from 0 to 1; None where unknown."""
        return None if self.done is None or not self.total else min(self.done / self.total, 1)


ProgressCallback = Callable[[Progress], None]


class ProgressMeter:
    """Counts rows and bytes read of a load's files; reports each step to a callback.

    The caller sets `stored`, the number of rows in Parquet files (only DuckDB knows how many of them it has read), and
    `is_engine_reading` when DuckDB reads the files for a mapping. The progress of a sort is unknown.
    """

    def __init__(self, files: Sequence[InputFile], tell: ProgressCallback | None) -> None:
        self.rows = 0
        self.stored = 0
        self.is_engine_reading = False
        self._tell = tell or (lambda _: None)
        self._places = [0] * len(files)
        self._bytes = sum(file.size for file in files)
        self._is_parquet = bool(files) and all(file.format is FileFormat.PARQUET for file in files)
        self._are_rows_written = False

    def add_read_rows(self, rows: int) -> None:
        """Report that so many more rows were read from text files."""
        self.rows += rows
        self._tell(Progress("reading", self.rows, sum(self._places), self._bytes, "bytes"))

    def set_position(self, file: int, place: int) -> None:
        """Note how many bytes of a file (from 0) are read; reported with the next rows."""
        self._places[file] = place

    def report_engine_share(self, share: float) -> None:
        """Report the share, from 0 to 1, that DuckDB has done of reading and sorting."""
        if self._are_rows_written:
            return
        if self._is_parquet and self.stored:
            self._tell(Progress("reading", self.rows, int(share * self.stored), self.stored))
        elif self.is_engine_reading and not self.rows:
            self._tell(Progress("reading", 0, int(share * self._bytes), self._bytes, "bytes"))
        elif self.is_engine_reading:
            self._tell(Progress("mapping", self.rows, int(share * self.rows), self.rows))
        elif self._bytes and sum(self._places) >= self._bytes:
            self._tell(Progress("sorting", self.rows))

    def report_written(self, rows: int, total: int | None) -> None:
        """Report that so many rows are written, of `total` if known."""
        self._are_rows_written = True
        self._tell(Progress("writing", rows, None if total is None else rows, total))

    def report_committing(self, rows: int) -> None:
        """Report that all rows are written, and that the commit to the table's log begins."""
        self._tell(Progress("committing", rows, rows, rows))
