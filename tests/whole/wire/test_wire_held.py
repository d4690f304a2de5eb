"""Looks whose callers prefer to wait, over a real socket: held until there is something to say, and never longer."""

from __future__ import annotations

import itertools
import json
import re
import socket
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.patience import PATIENCE, until
from tests.warm_service import Service

from reelport.server.access import keys
from reelport.server.http.long_poll import MOST_POLLS
from reelport.server.queue import backlog
from reelport.server.reports import removal
from reelport.server.state.database import connect
from reelport.wire import LOOK

from .conftest import ASK, GRAPHQL, INPUT, Reply, Wire, finish, token_of

DAYS = (date(2025, 1, 1) + timedelta(days=day) for day in itertools.count())


def ask(wire: Wire) -> str:
    """The token of a report that was never asked for before."""
    day = next(DAYS).isoformat()
    return token_of(wire.graphql(ASK, {"input": {**INPUT, "startDate": day, "endDate": day}}))


def look(wire: Wire, token: str, **headers: str) -> Reply:
    """The answer to a look."""
    wire.token = wire.token or wire.fresh()
    return wire.post({"query": LOOK, "variables": {"reportToken": token}}, **headers)


def status(reply: Reply) -> Any:  # noqa: ANN401 - JSON
    """What a look says of its report."""
    return reply.json["data"]["partner"]["reportFile"]["status"]


def told(reply: Reply) -> Any:  # noqa: ANN401 - JSON
    """What a look tells of its report beyond the schema."""
    (report,) = reply.json["extensions"]["reelport"]["reports"]
    return report


def numbers(wire: Wire) -> dict[str, float]:
    """The service's own numbers about held looks."""
    page = wire.send("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(reelport_held_looks\S*) (\S+)$", page, re.MULTILINE)}


def ended(wire: Wire, outcome: str) -> float:
    """How many held looks have ended in that way."""
    return numbers(wire).get(f'reelport_held_looks_ended_total{{outcome="{outcome}"}}', 0)


def until_held(wire: Wire, count: int) -> None:
    """Return when so many looks are held."""
    assert until(lambda: numbers(wire)["reelport_held_looks"] == count)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def held(aside: ThreadPoolExecutor, wire: Wire, *tokens: str) -> list[Future[Reply]]:
    """Looks that are being held now."""
    looks = [aside.submit(look, wire, token, Prefer="wait=60") for token in tokens]
    until_held(wire, len(tokens))
    return looks


def test_a_look_is_held_until_its_report_is_made(wire: Wire) -> None:
    """One look, and it tells of the end, though nothing was finished when it came."""
    reply = look(wire, ask(wire), Prefer="wait=10")
    assert (reply.status, status(reply)) == (200, "FINISHED")
    # A report may be so quick that there is nothing to wait for.
    assert reply.headers.get("preference-applied", "wait=10") == "wait=10"
    assert "Traceback" not in wire.service.log


