"""Download files whole or not at all, proven by length, checksum and the CSV's shape."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

from reelport.client.events import Progress, Received, Retrying, Saved
from reelport.client.files import sidecar
from reelport.client.files.intake import BEYOND, OK, Intake, Promise, Proof, check_head, find_weakest
from reelport.client.files.part import Part, Position
from reelport.client.files.shape import Lines, build_too_many, count_keys
from reelport.client.files.sidecar import Sidecar
from reelport.client.flows.answers import find_failure
from reelport.client.flows.lifecycle import ReportState, build_failure, build_links_error, look
from reelport.client.flows.retry import pauses
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Open, Reply, Request, Wait, read, work
from reelport.errors import IncompleteDownload, ReelportError, ReportExpired, ServiceError, Unreachable, UsageError
from reelport.query import ReportQuery
from reelport.wire import ReportStatus, parse_complete_day
from reelport.wording import format_count, format_duration

if TYPE_CHECKING:
    from reelport.client.results.tables import Table

__all__ = ["Downloaded", "Proof", "download", "find_downloaded", "look_up_links"]

# Bytes that the pace's time must bring; the same as what makes a try of a download worth its while.
LEAST_BYTES = 1 << 16

_TRIES = 3

# A try that added this many bytes doesn't count, so that a large file over a bad line arrives in the end.
_WORTH = LEAST_BYTES

_LONGEST_PAUSE = 60.0
_AT_ONCE = 1 << 20

_PORTS = {"http": 80, "https": 443}
_NO_ADDRESS = "no web address"


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A report on disk, and the proof that it is whole. `rows` are those below the header.

    `sidecar` is the JSON file beside the report with these facts and its origin. It is None if another file has that
    name. `last_complete_day` is the last day whose facts were complete when the report was made: later days may still
    get rows. It is None if the service doesn't say, and `date.min` if no day is complete.
    """

    path: Path
    bytes: int
    sha256: str
    rows: int
    proof: Proof
    sidecar: Path | None = None
    last_complete_day: date | None = None

    def table(self, text: Collection[str] | str = ()) -> Table:
        """Read the file as rows, Arrow, Polars or pandas; `text`: columns to keep as text."""
        from reelport.client.results.tables import Table  # noqa: PLC0415 - most downloads are not read here

        return Table.of(self.path, text)


def download(
    session: Session,
    state: ReportState,
    target: Path,
    query: ReportQuery | None,
    tell: Progress,
    *,
    asked: datetime | None = None,
    finished: datetime | None = None,
) -> Flow[Downloaded]:
    """Download files into one under the target's name; a failure leaves that untouched.

    A body that was cut, also in a killed process, resumes where it can be proven, and else begins anew; an expired link
    is looked up again, once. Without a query the columns are not checked. Errors carry the report's token.
    """
    with _tag_errors(state.token), Part(target, state.token) as part:
        on_disk = _OnDisk(part, query)
        tries = _TriesLeft()
        while True:
            try:
                proof = yield from _fetch_all(session, state, on_disk, tell)
                break
            except (ReportExpired, Unreachable, IncompleteDownload) as error:
                on_disk.keep_or_drop()
                yield from _pause_or_raise(session, state.token, tries, error, on_disk, tell)
            state = yield from look_up_links(session, state.token, tell)
        done = yield from work(partial(_publish, session, state.token, query, (asked, finished), on_disk, proof))
    tell(Saved(state.token, done.bytes, done.rows))
    return done


@contextmanager
def _tag_errors(token: str) -> Iterator[None]:
    try:
        yield
    except ReelportError as error:
        error.token = error.token or token
        raise


def find_downloaded(path: Path, sha256: str, proof: Proof = Proof.CHECKSUM) -> Downloaded | None:
    """Return the file downloaded before, if its bytes still have this checksum; else None."""
    digest, lines, size = hashlib.sha256(), Lines(), 0
    try:
        with path.open("rb") as file:
            while data := file.read(_AT_ONCE):
                digest.update(data)
                lines.feed(data)
                size += len(data)
    except OSError:
        return None
    if digest.hexdigest() != sha256:
        return None
    found = path.with_name(f"{path.name}.json")
    says = sidecar.read_sidecar(found) or {}
    if says.get("sha256") != sha256:
        return Downloaded(path, size, sha256, lines.rows, proof)
    complete = parse_complete_day(says.get("last_complete_day"))
    return Downloaded(path, size, sha256, lines.rows, proof, found, complete)


