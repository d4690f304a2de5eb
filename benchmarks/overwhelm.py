"""Thousands of idle readers and half bodies at once: the service's memory, and how soon another partner is answered.

    .venv/bin/python benchmarks/overwhelm.py --readers 5000 --bodies 3000

All of it comes from one address, with one link and one token. The attackers sit in a process of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

sys.path[0] = str(Path(__file__).parent.parent)

import psutil  # noqa: E402 - this is a script of a package: its root comes first

from benchmarks.measure import forget_peak, peak, spread  # noqa: E402
from benchmarks.service import Wire  # noqa: E402
from reelport.engine.report_format import Written  # noqa: E402
from reelport.query import ReportQuery  # noqa: E402
from reelport.server.access import organizations  # noqa: E402
from reelport.server.files import report_files  # noqa: E402
from reelport.server.queue import jobs  # noqa: E402
from reelport.server.state.database import connect  # noqa: E402
from reelport.testing import Service  # noqa: E402
from reelport.wire import GRAPHQL_PATH  # noqa: E402

FILE_BYTES = 32 * 1_048_576
BODY_BYTES = 1_000_000
_BREATH = 0.02
_HELD = 15.0
"""Seconds for which the attack goes on after its last connection."""


def main() -> None:
    """Attack a service of its own and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=5000)
    parser.add_argument("--bodies", type=int, default=3000)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.attack:
        _attack(json.loads(asked.attack), asked.readers, asked.bodies)
        return
    with Service(
        workers=0,
        log_level="warning",
        sweep_seconds=3,
        environment=json.loads(__import__("os").environ.get("BENV", "{}")),
    ) as service:
        victim, attacker, token, link = _prepared(service)
        with victim, attacker:
            _measure(service, victim, token, _target(service, attacker, link), asked.readers, asked.bodies)


def _prepared(service: Service) -> tuple[Wire, Wire, str, str]:
    """Two partners that were granted a token: the token of the first one's report, a link of the second's file."""
    db = connect(service.settings)
    for name in ("victim", "attacker"):
        organizations.allow_channels(db, organizations.add_organization(db, name, datetime.now(UTC)).id, [f"c-{name}"])
    db.dispose()
    victim, attacker = (Wire(service.url, service.key(name)) for name in ("victim", "attacker"))
    query = ReportQuery(("VIEWS",), ("DAY",), date(2026, 1, 1), date(2026, 1, 2))
    victim.grant()
    attacker.grant()
    fetched = attacker.ask(query)
    _finish(service, b"day,views\n" + b"2026-01-01,1234567\n" * (FILE_BYTES // 19))
    return victim, attacker, victim.ask(query), attacker.link(fetched)


def _finish(service: Service, body: bytes) -> None:
    """Be the worker of the one report that waits."""
    db = connect(service.settings)
    claim = jobs.claim(db, "bench", running=9, lease_seconds=60)
    assert claim is not None  # noqa: S101 - it was asked for just now
    draft = report_files.prepare_draft(service.settings, claim.report_id, claim.attempt)
    draft.write_bytes(body)
    written = Written(body.count(b"\n") - 1, len(body), hashlib.sha256(body).hexdigest())
    assert jobs.finish(db, claim, report_files.publish_draft(service.settings, draft, written), datetime.now(UTC))  # noqa: S101 - the same
    db.dispose()


def _target(service: Service, attacker: Wire, link: str) -> dict[str, object]:
    parts = urlsplit(link)
    bearer = attacker._headers["Authorization"]  # noqa: SLF001 - the same package
    return {"port": service.settings.port, "path": f"{parts.path}?{parts.query}", "bearer": bearer}


def _measure(service: Service, victim: Wire, token: str, target: dict[str, object], readers: int, bodies: int) -> None:
    process = psutil.Process(service.pid)
    calm = [_look(victim, token) for _ in range(100)]
    found: dict[str, object] = {"rss_before": process.memory_info().rss, "look_before": spread(calm)}
    forget_peak(service.pid)
    began = sum(process.cpu_times()[:2])
    with _attackers(target, readers, bodies) as attack:
        times = list(_looked(victim, token, attack))
        found |= {
            "look": spread(times),
            "rss_peak": peak(service.pid),
            "rss_at_end": process.memory_info().rss,
            "open_files": process.num_fds(),
            "cpu_seconds": sum(process.cpu_times()[:2]) - began,
            "attackers": json.loads(attack.stdout.read() if attack.stdout else "{}"),
        }
    time.sleep(5)
    found["rss_after"] = process.memory_info().rss
    print(json.dumps(found, indent=1))


def _looked(victim: Wire, token: str, attack: subprocess.Popen[str]) -> Iterator[float]:
    """Seconds of each look while the attack lasts."""
    while attack.poll() is None:
        yield _look(victim, token)
        time.sleep(_BREATH)


def _look(victim: Wire, token: str) -> float:
    began = time.perf_counter()
    victim.look(token)
    return time.perf_counter() - began


@contextmanager
def _attackers(target: dict[str, object], readers: int, bodies: int) -> Iterator[subprocess.Popen[str]]:
    words = ["--attack", json.dumps(target), "--readers", str(readers), "--bodies", str(bodies)]
    with subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _attack(target: dict[str, object], readers: int, bodies: int) -> None:
    """Open every connection, send what each sends, take nothing for a while; print how each was answered."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    reader = f"GET {target['path']} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
    head = f"POST {GRAPHQL_PATH} HTTP/1.1\r\nHost: here\r\nAuthorization: {target['bearer']}\r\n"
    body = f"{head}Content-Length: {BODY_BYTES}\r\n\r\n".encode() + b"{" * (BODY_BYTES // 2)
    kinds = [("reader", reader)] * readers + [("body", body)] * bodies
    sockets = []
    with selectors.DefaultSelector() as selector:
        for kind, data in kinds:
            mine = socket.create_connection(("127.0.0.1", int(str(target["port"]))))
            mine.setblocking(False)
            sockets.append((kind, mine))
            selector.register(mine, selectors.EVENT_WRITE, memoryview(data))
            _push(selector, 0)
        until = time.monotonic() + _HELD
        while time.monotonic() < until:
            _push(selector, 0.1)
    answers = Counter(f"{kind} {_answer(mine)}" for kind, mine in sockets)
    print(json.dumps(dict(sorted(answers.items()))))


def _push(selector: selectors.BaseSelector, seconds: float) -> None:
    """Send what may be sent now."""
    if not selector.get_map():
        time.sleep(seconds)
        return
    for key, _ in selector.select(seconds):
        try:
            rest = key.data[key.fileobj.send(key.data) :]  # type: ignore[union-attr]
        except BlockingIOError:
            continue
        except OSError:
            rest = b""
        if rest:
            selector.modify(key.fileobj, selectors.EVENT_WRITE, rest)
        else:
            selector.unregister(key.fileobj)


def _answer(mine: socket.socket) -> str:
    try:
        found = mine.recv(64)
    except BlockingIOError:
        return "no answer"
    except OSError:
        return "cut"
    return found.split(b"\r\n")[0].decode("latin-1") if found else "closed"


if __name__ == "__main__":
    main()