def test_the_end_of_a_report_is_told_at_once(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """Finished or cancelled by another process: the long poll is over long before its time."""
    first, second, changed = ask(idle), ask(idle), ended(idle, "changed")
    cancelled, made = held(aside, idle, first, second)
    db = connect(idle.service.settings)
    backlog.cancel(db, first, datetime.now(UTC))
    db.dispose()
    reply = cancelled.result()
    assert (status(reply), reply.headers["preference-applied"]) == ("FAILED", "wait=60")
    assert told(reply)["state"] == "cancelled"
    assert not made.done()
    finish(idle.service, b"day,views\n")
    reply = made.result()
    assert (status(reply), reply.headers["preference-applied"]) == ("FINISHED", "wait=60")
    assert (told(reply)["state"], told(reply)["rows"]) == ("finished", 0)
    assert reply.json["data"]["partner"]["reportFile"]["downloadLinks"]["edges"]
    assert ended(idle, "changed") == changed + 2


def test_a_look_is_told_at_once_that_its_report_was_withdrawn(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """With its partner removed its token is worth nothing, and there is nothing more to wait for."""
    idle.service.organization("withdrawn")
    partner = Wire(idle.service, idle.service.key("withdrawn"))
    (waiting,) = held(aside, partner, ask(partner))
    db = connect(idle.service.settings)
    removal.remove_organization(db, idle.service.settings, "withdrawn")
    db.dispose()
    reply = waiting.result()
    assert reply.status == 401


def test_it_is_held_no_longer_than_the_caller_prefers(idle: Wire) -> None:
    """The header says for how long; the report is as unfinished as it was."""
    token, over = ask(idle), ended(idle, "over")
    reply = look(idle, token, Prefer="respond-async, wait=1; foo")
    assert (status(reply), reply.headers["preference-applied"]) == ("IN_PROGRESS", "wait=1")
    assert ended(idle, "over") == over + 1


def test_it_is_held_no_longer_than_the_service_allows(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """Whoever would wait for an hour is told of the minute that it may."""
    token = ask(idle)
    waiting = aside.submit(look, idle, token, Prefer="wait=3600")
    until_held(idle, 1)
    finish(idle.service, b"day,views\n")
    assert waiting.result().headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize("header", [None, "wait=0", "wait=-1", "wait=x", "await=9", "wait", "", "respond-async"])
def test_who_prefers_nothing_is_answered_at_once(idle: Wire, header: str | None) -> None:
    """Without the header, or with one that can't be read, nothing is held and nothing is said of it."""
    reply = look(idle, ask(idle), **({} if header is None else {"Prefer": header}))
    assert status(reply) == "IN_PROGRESS"
    assert "preference-applied" not in reply.headers


def test_only_what_is_still_to_come_is_waited_for(idle: Wire) -> None:
    """An ask, a finished report, another one's report, one that isn't there and a mistake are answered at once."""
    token = ask(idle)
    idle.service.organization("other")
    other = Wire(idle.service, idle.service.key("other"))
    mistake = {"query": f'{{ partner {{ a: reportFile(reportToken: "{token}") {{ status, x }} }} }}'}
    asked = {"query": ASK, "variables": {"input": {**INPUT, "startDate": "2024-12-01", "endDate": "2024-12-01"}}}
    before = numbers(idle)
    replies = [look(other, token, Prefer="wait=60"), look(idle, "none", Prefer="wait=60")]
    replies += [idle.post(body, Prefer="wait=60") for body in (mistake, asked)]
    finish(idle.service, b"day,views\n")
    replies += [look(idle, token, Prefer="wait=60")]
    assert numbers(idle) == before, "none of them was held"
    assert not any("preference-applied" in reply.headers for reply in replies)
    assert [reply.json["data"]["partner"]["reportFile"] for reply in replies[:2]] == [None, None]


def test_a_caller_who_leaves_is_held_no_longer(idle: Wire) -> None:
    """The place is free at once."""
    token = ask(idle)
    body = json.dumps({"query": LOOK, "variables": {"reportToken": token}}).encode()
    head = f"POST {GRAPHQL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.fresh()}\r\nPrefer: wait=60\r\n"
    place = urllib.parse.urlsplit(idle.service.url)
    left = ended(idle, "left")
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until_held(idle, 1)
    until_held(idle, 0)
    assert ended(idle, "left") == left + 1
    assert "Traceback" not in idle.service.log


def test_more_than_may_be_held_are_answered_at_once(idle: Wire) -> None:
    """A partner has half of the places: one more says nothing of waiting, and is counted."""
    token, most = ask(idle), MOST_POLLS // 2
    with ThreadPoolExecutor(most) as many:
        looks = held(many, idle, *[token] * most)
        check_full(idle, token)
        finish(idle.service, b"day,views\n")
        assert {each.result().headers["preference-applied"] for each in looks} == {"wait=60"}


def check_full(idle: Wire, token: str) -> None:
    """A further look is answered at once."""
    reply = look(idle, token, Prefer="wait=60")
    assert (reply.status, status(reply)) == (200, "IN_PROGRESS")
    assert "preference-applied" not in reply.headers
    assert ended(idle, "full") >= 1


def test_a_key_that_is_revoked_meanwhile_is_told_nothing(idle: Wire, aside: ThreadPoolExecutor) -> None:
    """Who asks is looked up again when the look ends."""
    short = Wire(idle.service, idle.service.key("demo"))
    token = ask(short)
    (waiting,) = held(aside, short, token)
    db = connect(idle.service.settings)
    keys.revoke_key(db, short.key.id, datetime.now(UTC))
    db.dispose()
    finish(idle.service, b"day,views\n")
    assert waiting.result().status == 401


def test_a_service_that_is_stopped_waits_for_nobody(aside: ThreadPoolExecutor) -> None:
    """SIGTERM lets go of a look that would be held for an hour, and it is answered."""
    with Service(workers=0, look_seconds=3600) as service:
        service.organization("demo")
        wire = Wire(service, service.key("demo"))
        waiting = aside.submit(look, wire, ask(wire), Prefer="wait=3600")
        until_held(wire, 1)
        service.stop()
        reply = waiting.result()
    assert (reply.status, status(reply)) == (200, "IN_PROGRESS")
    assert "preference-applied" not in reply.headers
