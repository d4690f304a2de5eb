"""Looks whose callers prefer to wait, over a real socket: held until there is something to say, and never longer."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reelport.server import backlog, partners, withdrawal
from reelport.server.database import connect
from reelport.testing import Service
from reelport.wire import LOOK

from .conftest import ASK, GRAPHQL, INPUT, Reply, Wire, finish, token_of

DAYS = (date(2025, 1, 1) + timedelta(days=day) for day in itertools.count())


def ask(wire: Wire) -> str:
    """The token of a report that was never asked for before."""
    day = next(DAYS).isoformat()
    return token_of(wire.graphql(ASK, {"input": {**INPUT, "startDate": day, "endDate": day}}))


def look(wire: Wire, token: str, **headers: str) -> tuple[Reply, float]:
    """A look, and the seconds that it took."""
    wire.token = wire.token or wire.fresh()
    began = time.monotonic()
    reply = wire.post({"query": LOOK, "variables": {"reportToken": token}}, **headers)
    return reply, time.monotonic() - began


def status(reply: Reply) -> Any:  # noqa: ANN401 - JSON
    """What a look says of its report."""
    return reply.json["data"]["partner"]["reportFile"]["status"]


def numbers(wire: Wire) -> dict[str, float]:
    """The service's own numbers about held looks."""
    page = wire.send("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(reelport_held_looks\S*) (\S+)$", page, re.MULTILINE)}


def until_held(wire: Wire, count: int) -> None:
    """Return when so many looks are held."""
    until = time.monotonic() + 10
    while numbers(wire)["reelport_held_looks"] != count:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def held(aside: ThreadPoolExecutor, wire: Wire, *tokens: str) -> list[Future[tuple[Reply, float]]]:
    """Looks that are being held now."""
    looks = [aside.submit(look, wire, token, Prefer="wait=2") for token in tokens]
    until_held(wire, len(tokens))
    return looks


def test_a_look_is_held_until_its_report_is_made(wire: Wire) -> None:
    """One look, and it tells of the end, though nothing was finished when it came."""
    reply, _ = look(wire, ask(wire), Prefer="wait=10")
    assert (reply.status, status(reply)) == (200, "FINISHED")
    # A report may be so quick that there is nothing to wait for.
    assert reply.headers.get("preference-applied", "wait=10") == "wait=10"
    assert "Traceback" not in wire.service.log


