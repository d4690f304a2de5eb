"""The directory of a service that an older version ran, under this version: nothing of it is lost."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.whole.partner import Partner

from reelport.facts.loading.verification import verify
from reelport.server.files.verification import check_files
from reelport.server.settings import read_settings
from reelport.server.state.database import connected
from reelport.server.upgrade.rehearsal import rehearse
from reelport.testing import Key, Service

REVISIONS = {"older_service": "0007", "service_of_0_1_0": "0012"}
"""The state's revision in each archive: of a version before the first release, and of the release 0.1.0."""


@pytest.fixture(scope="module", params=REVISIONS)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The directory as that version left it, and what it had told its partner."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(Path(__file__).with_name(f"{request.param}.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    told = json.loads((folder / "told.json").read_text("utf-8"))
    return folder / "data", told | {"revision": REVISIONS[request.param]}


@pytest.fixture(scope="module")
def service(older: tuple[Path, dict[str, Any]]) -> Iterator[Service]:
    """This version, started over that directory once its upgrade was tried."""
    data, told = older
    tried = rehearse(read_settings(data=data))
    assert (tried.found, tried.blockers) == (told["revision"], ())
    with Service(data) as service:
        yield service


@pytest.mark.long
def test_reports_of_the_older_version_are_fetched_by_their_tokens(
    service: Service, older: tuple[Path, dict[str, Any]]
) -> None:
    """The key, the tokens and the bytes are those that the partner had before."""
    told = older[1]
    partner = Partner(service, Key(told["key"], told["secret"]))
    assert {token: partner.fetch(token).decode() for token in told["finished"]} == told["finished"]


def test_a_report_that_waited_is_made(service: Service, older: tuple[Path, dict[str, Any]]) -> None:
    """Asked for under the older version, made by this one, of the same facts: the bytes that that version gave."""
    told = older[1]
    other = Partner(service, Key(*told["other"]))
    assert {token: other.fetch(token).decode() for token in told["waiting"]} == told["waiting"]


def test_tables_and_files_are_as_their_records_say(service: Service) -> None:
    """Nothing is missing, and what is loaded from now on lies beside what that version loaded."""
    plays = [{"started_at": "2026-01-03T05:00:00Z", "owner_channel_id": "c1", "media_type": "video", "views": 5}]
    service.load("plays", [plays[0] | {"time_watched_seconds": 1, "video_id": "v1"}])
    partner = Partner(service, service.key("demo"))
    body = partner.fetch(partner.ask(startDate="2026-01-01", endDate="2026-01-03"))
    assert body == b"day,views\n2026-01-01,33\n2026-01-02,63\n2026-01-03,5\n"
    assert [finding for table in verify(service.settings.facts_root) for finding in table.findings] == []
    with connected(service.settings) as db:
        assert check_files(db, service.settings)[1] == ()
