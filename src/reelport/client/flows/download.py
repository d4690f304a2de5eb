"""Download files whole or not at all, proven by length, checksum and the CSV's shape."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

from reelport.client.events import Progress, Received, Retrying, Saved
from reelport.client.files import sidecar
from reelport.client.files.csv_checks import Lines, build_too_many, count_keys
from reelport.client.files.part import Part, Position
from reelport.client.files.resumable_transfer import BEYOND, OK, Intake, Promise, Proof, check_head, find_weakest
from reelport.client.files.sidecar import Sidecar
from reelport.client.flows.answers import find_failure
from reelport.client.flows.lifecycle import ReportState, build_expired, build_failure, build_links_error, look
from reelport.client.flows.pauses import pauses
from reelport.client.flows.retry import LEAST_BYTES, SteadyBody
from reelport.client.ledger_rows import Row
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, open_body, work
from reelport.errors import IncompleteDownload, ReelportError, ReportExpired, ServiceError, Unreachable, UsageError
from reelport.query import ReportQuery
from reelport.wire import ReportStatus, parse_complete_day

if TYPE_CHECKING:
    from reelport.client.results.tables import Table

__all__ = ["Downloaded", "Proof", "download", "find_downloaded", "look_up_links"]

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
    row: Row | None = None,
) -> Flow[Downloaded]:
    """Download files into one under the target's name; a failure leaves that untouched.

    A body that was cut, also in a killed process, resumes where it can be proven, and else begins anew; an expired link
    is looked up again, once. Looks are recorded in the report's row. Without a query the columns are not checked.
    Errors carry the report's token.
    """
    with _tag_errors(state.token), Part(target, state.token) as part:
        fetching = _Download(session, state.token, part, query, tell, row)
        proof = yield from fetching.fetch(state.links)
        done = yield from work(partial(fetching.publish, proof))
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


def look_up_links(session: Session, token: str, tell: Progress, row: Row | None = None) -> Flow[ReportState]:
    """Look at the report for fresh links, noted in its row. Raises unless it is downloadable."""
    state = yield from look(session, token, tell, row=row)
    if state.status == ReportStatus.EXPIRED:
        raise build_expired(token)
    if state.status == ReportStatus.FAILED:
        raise build_failure(state)
    if state.status == ReportStatus.FINISHED and state.links and state.lacks_links:
        raise build_links_error(state)
    if not state.ready:
        raise ServiceError(f"The report {token} can't be downloaded: it is {state.status}. Wait for it first.")
    return state


@dataclass(slots=True)
class _Download:
    """A report on its way to disk: links that are complete, the one that was cut, tries left."""

    session: Session
    token: str
    part: Part
    query: ReportQuery | None
    tell: Progress
    row: Row | None
    whole: list[tuple[str, Proof]] = field(default_factory=list)
    complete: list[date | None] = field(default_factory=list)
    columns: tuple[str, ...] | None = None
    begin: Position | None = None
    intake: Intake | None = None
    alone: bool = True
    retry_after: float | None = None
    tries: int = _TRIES
    expired: bool = False
    furthest: int = 0

    def fetch(self, links: tuple[str, ...]) -> Flow[Proof]:
        """Fetch all links, going on after breaks; return the proof that they are whole."""
        while True:
            try:
                return (yield from self._fetch_links(links))
            except (ReportExpired, Unreachable, IncompleteDownload) as error:
                if self.intake is not None and not self.intake.is_resumable:
                    self._drop_link()
                yield from self._pause_or_raise(error)
            links = (yield from self._look_up()).links

    def _look_up(self) -> Flow[ReportState]:
        return look_up_links(self.session, self.token, self.tell, self.row)

    def publish(self, proof: Proof) -> Downloaded:
        """Give the whole file its name, beside its sidecar."""
        part, complete = self.part, find_earliest(self.complete)
        beside = sidecar.find_sidecar_path(part.target)
        asked, finished = (self.row.asked, self.row.finished) if self.row else (None, None)
        origin = (self.session.settings.url, self.token, self.query, asked, finished)
        facts = (part.size, part.sha256, part.rows)
        known_of = Sidecar(*origin, self.session.clock.now(), *facts, proof.word, complete)
        part.publish(beside, known_of.to_json().encode())
        return Downloaded(part.target, *facts, proof, beside, complete)

    def _pause_or_raise(self, error: ReelportError) -> Flow[None]:
        if self.part.size >= self.furthest + _WORTH:
            self.tries, self.expired, self.furthest = _TRIES, False, self.part.size
        self.tries -= 1
        again, self.expired = self.expired, isinstance(error, ReportExpired)
        if not self.tries or (again and self.expired):
            if self.expired:
                # The fresh link was refused as well: perhaps the report ended just then, and then a look says so.
                yield from self._look_up()
            raise error
        pause = min(max(next(pauses(self.session.chance)), self.retry_after or 0.0), _LONGEST_PAUSE)
        self.tell(Retrying(str(error), pause))
        yield Wait(pause)

    def _fetch_links(self, links: tuple[str, ...]) -> Flow[Proof]:
        here, there = [path for path, _ in self.whole], [path_of_link(link) for link in links]
        if here and not (len(here) < len(there) == len(set(there)) and here == there[: len(here)]):
            # Judging by paths, fresh links don't begin with the files on disk, in order.
            self.part.rewind()
            self.whole, self.complete = [], []
            self.columns = self.begin = self.intake = None
        self.alone = len(links) == 1
        if self.part.found and not self.alone:
            self.part.rewind()
        for link in links[len(self.whole) :]:
            if self.part.size and self.intake is None and not self.part.lines.closed:
                self.part.write(b"\n")  # or the next file's first row would continue the last line
            intake, proof = yield from self._fetch_link(link)
            if proof is Proof.SHAPE and not intake.closed:
                raise IncompleteDownload("The last row has no line end: the file was cut on its way.")
            self.complete.append(intake.promise.last_complete_day)
            self.columns, self.begin, self.intake = intake.columns, None, None
            self.whole.append((path_of_link(link), proof))
        proof = find_weakest([proof for _, proof in self.whole])
        most = count_keys(self.query) if self.query and proof is not Proof.CHECKSUM else None
        if most is not None and self.part.rows > most:  # Several files, each of which has no more.
            raise build_too_many(most)
        return proof

    def _fetch_link(self, link: str) -> Flow[tuple[Intake, Proof]]:
        promise = yield from self._open_link(link)
        part, intake = self.part, self.intake
        if intake is None:
            if promise.start:
                intake = yield from self._resume(promise)
            else:
                self.begin = part.position()
                intake = Intake(promise, part, self.query, self.columns)
            self.intake = intake
        before = self.begin.size if self.begin else 0
        part.reserve((promise.total or 0) - intake.received)
        body = SteadyBody.of(self.session)
        while data := (yield from body.read()):
            if isinstance(data, Lost):
                reason = self.session.redact(data.reason)
                raise IncompleteDownload(f"The connection broke after {intake.received:,} bytes: {reason}.")
            intake.feed(data)
            part.keep = self.alone and intake.is_keepable
            known_size = promise.total is not None and not intake.packed
            self.tell(Received(part.size, before + (promise.total or 0) if known_size else None))
        return intake, intake.finish()

    def _open_link(self, link: str) -> Flow[Promise]:
        while True:
            intake = self.intake
            start = intake.received if intake else max(self.part.found - 1, 0)
            head = yield from self._request_link(link, start, intake.promise.tag if intake else None)
            promise = Promise.of(head)
            if head.status == OK:
                self._drop_link()
                return promise
            if not start:
                raise ServiceError(
                    f"The report's file can't be downloaded: HTTP {head.status}, which was not asked for."
                )
            if head.status != BEYOND and promise.is_continuation(start, intake.promise if intake else None):
                if intake:
                    intake.promise = promise
                return promise
            self._drop_link()

    def _request_link(self, link: str, start: int, tag: str | None) -> Flow[Reply]:
        session, headers = self.session, {"accept": "text/csv, */*"}
        if start:
            headers["range"] = f"bytes={start}-"
        if start and tag:
            headers["if-range"] = tag
        head = yield from open_body(Request("GET", link, headers, timeout=session.settings.timeout))
        failure = find_failure(head, "The report's file", session.clock.now(), session.redact)
        self.retry_after = failure.retry_after if failure else None
        advice = advise_on_link_host(link, session.settings.url, reelport=session.reelport is True)
        if isinstance(head, Lost):
            where, why = describe_link_host(link), session.redact(head.reason)
            raise Unreachable(f"The report's file at {where} gave no answer: {why}. {advice}".rstrip())
        try:
            check_head(head)
        except ReelportError as error:
            raise type(error)(f"{error} {advice}".rstrip()) from None
        return head

    def _resume(self, promise: Promise) -> Flow[Intake]:
        header = yield from work(self.part.recover)
        intake = Intake(promise, self.part, self.query)
        try:
            intake.resume(header, self.part.size)
        except ServiceError:
            self.part.rewind()
            raise IncompleteDownload("The part of an earlier download is not the beginning of this report.") from None
        return intake

    def _drop_link(self) -> None:
        """Drop the bytes of the present link, and those found from an earlier process."""
        if self.intake is not None or self.part.found:
            self.part.rewind(self.begin)
        self.intake = None
        self.part.keep = False


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
