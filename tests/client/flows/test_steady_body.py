"""A download that trickles is a broken one: it goes on by range, and ends where nothing more comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, Time, looked
from tests.client.downloads import CSV, SHA
from tests.client.flows.flow_driver import reply

from reelport.client.events import Event, Retrying
from reelport.client.flows.download import LEAST_BYTES, Downloaded, SteadyBody, download
from reelport.client.flows.lifecycle import ReportState
from reelport.client.session import Grant, Session
from reelport.client.steps import Exclusive, Flow, Lost, Open, Read, Reply, Request, Send, Wait, Work
from reelport.errors import IncompleteDownload
from reelport.wire import ReportStatus

LINK = "https://reports.example.org/file"
WHOLE = CSV.encode()


class Trickle:
    """Drives a download; each opened body answers with the next list of (seconds, bytes)."""

    def __init__(self, time: Time, *bodies: list[tuple[float, bytes]]) -> None:
        self.time = time
        self.bodies = list(bodies)
        self.asked: list[Request] = []
        self.body: Iterator[tuple[float, bytes]] = iter(())

    def run(self, flow: Flow[Downloaded]) -> Downloaded:
        """Run the flow to its end and return its result."""
        answer: object = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                done: Downloaded = end.value
                return done
            answer = self._answer(step)

    def _answer(self, step: object) -> object:
        match step:
            case Open(request):
                return self._open(request)
            case Read():
                seconds, data = next(self.body)
                self.time.seconds += seconds
                return data
            case Send():
                return reply(looked("FINISHED", LINK))
            case Work(task):
                return task()
            case Wait() | Exclusive():
                return None
        raise AssertionError(step)

    def _open(self, request: Request) -> Reply:
        self.asked.append(request)
        self.body = iter([*(self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]), (0.0, b"")])
        start = int(request.headers.get("range", "bytes=0-").split("=")[1].rstrip("-"))
        head = {"content-length": str(len(WHOLE) - start), "etag": f'"{SHA}"', "accept-ranges": "bytes"}
        if start:
            return Reply(206, {**head, "content-range": f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}"})
        return Reply(200, head)


def _drip(data: bytes) -> list[tuple[float, bytes]]:
    """A byte a minute, which never is silence for long."""
    return [(59.0, bytes([each])) for each in data]


def _download(session: Session, target: Path, driver: Trickle, told: list[Event]) -> Downloaded:
    session.access.grant = Grant("token", float("inf"))
    state = ReportState(REPORT, ReportStatus.FINISHED, (LINK,))
    return driver.run(download(session, state, target, None, told.append))


def _read_all(body: SteadyBody, time: Time, reads: list[tuple[float, bytes]]) -> list[bytes | Lost]:
    """What comes of reads that take so many seconds each, after each of which the reader does something else."""
    return [_read(body, time, *each) for each in reads]


def _read(body: SteadyBody, time: Time, seconds: float, data: bytes) -> bytes | Lost:
    time.seconds += 1000.0
    flow = body.read()
    next(flow)
    time.seconds += seconds
    with pytest.raises(StopIteration) as end:
        flow.send(data)
    read: bytes | Lost = end.value.value
    return read


def test_a_trickling_download_goes_on_by_range(session: Session, time: Time, tmp_path: Path) -> None:
    """After five minutes of a byte each, the rest is asked for anew; what came is kept."""
    driver, told = Trickle(time, _drip(WHOLE), [(1.0, WHOLE[6:])]), list[Event]()
    done = _download(session, tmp_path / "views.csv", driver, told)
    assert done.path.read_bytes() == WHOLE
    assert [each.headers.get("range") for each in driver.asked] == [None, "bytes=6-"]
    (retrying,) = [each for each in told if isinstance(each, Retrying)]
    assert "it brought 7 bytes" in str(retrying)


def test_a_download_that_only_trickles_ends(session: Session, time: Time, tmp_path: Path) -> None:
    """Three tries of it, as of any other break, and an error that says why."""
    driver = Trickle(time, _drip(WHOLE))
    with pytest.raises(IncompleteDownload, match="it brought 7 bytes"):
        _download(session, tmp_path / "views.csv", driver, [])
    assert len(driver.asked) == 3


def test_last_bytes_that_come_late_are_the_last(session: Session, time: Time, tmp_path: Path) -> None:
    """The whole file is there: nothing is asked for again, and nothing dropped."""
    driver = Trickle(time, [*_drip(WHOLE[:5]), (59.0, WHOLE[5:])])
    done = _download(session, tmp_path / "views.csv", driver, [])
    assert done.path.read_bytes() == WHOLE
    assert len(driver.asked) == 1


def test_a_slow_line_and_a_slow_reader_are_no_trickle(time: Time) -> None:
    """What brings 64 KiB in the time goes on for ever; time between two reads is the reader's own."""
    body = SteadyBody(lambda: time.seconds, 300.0, 300.0)
    reads = [(290.0, bytes(LEAST_BYTES - 1)), (5.0, b"x")] * 5
    assert _read_all(body, time, reads) == [data for _, data in reads]


def test_a_process_that_stood_still_waited_for_nothing(time: Time) -> None:
    """Stopped for an hour within a read, it goes on: of that hour a silence's length counts."""
    body = SteadyBody(lambda: time.seconds, 300.0, 60.0)
    reads = [(3600.0, b"x"), (1.0, b"x"), (1.0, b"x")]
    assert _read_all(body, time, reads) == [b"x"] * 3
