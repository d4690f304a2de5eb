"""Access that an operator withdraws from a running service: what its partner finds a moment later."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial

import duckdb
import pytest
from tests.patience import until
from tests.warm_service import Service

from reelport.testing import Channel

from .freezing import freeze_unlocked
from .partner import Partner
from .terminal import Ended, on_terminal, piped, surroundings
from .test_care import LONG, PLAYS, begin_long, entry, is_written


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with one worker of one thread, whose report over its last day takes seconds."""
    with Service(worker_threads=1) as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.organization("other", [Channel("c1", "demo-news"), Channel("c2", "demo-sports")])
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            service.load("plays", connection.sql(PLAYS).to_arrow_table())
        yield service


def command(service: Service, *words: str) -> Ended:
    """An operator's command, as a program runs it."""
    return piped(surroundings(service.url, "", ""), *words, "--data", str(service.data))


def status_of(link: str) -> int:
    """What the service answers to a link."""
    try:
        with urllib.request.urlopen(link, timeout=300) as reply:
            status: int = reply.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


@pytest.mark.long
def test_a_removed_channels_reports_end_at_once(service: Service) -> None:
    """The link is refused, looks find nothing, the running report is stopped, and no file of either stays."""
    partner, other = (Partner(service, service.key(name)) for name in ("demo", "other"))
    finished, kept = partner.ask(), other.ask()
    link, theirs = (
        who.wait(of)["downloadLinks"]["edges"][0]["node"]["link"] for who, of in ((partner, finished), (other, kept))
    )
    assert status_of(link) == 200
    (worker,) = service.worker_pids
    asked = []
    for token in begin_long(service, partner):
        asked.append(token)
        assert until(partial(is_written, service, token))
        freeze_unlocked(service, worker)
        try:
            report = entry(service, token)
            if report.state == "running":
                done = command(service, "channel", "remove", "--org", "demo", "--id", "c1")
                break
        finally:
            os.kill(worker, signal.SIGCONT)
    told = f"finished_reports  {len(asked)}".encode()
    assert (done.status, b"running_reports   1" in done.out, told in done.out) == (0, True, True)
    assert (status_of(link), status_of(theirs)) == (403, 200)
    assert partner.look(finished) is None
    stopped = f'"report": "{report.id}"'
    assert until(lambda: any(stopped in line and "attempt interrupted" in line for line in service.log.splitlines()))
    assert until(lambda: len(list(service.settings.files_root.iterdir())) == 1)
    assert partner.fetch(partner.ask(**LONG)).count(b"\n") == 1, "it reads no channel, and so no row"


@pytest.mark.long
def test_an_organization_is_removed_after_a_question(service: Service) -> None:
    """At a terminal it shows what ends and asks; after a no all goes on, after a yes its token is worth nothing."""
    service.organization("brief", [Channel("c3", "brief-news")])
    partner = Partner(service, service.key("brief"))
    token = partner.ask()
    link = partner.wait(token)["downloadLinks"]["edges"][0]["node"]["link"]
    words, environment = ("org", "remove", "brief", "--data", str(service.data)), surroundings(service.url, "", "")
    status, drawn = on_terminal(environment, *words, keys=(0, b"n\n"))
    assert (status, "1 key with its tokens" in " ".join(drawn.split()), "Nothing was changed" in drawn) == (
        0,
        True,
        True,
    )
    assert status_of(link) == 200
    assert on_terminal(environment, *words, keys=(0, b"y\n"))[0] == 0
    assert status_of(link) == 403
    with pytest.raises(urllib.error.HTTPError, match="401"):
        partner.look(token)
