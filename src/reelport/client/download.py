"""Fetch a report's files whole or not at all: what a flow relies on is length, checksum and the shape of the CSV."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from reelport.client.events import Progress, Received, Retrying
from reelport.client.flow import DEADLINE, ReportState, ask, look, wait
from reelport.client.part import Intake, Part, storage
from reelport.client.retry import pauses
from reelport.client.session import Session
from reelport.client.shape import check_header, check_rows, count_rows
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, opened, read, work
from reelport.client.tables import Table
from reelport.errors import IncompleteDownload, ReportExpired, ServiceError, Unreachable
from reelport.query import ReportQuery
from reelport.wire import ReportStatus

_TRIES = 3
_OK = 200
_GONE = frozenset({400, 401, 403, 404, 410})
"""What servers of signed links say of one that has expired."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_KNOWN_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})


class Proof(StrEnum):
    """What shows that a file is whole, the strongest first."""

    CHECKSUM = "its SHA-256 is the service's"
    LENGTH = "its length is the service's, and every row is whole"
    SHAPE = "every row is whole, but the service said neither length nor checksum"


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A report on disk, and what shows that it is whole."""

    path: Path
    bytes: int
    proof: Proof

    def rows(self) -> int:
        """The number of rows below the header; reads the file."""
        return count_rows(self.path)

    def table(self, text: Collection[str] = ()) -> Table:
        """The file as typed rows, Arrow, Polars or pandas; `text` names columns to leave as they are."""
        return Table.of(self.path, text)


def download(
    session: Session, state: ReportState, target: Path, query: ReportQuery | None, tell: Progress
) -> Flow[Downloaded]:
    """Put the files of a report together under the target's name. Anything less leaves that name as it was.

    A link that has expired and a body that was cut are tried again with a fresh look at the report.
    Without a query the columns are not compared with what was asked for.
    """
    with Part(target) as part:
        for pause, last in zip(pauses(session.chance), (False,) * (_TRIES - 1) + (True,), strict=False):
            try:
                proof = yield from _fetch_all(state, part, query, tell)
                yield from work(part.publish)
                return Downloaded(target, part.size, proof)
            except (ReportExpired, Unreachable, IncompleteDownload) as error:
                if last:
                    raise
                tell(Retrying(str(error), pause))
            yield Wait(pause)
            part.rewind(0)
            part.header = None
            state = yield from ready(session, state.token, tell)
    raise AssertionError("the last try returns or raises")


def ready(session: Session, token: str, tell: Progress) -> Flow[ReportState]:
    """The report with fresh links. Raises when it is in no state to be downloaded."""
    state = yield from look(session, token, tell)
    if state.status == ReportStatus.EXPIRED:
        raise ReportExpired(f"The report {token} has expired and its file is gone. Ask for it again.")
    if not state.ready:
        raise ServiceError(f"The report {token} can't be downloaded: it is {state.status}. Wait for it first.")
    return state


def run(
    session: Session, query: ReportQuery, target: Path, tell: Progress, *, deadline: float = DEADLINE
) -> Flow[Downloaded]:
    """Ask, wait, download."""
    asked = yield from ask(session, query, tell)
    state = yield from wait(session, asked.token, tell, deadline=deadline)
    return (yield from download(session, state, target, query, tell))


def _fetch_all(state: ReportState, part: Part, query: ReportQuery | None, tell: Progress) -> Flow[Proof]:
    """Fetch every link of a report into one part, with one header."""
    proof = Proof.CHECKSUM
    closed = True
    for link in state.links:
        if not closed:
            part.write(b"\n")  # or the next file's first row would go on in the last line
        intake, head = yield from _fetch(link, part, tell)
        closed = intake.closed
        found = _proof(head, intake)
        part.flush()
        columns = yield from work(partial(_columns, part.path, query))
        part.header = columns
        proof = max(proof, found, key=list(Proof).index)
        if found is Proof.SHAPE and not closed:
            raise IncompleteDownload("The last row has no line end: the file was cut on its way.")
    if proof is not Proof.CHECKSUM:
        yield from work(partial(_rows, part.path, query))
    return proof


def _fetch(link: str, part: Part, tell: Progress) -> Flow[tuple[Intake, Reply]]:
    """Take in one link's whole body, as far as the connection can tell."""
    head = yield from opened(Request("GET", link, {"accept": "text/csv, */*"}))
    if isinstance(head, Lost):
        raise Unreachable(f"The report's file gave no answer: {head.reason}.")
    _refuse(head)
    total = _length(head)
    before, intake = part.size, Intake(part)
    while data := (yield from read()):
        if isinstance(data, Lost):
            raise IncompleteDownload(f"The connection broke after {intake.received} bytes: {data.reason}.")
        intake.take(data)
        tell(Received(part.size, None if total is None else before + total))
    intake.end()
    return intake, head


def _refuse(head: Reply) -> None:
    """Raise for an answer that holds no file."""
    kind = head.headers.get("content-type", "")
    encoding = head.headers.get("content-encoding", "").strip().lower()
    if head.status in _GONE:
        raise ReportExpired(
            f"The report's link is not good any more (HTTP {head.status}). Download it again by its token."
        )
    if head.status in _PASSING:
        raise Unreachable(f"The report's file can't be had now (HTTP {head.status}).")
    if head.status != _OK:
        raise ServiceError(f"The report's file can't be had: HTTP {head.status}.")
    if kind.startswith("text/html"):
        raise ServiceError("The service sent an HTML page instead of the report.")
    if encoding not in _KNOWN_ENCODINGS:
        raise ServiceError(f"The report's file is encoded as {encoding[:40]!r}, which was not asked for.")


def _proof(head: Reply, intake: Intake) -> Proof:
    """What shows that a body is whole. Raises IncompleteDownload where it isn't."""
    total = _length(head)
    if total is not None and intake.received != total:
        raise IncompleteDownload(f"{intake.received} bytes came where {total} were announced. Nothing was kept.")
    checksum = _SHA256.fullmatch(head.headers.get("etag", ""))
    if checksum:
        if not intake.has_hash(checksum[1]):
            raise IncompleteDownload("The file's SHA-256 is not the one that the service gave. Nothing was kept.")
        return Proof.CHECKSUM
    framed = total is not None or "chunked" in head.headers.get("transfer-encoding", "").lower()
    return Proof.LENGTH if framed else Proof.SHAPE


def _rows(path: Path, query: ReportQuery | None) -> int:
    with storage(path):
        return check_rows(path, query)


def _columns(path: Path, query: ReportQuery | None) -> tuple[str, ...]:
    with storage(path), path.open("rb") as file:
        return check_header(file.readline(1 << 16), query)


def _length(head: Reply) -> int | None:
    text = head.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None
