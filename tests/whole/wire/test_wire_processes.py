"""Several API processes on one port, over a real socket: any of them answers anybody, and one that dies is replaced."""

from __future__ import annotations

import http.client
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests import warm_service
from tests.patience import PATIENCE, until

from reelport.server.access import keys
from reelport.server.state.database import connect
from reelport.wire import LOOK

from .conftest import ASK, INPUT, Wire, finish, token_of

CONNECTIONS, MOST_CONNECTIONS = 100, 500


@pytest.fixture(scope="module")
def several() -> Iterator[Wire]:
    """Two API processes and no worker."""
    with warm_service.Service(processes=2, workers=0, look_seconds=100) as running:
        running.organization("demo")
        assert until(lambda: running.log.count('"listening"') == 2)
        yield Wire(running, running.key("demo"))


def children(pid: int) -> set[int]:
    """The processes that a process has started and that live."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # one that has ended since the listing
            found |= {int(each) for each in (thread / "children").read_text().split()}
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waited for has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def sockets(pid: int) -> int:
    """How many sockets a process has open; those that it closes meanwhile don't count."""
    return sum(_is_socket(each) for each in Path(f"/proc/{pid}/fd").iterdir())


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


def counted(wire: Wire, name: str) -> float:
    """One of the service's own numbers, whichever process tells it."""
    page = wire.send("GET", "/metrics").body.decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_connections_spread_over_all_processes(several: Wire) -> None:
    """Of connections that stay open each process has some, and all are answered by one token.

    On a busy machine one process may come to nothing for a while, so more are opened, up to a bound.
    """
    several.token = several.fresh()
    api = children(several.service.pid)
    assert len(api) == 2
    before = {pid: sockets(pid) for pid in api}
    settings = several.service.settings
    headers = {"Authorization": f"Bearer {several.token}"}
    with ExitStack() as open_:
        for number in range(MOST_CONNECTIONS):
            if number >= CONNECTIONS and all(sockets(pid) > before[pid] for pid in api):
                break
            one = open_.enter_context(closing(http.client.HTTPConnection(settings.host, settings.port, PATIENCE)))
            one.request("POST", "/graphql", b'{"query": "{ partner { id } }"}', headers)
            with one.getresponse() as reply:
                assert (reply.status, b"errors" in reply.read()) == (200, False)
        else:
            pytest.fail("one process has all connections")


def test_whichever_is_asked_tells_what_all_have_counted(several: Wire) -> None:
    """A number never goes down from one scrape to the next, though each comes from one process or the other."""
    name = 'reelport_tokens_total{outcome="granted"}'
    seen = []
    for _ in range(10):
        several.fresh()
        seen += [counted(several, name) for _ in range(3)]
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] == 9


def test_a_report_that_ends_lets_looks_of_every_process_go(several: Wire) -> None:
    """Ten looks are held, by both processes; one end of the report answers them all."""
    several.token = several.fresh()
    token = token_of(several.graphql(ASK, {"input": INPUT}))
    body = {"query": LOOK, "variables": {"reportToken": token}}
    with ThreadPoolExecutor(10) as threads:
        looks = [threads.submit(several.post, body, Prefer="wait=100") for _ in range(10)]
        assert until(lambda: counted(several, "reelport_held_looks") == 10)
        finish(several.service, b"day,views\n2026-01-01,3\n")
        replies = [each.result() for each in looks]
    assert {each.json["data"]["partner"]["reportFile"]["status"] for each in replies} == {"FINISHED"}
    assert {each.headers["preference-applied"] for each in replies} == {"wait=100"}


def test_what_is_withdrawn_is_gone_in_every_process(several: Wire) -> None:
    """A revoked key's token, which both have seen, is good in neither from the next request on."""
    service = several.service
    other = Wire(service, service.key("demo"))
    other.token = other.fresh()
    assert {other.post({"query": "{ partner { id } }"}).status for _ in range(20)} == {200}
    db = connect(service.settings)
    keys.revoke_key(db, other.key.id, datetime.now(UTC))
    db.dispose()
    assert {other.post({"query": "{ partner { id } }"}).status for _ in range(20)} == {401}


@pytest.mark.long
def test_a_killed_process_is_replaced_and_nobody_else_notices(several: Wire) -> None:
    """The other answers meanwhile; there are two again; what the dead one had counted stays counted."""
    service = several.service
    before = counted(several, 'reelport_tokens_total{outcome="granted"}')
    first = min(children(service.pid))
    listening = service.log.count('"listening"')
    os.kill(first, signal.SIGKILL)
    assert until(lambda: first not in children(service.pid))
    assert several.fresh()
    assert until(lambda: service.log.count('"listening"') > listening)
    assert len(children(service.pid)) == 2
    assert "API process ended" in service.log
    assert counted(several, 'reelport_tokens_total{outcome="granted"}') == before + 1


def test_processes_are_gone_with_their_killed_service(several: Wire) -> None:
    """The last test of this file: the service that all others share leaves none behind."""
    api = children(several.service.pid)
    assert len(api) == 2
    several.service.kill()
    assert until(lambda: not any(lives(pid) for pid in api))


@pytest.mark.long
def test_processes_are_gone_with_their_stopped_service() -> None:
    """Stopped in order, it leaves none behind either."""
    with warm_service.Service(processes=2, workers=0) as service:
        api = children(service.pid)
        service.stop()
        assert until(lambda: not any(lives(pid) for pid in api))