def find_earliest(days: Collection[date | None]) -> date | None:
    """Return several files' last complete day: the earliest; None unless each has one."""
    known = [day for day in days if day is not None]
    return min(known, default=None) if len(known) == len(days) else None


def look_up_links(session: Session, token: str, tell: Progress) -> Flow[ReportState]:
    """Look at the report for fresh links. Raises when it can't be downloaded."""
    state = yield from look(session, token, tell)
    if state.status == ReportStatus.EXPIRED:
        raise ReportExpired(f"The report {token} has expired and its file is gone. Ask for it again.")
    if state.status == ReportStatus.FAILED:
        raise build_failure(state)
    if state.status == ReportStatus.FINISHED and state.links and state.lacks_links:
        raise build_links_error(state)
    if not state.ready:
        raise ServiceError(f"The report {token} can't be downloaded: it is {state.status}. Wait for it first.")
    return state


@dataclass(slots=True)
class _OnDisk:
    """What of a report is on disk so far: links that are complete, and the one that was cut."""

    part: Part
    query: ReportQuery | None
    whole: list[tuple[str, Proof]] = field(default_factory=list)
    complete: list[date | None] = field(default_factory=list)
    columns: tuple[str, ...] | None = None
    begin: Position | None = None
    intake: Intake | None = None
    alone: bool = True
    retry_after: float | None = None

    def matches(self, links: tuple[str, ...]) -> bool:
        """Whether fresh links begin with the files on disk, in order, judging by paths."""
        here, there = [path for path, _ in self.whole], [path_of_link(link) for link in links]
        return not here or (len(here) < len(there) == len(set(there)) and here == there[: len(here)])

    def restart(self) -> None:
        self.part.rewind()
        self.whole.clear()
        self.complete.clear()
        self.columns = self.begin = self.intake = None

    def keep_or_drop(self) -> None:
        """Keep the failed link's bytes where they can be resumed, else drop them."""
        if self.intake is not None and not self.intake.is_resumable:
            self.drop_link()

    def drop_link(self) -> None:
        """Drop the bytes of the present link, and those found from an earlier process."""
        if self.intake is not None or self.part.found:
            self.part.rewind(self.begin)
        self.intake = None
        self.part.keep = False

    def finish_link(self, link: str, proof: Proof) -> None:
        assert self.intake is not None  # noqa: S101 - what has ended has begun
        self.complete.append(self.intake.promise.last_complete_day)
        self.columns, self.begin, self.intake = self.intake.columns, None, None
        self.whole.append((path_of_link(link), proof))


@dataclass(slots=True)
class _TriesLeft:
    left: int = _TRIES
    expired: bool = False
    furthest: int = 0

    def count_failure(self, error: ReelportError, size: int) -> None:
        far = size >= self.furthest + _WORTH
        if far:
            self.left, self.expired, self.furthest = _TRIES, False, size
        self.left -= 1
        if not self.left or (self.expired and isinstance(error, ReportExpired)):
            raise error
        self.expired = isinstance(error, ReportExpired)


def _pause_or_raise(
    session: Session, token: str, tries: _TriesLeft, error: ReelportError, on_disk: _OnDisk, tell: Progress
) -> Flow[None]:
    try:
        tries.count_failure(error, on_disk.part.size)
    except ReportExpired:
        # The fresh link was refused as well: perhaps the report ended just then, and then a look says so.
        yield from look_up_links(session, token, tell)
        raise
    pause = min(max(next(pauses(session.chance)), on_disk.retry_after or 0.0), _LONGEST_PAUSE)
    tell(Retrying(str(error), pause))
    yield Wait(pause)


