"""Nobody is told of a report's end before it is on the disk, though it may be read in the state a moment earlier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from tests.server.api import Api, open_api
from tests.server.conftest import State
from tests.server.syncs import no_sync

from reelport.errors import StorageError
from reelport.server.http.long_poll import DurableReports
from reelport.server.queue import backlog
from reelport.server.reports import report_list
from reelport.server.settings import read_settings
from reelport.server.state.database import writing
from reelport.server.state.tables import JOBS, REPORTS
from reelport.wire import GRAPHQL_PATH, LOOK


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """An app whose state is on a local file system."""
    with open_api(read_settings(data=tmp_path / "data", workers=0)) as api:
        yield api


def look(api: Api, token: str) -> tuple[int, str | None]:
    """How a look at a report is answered, and the status that it tells."""
    reply = api.client.post(
        GRAPHQL_PATH,
        json={"query": LOOK, "variables": {"reportToken": token}},
        headers={"Authorization": f"Bearer {api.token}"},
    )
    found = (reply.json()["data"] or {}).get("partner")
    return reply.status_code, found and found["reportFile"]["status"]


def test_an_end_is_told_once_it_is_on_the_disk(api: Api) -> None:
    """Of one that its worker could not sync, and that nobody heard of, a look is refused until it can be synced."""
    db, settings = api.service.db, api.service.settings
    before, token = api.finished(), api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    assert look(api, before) == (200, "FINISHED")
    with writing(db, synced=False) as connection:
        connection.execute(JOBS.delete())
        made = {"file": "x.csv", "rows": 1, "bytes": 2, "sha256": "ab", "ended_at": api.service_now()}
        connection.execute(REPORTS.update().where(REPORTS.c.token == token).values(status="FINISHED", **made))
    with no_sync(settings):
        assert look(api, token) == (503, None)
        assert look(api, before) == (200, "FINISHED")
    assert look(api, token) == (200, "FINISHED")
    with no_sync(settings):
        assert look(api, token) == (200, "FINISHED")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_pages_of_reports_tell_what_is_on_the_disk(state: State) -> None:
    """A person's look at them is rare: each syncs."""
    organization = state.organization("demo", "c1")
    report = state.ask(state.caller(state.key("demo")))
    given = (state.db, state.settings, organization)
    with no_sync(state.settings):
        for read in (
            lambda: report_list.list_reports(*given, state.now),
            lambda: report_list.find_listed_report(*given, report.id, state.now),
            lambda: report_list.count_by_filter(state.db, organization, state.now),
            lambda: backlog.list_entries(state.db),
            lambda: backlog.get_entry(state.db, report.id),
        ):
            with pytest.raises(StorageError, match="wal"):
                read()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_ends_that_were_heard_of_last_are_remembered(state: State) -> None:
    """Looks at these cost no sync; which reports are remembered is limited."""
    state.organization("demo", "c1")
    durable = DurableReports(state.db)
    durable.note(f"r{number}" for number in range(10_001))
    with no_sync(state.settings):
        anyio.run(durable.ensure, frozenset({"r1", "r10000"}))
        with pytest.raises(StorageError, match="wal"):
            anyio.run(durable.ensure, frozenset({"r0"}))
    anyio.run(durable.ensure, frozenset({"r0"}))
    with no_sync(state.settings):
        anyio.run(durable.ensure, frozenset({"r0"}))
