"""Bad rows: how many a load tolerates, and the reject file that keeps them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from threading import RLock
from typing import IO

from reelport.errors import BadInput, UsageError
from reelport.facts.defaults import REJECT_BYTES, REJECT_ROWS
from reelport.facts.row_rules import OUTPUT
from reelport.storage.durable import sync_file, sync_folder, translate_io_errors
from reelport.wording import format_count

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%")
_DAYS_SHOWN = 5
_WHOLE = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True)
class RejectCap:
    """The most that a reject file holds; further bad rows are counted but not kept."""

    rows: int = REJECT_ROWS
    bytes: int = REJECT_BYTES


@dataclass(frozen=True, slots=True)
class MaxBad:
    """The most bad rows tolerated: a number or a share of all read; `text` as it was written."""

    text: str
    rows: int | None = None
    share: Fraction | None = None

    def is_exceeded(self, bad: int, total: int) -> bool:
        """Whether `bad` rows of `total` are too many."""
        if self.rows is not None:
            return bad > self.rows
        return self.share is not None and bad > self.share * total


@dataclass(frozen=True, slots=True)
class LoadTerms:
    """A load's terms: how many bad rows it tolerates, which days (both included) it replaces."""

    strict: bool = False
    span: tuple[date, date] | None = None
    most: MaxBad | None = None

    def refuse_bad_rows(self, rows: int, bad: int, total: int) -> str | None:
        """Say why bad rows refuse the load: the option, "" without good rows, None if they don't."""
        if bad and not rows:
            return ""
        if self.most is not None and self.most.is_exceeded(bad, total):
            return f"--max-bad {self.most.text}"
        if self.strict and bad:
            return "--strict"
        return "a replacement takes no bad rows" if bad and self.span is not None else None

    def find_problem(self, rows: int, days: Sequence[date], names: Sequence[str]) -> str | None:
        """Say why good rows can't be loaded: there are none, or some are outside the days."""
        if self.span is None:
            return None if rows else f"there are no rows in {', '.join(names)}"
        outside = [day.isoformat() for day in days if not self.span[0] <= day <= self.span[1]]
        if not outside:
            return None
        more = " …" if len(outside) > _DAYS_SHOWN else ""
        return f"rows lie outside the days to replace ({', '.join(outside[:_DAYS_SHOWN])}{more})"


def parse_max_bad(text: str) -> MaxBad:
    """Parse a limit such as `100` or `5%`. Raises UsageError when the text is neither."""
    word = text.strip()
    if found := _SHARE.fullmatch(word):
        share = Fraction(found[1]) / 100
        if share <= 1:
            return MaxBad(word, share=share)
    elif _WHOLE.fullmatch(word):
        return MaxBad(word, rows=int(word))
    raise UsageError(f"the most bad rows are a number such as 100, or a share such as 5%, not {text!r}")


HEADER = ("file", "line", "reason", "raw")
SHOWN = 3
_LONGEST_HEADER = 100
_BATCH_SHOWN = 8  # characters of the batch in a reject file's name: an export may come by one name every hour
_MOST_READ = 65_536  # bytes of a reject file that examples are looked for in
_Place = tuple[int, int, int, int]
"""The number of a row's file and its line; the offset and length of its bytes in the reject file."""