def _fetch_all(session: Session, state: ReportState, on_disk: _OnDisk, tell: Progress) -> Flow[Proof]:
    if not on_disk.matches(state.links):
        on_disk.restart()
    on_disk.alone = len(state.links) == 1
    if on_disk.part.found and not on_disk.alone:
        on_disk.part.rewind()
    for link in state.links[len(on_disk.whole) :]:
        if on_disk.part.size and on_disk.intake is None and not on_disk.part.lines.closed:
            on_disk.part.write(b"\n")  # or the next file's first row would continue the last line
        intake, proof = yield from _fetch_link(session, link, on_disk, tell)
        if proof is Proof.SHAPE and not intake.closed:
            raise IncompleteDownload("The last row has no line end: the file was cut on its way.")
        on_disk.finish_link(link, proof)
    proof = find_weakest([proof for _, proof in on_disk.whole])
    most = count_keys(on_disk.query) if on_disk.query and proof is not Proof.CHECKSUM else None
    if most is not None and on_disk.part.rows > most:  # Several files, each of which has no more.
        raise build_too_many(most)
    return proof


def _fetch_link(session: Session, link: str, on_disk: _OnDisk, tell: Progress) -> Flow[tuple[Intake, Proof]]:
    promise = yield from _open_link(session, link, on_disk)
    part, intake = on_disk.part, on_disk.intake
    if intake is None:
        if promise.start:
            intake = yield from _resume(on_disk, promise)
        else:
            on_disk.begin = part.position()
            intake = Intake(promise, part, on_disk.query, on_disk.columns)
        on_disk.intake = intake
    before = on_disk.begin.size if on_disk.begin else 0
    part.reserve((promise.total or 0) - intake.received)
    body = SteadyBody(session.clock.seconds, session.settings.pace, session.settings.timeout)
    while data := (yield from body.read()):
        if isinstance(data, Lost):
            reason = session.redact(data.reason)
            raise IncompleteDownload(f"The connection broke after {intake.received:,} bytes: {reason}.")
        intake.feed(data)
        part.keep = on_disk.alone and intake.is_keepable
        known_size = promise.total is not None and not intake.packed
        tell(Received(part.size, before + (promise.total or 0) if known_size else None))
    return intake, intake.finish()


def _open_link(session: Session, link: str, on_disk: _OnDisk) -> Flow[Promise]:
    while True:
        intake = on_disk.intake
        start = intake.received if intake else max(on_disk.part.found - 1, 0)
        head = yield from _request_link(session, link, start, intake.promise.tag if intake else None, on_disk)
        promise = Promise.of(head)
        if head.status == OK:
            on_disk.drop_link()
            return promise
        if not start:
            raise ServiceError(f"The report's file can't be downloaded: HTTP {head.status}, which was not asked for.")
        if head.status != BEYOND and promise.is_continuation(start, intake.promise if intake else None):
            if intake:
                intake.promise = promise
            return promise
        on_disk.drop_link()


