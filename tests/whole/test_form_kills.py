"""A form of a report's file is whole or not there: its maker is killed for real at every step."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from tests.patience import until
from tests.warm_service import Service

from reelport import killpoints
from reelport.testing import Channel

from .partner import Partner
from .test_kills import EXPECTED, Rehearsal, rows

pytestmark = pytest.mark.long

STEPS = ("form-write", "fsync", "rename")


class Answer(NamedTuple):
    """The status and the body of an answer."""

    status: int
    body: bytes


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A running service with three plays, whose form maker can be killed; it lets a download wait for long."""
    folder = tmp_path_factory.mktemp("steps")
    rehearsed = ",".join(f"{step}:{folder / step}" for step in STEPS)
    with Service(environment={killpoints.VARIABLE: rehearsed}, sweep_seconds=0.2, look_seconds=300) as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", rows())
        yield Rehearsal(service, folder)


def get(link: str, suffix: str) -> Answer:
    """Get a form by its link."""
    try:
        with urllib.request.urlopen(link.replace(".csv?", f"{suffix}?"), timeout=300) as reply:
            return Answer(reply.status, reply.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read())


def finished(service: Service) -> str:
    """The link of a new report."""
    asker = Partner(service, service.key("demo"))
    (edge,) = asker.wait(asker.ask())["downloadLinks"]["edges"]
    link: str = edge["node"]["link"]
    return link


@pytest.mark.parametrize("step", STEPS)
def test_a_maker_killed_at_a_step_leaves_one_whole_form(rehearsal: Rehearsal, step: str) -> None:
    """Killed once, the form is made again by itself while the request waits; nothing of the dead attempt stays."""
    link = finished(rehearsal.service)
    before = rehearsal.files()
    rehearsal.arm(step)
    answer = get(link, ".parquet")
    assert answer.status == 200, rehearsal.service.log
    assert rehearsal.died(step)
    assert pq.read_table(io.BytesIO(answer.body)).to_pydict()["views"] == [5, 7]
    assert until(lambda: len(rehearsal.files() - before) == 1)
    assert not [name for name in rehearsal.files() if name.endswith(".part")]


def test_a_form_whose_maker_always_dies_is_refused() -> None:
    """After the second death the request is told; the CSV is as it was, and nothing else is left."""
    with Service(environment={killpoints.VARIABLE: "form-write"}, sweep_seconds=0.2, look_seconds=300) as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", rows())
        link = finished(service)
        refused = get(link, ".ndjson")
        assert refused.status == 500, service.log
        assert b"take that" in refused.body
        assert get(link, ".csv") == Answer(200, EXPECTED)
        assert until(lambda: [path.suffix for path in service.settings.files_root.iterdir()] == [".csv"])
