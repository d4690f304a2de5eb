"""Requests that only read wait for nobody who writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from tests.server.api import Api

from reelport.server.settings import Settings
from reelport.wire import LOOK


@contextmanager
def committing(settings: Settings) -> Iterator[None]:
    """Another process's connection in the middle of a commit."""
    other = sqlite3.connect(settings.state_file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def test_a_look_and_a_token_wait_for_nobody_who_commits(api: Api) -> None:
    """With the write-ahead log they are answered meanwhile."""
    token = api.finished()
    before = api.graphql(LOOK, {"reportToken": token})
    with committing(api.service.settings):
        looked = api.graphql(LOOK, {"reportToken": token})
        assert api.grant().status_code == 200
    looked, before = (each["data"]["partner"]["reportFile"] for each in (looked, before))
    assert looked["status"] == before["status"]