def _request_link(session: Session, link: str, start: int, tag: str | None, on_disk: _OnDisk) -> Flow[Reply]:
    headers = {"accept": "text/csv, */*"}
    if start:
        headers["range"] = f"bytes={start}-"
    if start and tag:
        headers["if-range"] = tag
    head = yield Open(Request("GET", link, headers, timeout=session.settings.timeout))
    assert isinstance(head, Reply | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    failure = find_failure(head, "The report's file", session.clock.now(), session.redact)
    on_disk.retry_after = failure.retry_after if failure else None
    advice = advise_on_link_host(link, session.settings.url, reelport=session.reelport is True)
    if isinstance(head, Lost):
        where, why = describe_link_host(link), session.redact(head.reason)
        raise Unreachable(f"The report's file at {where} gave no answer: {why}. {advice}".rstrip())
    try:
        check_head(head)
    except ReelportError as error:
        raise type(error)(f"{error} {advice}".rstrip()) from None
    return head


def _resume(on_disk: _OnDisk, promise: Promise) -> Flow[Intake]:
    header = yield from work(on_disk.part.recover)
    intake = Intake(promise, on_disk.part, on_disk.query)
    try:
        intake.resume(header, on_disk.part.size)
    except ServiceError:
        on_disk.part.rewind()
        raise IncompleteDownload("The part of an earlier download is not the beginning of this report.") from None
    return intake


def _publish(
    session: Session,
    token: str,
    query: ReportQuery | None,
    times: tuple[datetime | None, datetime | None],
    on_disk: _OnDisk,
    proof: Proof,
) -> Downloaded:
    part, complete = on_disk.part, find_earliest(on_disk.complete)
    beside = sidecar.find_sidecar_path(part.target)
    origin, facts = (session.settings.url, token, query, *times), (part.size, part.sha256, part.rows)
    known_of = Sidecar(*origin, session.clock.now(), *facts, proof.word, complete)
    part.publish(beside, known_of.to_json().encode())
    return Downloaded(part.target, *facts, proof, beside, complete)


@dataclass(slots=True)
class SteadyBody:
    """The open body, which may take `window` seconds of waiting for `LEAST_BYTES`.

    Of one read at most `silence` seconds count, after which the transport gives up: beyond that the process, or its
    event loop, stood still.
    """

    clock: Callable[[], float]
    window: float
    silence: float
    _waited: float = 0.0
    _bytes: int = 0

    def read(self) -> Flow[bytes | Lost]:
        """Read the next bytes; none at the end. Lost for more after what came too late."""
        before = self.clock()
        data = yield from read()
        if isinstance(data, Lost) or not data:
            return data
        is_late = self._waited >= self.window
        self._waited += min(self.clock() - before, self.silence)
        self._bytes += len(data)
        if self._bytes >= LEAST_BYTES:
            self._waited, self._bytes = 0.0, 0
        elif is_late:
            return Lost(f"it brought {format_count(self._bytes, 'byte')} in {format_duration(self._waited)}")
        return data


def describe_link_host(link: str) -> str:
    """Return a link's scheme, host and port (`http://127.0.0.1:8642`); words if it has none."""
    parts = _split(link)
    if parts is None or not parts.hostname:
        return _NO_ADDRESS
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def path_of_link(link: str) -> str:
    """Return a link's path, which tells its file from others; all of it if it is no address."""
    parts = _split(link)
    return link if parts is None else parts.path


def advise_on_link_host(link: str, url: str, *, reelport: bool) -> str:
    """Say what to set where a Reelport service's link leads to another host than `url`."""
    if not reelport or _read_host_and_port(link) == _read_host_and_port(url):
        return ""
    return (
        f"The link leads to {describe_link_host(link)}, the service was called at {describe_link_host(url)}: have "
        "its operator set REELPORT_PUBLIC_URL to the address that partners use, or the proxy pass Host and "
        "X-Forwarded-Proto."
    )


def _read_host_and_port(address: str) -> tuple[str | None, int | None] | None:
    parts = _split(address)
    return None if parts is None else (parts.hostname, parts.port or _PORTS.get(parts.scheme))


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - an invalid port raises when it is read
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS else None


@dataclass(frozen=True, slots=True)
class Ranged(Downloaded):
    """A report over any range on disk; `windows` are the reports it was made of.

    If windows stay separate, `path` is their folder, `bytes` and `rows` are totals, and there is neither a SHA-256 nor
    a sidecar. A merge deletes the windows' files. `last_complete_day` is the earliest one of the windows.
    """

    windows: tuple[Downloaded, ...] = ()

    @classmethod
    def alone(cls, done: Downloaded) -> Self:
        """Make the result of a range that was one report."""
        return cls(
            done.path, done.bytes, done.sha256, done.rows, done.proof, done.sidecar, done.last_complete_day, (done,)
        )

    @classmethod
    def kept(cls, folder: Path, windows: Sequence[Downloaded]) -> Self:
        """Make the result of windows kept as separate files."""
        size, rows = sum(each.bytes for each in windows), sum(each.rows for each in windows)
        proof = find_weakest([each.proof for each in windows])
        complete = find_earliest([each.last_complete_day for each in windows])
        return cls(folder, size, "", rows, proof, None, complete, tuple(windows))

    def table(self, text: Collection[str] = ()) -> Table:
        """Read the file as a table. UsageError where windows are apart: each has its own."""
        if self.path.is_dir():
            raise UsageError("The windows were kept apart: take the table of each of `windows`.")
        return Downloaded.table(self, text)  # A class with slots has no `super()` without arguments.