def test_the_end_of_a_report_is_told_at_once(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """Finished or cancelled, by a process that rings no bell: the look is over long before its time."""
    first, second = ask(idle), ask(idle)
    cancelled, made = held(aside, idle, first, second)
    db = connect(idle.service.settings)
    backlog.cancel(db, first, datetime.now(UTC))
    db.dispose()
    reply, took = cancelled.result()
    assert (status(reply), reply.headers["preference-applied"]) == ("FAILED", "wait=2")
    assert took < 1.5
    assert not made.done()
    finish(idle.service, b"day,views\n")
    reply, took = made.result()
    assert (status(reply), reply.headers["preference-applied"]) == ("FINISHED", "wait=2")
    assert reply.json["data"]["partner"]["reportFile"]["downloadLinks"]["edges"]
    assert took < 1.9


def test_a_look_is_told_at_once_that_its_report_was_withdrawn(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """With its partner removed its token is worth nothing, and there is nothing more to wait for."""
    idle.service.organization("withdrawn")
    partner = Wire(idle.service, idle.service.key("withdrawn"))
    (waiting,) = held(aside, partner, ask(partner))
    db = connect(idle.service.settings)
    withdrawal.remove_organization(db, idle.service.settings, "withdrawn")
    db.dispose()
    reply, _ = waiting.result()
    assert reply.status == 401


def test_it_is_held_no_longer_than_the_service_allows(idle: Wire) -> None:
    """The header says for how long; the report is as unfinished as it was."""
    reply, took = look(idle, ask(idle), Prefer="respond-async, wait=3600; foo")
    assert (status(reply), reply.headers["preference-applied"]) == ("IN_PROGRESS", "wait=2")
    assert 1.9 < took < 4


@pytest.mark.parametrize("header", [None, "wait=0", "wait=-1", "wait=x", "await=9", "wait", "", "respond-async"])
def test_who_prefers_nothing_is_answered_at_once(idle: Wire, header: str | None) -> None:
    """Without the header, or with one that can't be read, nothing is held and nothing is said of it."""
    reply, took = look(idle, ask(idle), **({} if header is None else {"Prefer": header}))
    assert status(reply) == "IN_PROGRESS"
    assert "preference-applied" not in reply.headers
    assert took < 1.5


def test_only_what_is_still_to_come_is_waited_for(idle: Wire) -> None:
    """An ask, a finished report, another one's report, one that isn't there and a mistake are answered at once."""
    token = ask(idle)
    idle.service.organization("other")
    other = Wire(idle.service, idle.service.key("other"))
    mistake = {"query": f'{{ partner {{ a: reportFile(reportToken: "{token}") {{ status, x }} }} }}'}
    asked = {"query": ASK, "variables": {"input": {**INPUT, "startDate": "2024-12-01", "endDate": "2024-12-01"}}}
    began = time.monotonic()
    replies = [look(other, token, Prefer="wait=2")[0], look(idle, "none", Prefer="wait=2")[0]]
    replies += [idle.post(body, Prefer="wait=2") for body in (mistake, asked)]
    finish(idle.service, b"day,views\n")
    replies += [look(idle, token, Prefer="wait=2")[0]]
    assert time.monotonic() - began < 1.9
    assert not any("preference-applied" in reply.headers for reply in replies)
    assert [reply.json["data"]["partner"]["reportFile"] for reply in replies[:2]] == [None, None]


def test_a_caller_who_leaves_is_held_no_longer(idle: Wire) -> None:
    """The place is free at once."""
    token = ask(idle)
    body = json.dumps({"query": LOOK, "variables": {"reportToken": token}}).encode()
    head = f"POST {GRAPHQL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.fresh()}\r\nPrefer: wait=2\r\n"
    place = urllib.parse.urlsplit(idle.service.url)
    left = numbers(idle).get('reelport_held_looks_ended_total{outcome="left"}', 0)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until_held(idle, 1)
    until_held(idle, 0)
    assert numbers(idle)['reelport_held_looks_ended_total{outcome="left"}'] == left + 1
    assert "Traceback" not in idle.service.log


def test_more_than_may_be_held_are_answered_at_once(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """The fifth of four says nothing of waiting, and is counted."""
    token = ask(idle)
    looks = held(aside, idle, *[token] * 4)
    reply, took = look(idle, token, Prefer="wait=2")
    assert (reply.status, status(reply)) == (200, "IN_PROGRESS")
    assert "preference-applied" not in reply.headers
    assert took < 1
    assert numbers(idle)['reelport_held_looks_ended_total{outcome="full"}'] >= 1
    assert {each.result()[0].headers["preference-applied"] for each in looks} == {"wait=2"}


def test_a_key_that_is_revoked_meanwhile_is_told_nothing(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """Who asks is looked up again when the look ends."""
    short = Wire(idle.service, idle.service.key("demo"))
    token = ask(short)
    (waiting,) = held(aside, short, token)
    db = connect(idle.service.settings)
    partners.revoke(db, short.key.id, datetime.now(UTC))
    db.dispose()
    finish(idle.service, b"day,views\n")
    assert waiting.result()[0].status == 401


def test_a_service_that_is_stopped_waits_for_nobody(aside: ThreadPoolExecutor) -> None:
    """SIGTERM ends it as soon as without held looks, and each of them is answered."""
    with Service(workers=0, look_seconds=60) as service:
        service.organization("demo")
        wire = Wire(service, service.key("demo"))
        waiting = aside.submit(look, wire, ask(wire), Prefer="wait=60")
        until_held(wire, 1)
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < 5
        reply, _ = waiting.result()
    assert (reply.status, status(reply)) == (200, "IN_PROGRESS")
    assert "preference-applied" not in reply.headers