class Rejects:
    """Counts bad rows and writes them to the reject file, which `finish` makes appear.

    `terms` say how many refuse the load. Without a path, bad rows are only counted; past the cap too. `claim` is called
    with the path of the unfinished file before the file is created. `lines` counts those that couldn't be parsed as
    rows at all. Thread-safe.
    """

    def __init__(
        self,
        path: Path | None,
        names: Sequence[str],
        terms: LoadTerms,
        cap: RejectCap | None = None,
        claim: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.count = 0
        self.kept = 0
        self.lines = 0
        self.first: list[str] = []
        self._names = names
        self._terms = terms
        self._cap = cap or RejectCap()
        self._claim = claim
        self._bytes = len(_format_csv_line(HEADER))
        self._places: list[_Place] = []
        self._is_full = False
        # A random name, opened with "x": an existing file or link is never written to.
        self._part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part") if path else None
        self._file: IO[bytes] | None = None
        self._lock = RLock()

    def add_broken_line(self, file: int, line: int, reason: str, raw: str) -> None:
        """Add a line that can't be parsed as a row. Raises BadInput when it is one too many."""
        self.lines += 1
        self.add_row(file, line, reason, json.dumps(raw, ensure_ascii=False))

    def add_row(self, file: int | None, line: int, reason: str, raw: str) -> None:
        """Add a bad row; `file` is None for a row of a mapping's output; `raw` is the row as JSON.

        Raises BadInput when there are now more than the terms' number, or when they are strict and the file is full.
        """
        name = OUTPUT if file is None else self._names[file]
        place = f"row {line} of {name}" if file is None else f"{name} line {line}"
        with self._lock:
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(f"{place}: {reason}")
            self._write(len(self._names) if file is None else file, (name, line, reason, raw))
            most = self._terms.most
            if most is not None and most.rows is not None and self.count > most.rows:
                raise self._make_refusal(None, f"--max-bad {most.text}")
            if self._terms.strict and self._is_full:
                raise self._make_refusal(None, "--strict")

    def check(self, good: int, total: int) -> None:
        """Raise BadInput if the bad rows, all known by now, refuse so many good ones of `total`."""
        if (why := self._terms.refuse_bad_rows(good, self.count, total)) is not None:
            raise self._make_refusal(total, why)

    def _make_refusal(self, total: int | None, why: str) -> BadInput:
        """Finish the reject file and make the error that ends a load because of its bad rows."""
        self.finish()
        return BadInput(f"nothing was loaded{f' ({why})' if why else ''}: {self.format_summary(total)}")

    def _write(self, file: int, row: tuple[str, int, str, str]) -> None:
        if self._part is None or self._is_full:
            return
        with translate_io_errors(self._part):
            line = _format_csv_line(row)
            if self.kept >= self._cap.rows or self._bytes + len(line) > self._cap.bytes:
                self._is_full = True
                return
            if self._file is None:
                self._part.parent.mkdir(parents=True, exist_ok=True)
                self._claim(self._part)
                self._file = self._part.open("xb")
                self._file.write(_format_csv_line(HEADER))
            self._file.write(line)
            self._places.append((file, row[1], self._bytes, len(line)))
            self.kept += 1
            self._bytes += len(line)

    def finish(self) -> None:
        """Sort the rows by file and line, sync the file and rename it to its path."""
        with self._lock:
            self._is_full = True
            if self._file is None or self._part is None or self.path is None:
                return
            with translate_io_errors(self.path):
                self._file.close()
                self._sort(self._part)
                sync_file(self._part)
                self._part.replace(self.path)
                sync_folder(self.path.parent)
                self._file = None

    def _sort(self, part: Path) -> None:
        """Sort the file by file and line: broken lines were added first, rows by their days."""
        places = sorted(self._places)
        if places == self._places:
            return
        with part.open("rb") as rows:
            part.unlink()
            self._file = part.open("xb")
            self._file.write(_format_csv_line(HEADER))
            for _, _, start, length in places:
                self._file.write(os.pread(rows.fileno(), length, start))
            self._file.close()

    def discard(self) -> None:
        """Delete an unfinished file; does nothing after `finish`."""
        with self._lock:
            if self._file is not None and self._part is not None:
                with suppress(OSError):
                    self._file.close()
                with suppress(OSError):
                    self._part.unlink(missing_ok=True)
                self._file = None

    def format_summary(self, total: int | None) -> str:
        """Format the number of bad rows (of `total`), first reasons, and where others are."""
        more = self.count - len(self.first)
        listed = "\n".join(f"  {line}" for line in self.first) + (f"\n  … and {more:,} more" if more else "")
        count = format_count(self.count, "row")
        among = f"{count} so far" if total is None else f"{self.count:,} of {format_count(total, 'row')}"
        which = "all" if self.kept == self.count else f"the first {self.kept:,}"
        where = f" ({which} are in {self.path})" if self.path and self.kept else ""
        return f"{among} can't be taken{where}:\n{listed}"


def _format_csv_line(cells: Sequence[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def name_rejects(source: str, batch: str) -> str:
    """Name the reject file that lies beside the first file of a load."""
    return f"{source}.{batch[:_BATCH_SHOWN]}.rejects.csv"


def find_kept_rejects(root: Path, batch: str) -> Path:
    """Find the reject file of a batch whose files lie where none can be written."""
    return root.absolute().parent / "rejects" / f"{batch}.csv"


def read_examples(path: Path) -> tuple[str, ...]:
    """Read the first three reasons of a reject file; none where there is no such file."""
    if not _is_reject_file(path):
        return ()
    with translate_io_errors(path), path.open("rb") as file:
        text = file.read(_MOST_READ).decode("utf-8", "replace")
    rows = csv.DictReader(io.StringIO(text.rpartition("\n")[0], newline=""))
    return tuple(dict.fromkeys(row["reason"] for row in rows if row["reason"]))[:SHOWN]


def _is_reject_file(path: Path) -> bool:
    if not path.is_file():
        return False
    with translate_io_errors(path), path.open("rb") as file:
        return file.readline(_LONGEST_HEADER) in {b"", _format_csv_line(HEADER)}


def refuse_reject_files(paths: Sequence[Path]) -> None:
    """Raise UsageError for a reject file among a load's files, as a glob may take it in."""
    for path in paths:
        if _is_reject_file(path):
            raise UsageError(f"{path} is the reject file of an earlier load: leave it out, and load the corrected rows")


def check_rejects_path(path: Path, root: Path, others: Sequence[Path]) -> None:
    """Raise UsageError for a path that the load reads, or that holds anything but rejects."""
    for other in others:
        if path.exists() and other.exists() and path.samefile(other):
            same = f"{path}" if path.absolute() == other.absolute() else f"{path} (the same file as {other})"
            raise UsageError(
                f"{same} is read by this load, and its bad rows would be written over it: if it is the reject file "
                "of an earlier load, leave it out; otherwise name another place by --rejects"
            )
    if path.is_dir():
        raise UsageError(f"--rejects names the folder {path}: name a file in it")
    if path.exists() and not _is_reject_file(path):
        raise UsageError(
            f"{path} is there already and is no reject file, so it is not written over: name another place by "
            "--rejects (--reject-rows 0 keeps none)"
        )
    if root.resolve() in path.resolve().parents:
        raise UsageError(f"--rejects {path} lies among the tables: name another place")
