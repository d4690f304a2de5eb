"""What our client adds to a download: beside a bare `curl` of the same link, in time and in memory."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.partner import QUERY, Source, downloaded
from benchmarks.service import Wire
from reelport.engine.report_format import Written
from reelport.server.files import report_files
from reelport.server.queue import jobs
from reelport.server.state.database import connect
from reelport.testing import Key, Service, Vendor

BYTES, FEW_BYTES = 500_000_000, 50_000_000
_BLOCK_ROWS = 20_000
_PATIENCE = 60.0


def fetching(folder: Path, rounds: int, rest: Callable[[], None]) -> dict[str, object]:
    """Seconds of our client and of curl, in turns, for a report with a checksum and for one without; memory."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found: dict[str, object] = {"bytes": BYTES}
    with with_checksum(_pieces(BYTES)) as source:
        found["checksum"] = _beside_curl(source, folder, rounds, rest)
    with without_checksum(_pieces(BYTES)) as source:
        found["no checksum"] = _beside_curl(source, folder, rounds, rest)
    for name, size in (("peak_bytes", BYTES), ("peak_bytes_of_a_tenth", FEW_BYTES)):
        with with_checksum(_pieces(size)) as source:
            found[name] = downloaded(source, folder / "memory.csv").peak
    shutil.rmtree(folder)
    return found


def _beside_curl(source: Source, folder: Path, rounds: int, rest: Callable[[], None]) -> dict[str, object]:
    took: dict[str, list[float]] = {"reelport": [], "curl": [], "curl and sha256sum": []}
    own, other = folder / "own.csv", folder / "curl.csv"
    downloaded(source, own)
    for _ in range(rounds):
        own.unlink()
        rest()
        took["reelport"].append(downloaded(source, own).seconds)
        other.unlink(missing_ok=True)
        rest()
        plain = _curl(source.link, other)
        took["curl"].append(plain)
        took["curl and sha256sum"].append(plain + _timed(["sha256sum", str(other)]))
    if own.stat().st_size != other.stat().st_size:
        raise RuntimeError("curl and our client have files of different lengths")
    own.unlink()
    other.unlink()
    seconds = {name: median(each) for name, each in took.items()}
    return {
        name: {
            "seconds": seconds[name],
            "each": [round(each, 4) for each in took[name]],
            "ratio": seconds["reelport"] / seconds[name],
        }
        for name in took
    }


def _curl(link: str, to: Path) -> float:
    return _timed(["curl", "--silent", "--show-error", "--fail", "--output", str(to), link])


def _timed(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@contextmanager
def with_checksum(pieces: Iterable[bytes]) -> Iterator[Source]:
    """A Reelport service with a finished report of these bytes."""
    with Service(workers=0, log_level="warning") as service:
        service.organization("demo")
        key = service.key("demo")
        with Wire(service.url, key) as wire:
            token = wire.ask(QUERY)
            _finish(service, pieces)
            yield Source(service.url, key.id, key.secret, token, wire.link(token))


def _finish(service: Service, pieces: Iterable[bytes]) -> None:
    db = connect(service.settings)
    claim = jobs.claim(db, "benchmark", running=1, lease_seconds=_PATIENCE)
    if claim is None:
        raise RuntimeError("the report that was asked for is not to be made")
    draft = report_files.prepare_draft(service.settings, claim.report_id, claim.attempt)
    digest = hashlib.sha256()
    with draft.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
    written = Written(1, draft.stat().st_size, digest.hexdigest())
    jobs.finish(db, claim, report_files.publish_draft(service.settings, draft, written), datetime.now(UTC))
    db.dispose()


@contextmanager
def without_checksum(pieces: Iterable[bytes]) -> Iterator[Source]:
    """A vendor that tells the file's length and nothing more."""
    body = b"".join(pieces)
    with Vendor(etag=False, csv=lambda _: body) as vendor:
        key = Key(vendor.key, vendor.secret)
        with Wire(vendor.url, key) as wire:
            token = wire.ask(QUERY)
            until = time.monotonic() + _PATIENCE
            while wire.look(token) != "FINISHED" and time.monotonic() < until:
                time.sleep(0.01)
            yield Source(vendor.url, key.id, key.secret, token, wire.link(token))


def _pieces(size: int) -> Iterator[bytes]:
    """A CSV of at least so many bytes; every tenth title has quotes."""
    yield b"day,video_title,views\n"
    for first in itertools.count(0, _BLOCK_ROWS):
        block = "".join(
            f'2026-01-01,"A title, and number {n} of it",{n}\n' if n % 10 == 0 else f"2026-01-01,Video {n},{n}\n"
            for n in range(first, first + _BLOCK_ROWS)
        ).encode()
        yield block
        size -= len(block)
        if size <= 0:
            return
