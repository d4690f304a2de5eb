"""Any range, right numbers: against the real service the merged file is the one that it gives for the whole range."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests import forked
from tests.warm_service import Service

from reelport import Client, Filter, MergeRefused, Metric, Product, QueryRefused, ReportQuery
from reelport.check import allowed_with, problems
from reelport.testing import Key

START, END = date(2025, 12, 1), date(2026, 2, 10)
TIMES = ("DAY", "MONTH", "HOUR")
TEXTS = {"channelSlug": ["demo-news", ""], "videoOwnerChannelSlug": ["demo-sports", "rival-news"]}


@pytest.fixture(scope="module")
def service(sampled: Service) -> Service:
    """A service with some ten weeks of sample facts."""
    return sampled


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    """A key of demo that may do everything."""
    return service.key("demo")


@pytest.fixture(scope="module")
def client(service: Service, key: Key) -> Iterator[Client]:
    """A client that remembers nothing: each example asks for itself."""
    with Client(service.url, key.id, key.secret, ledger=False) as client:
        yield client


@st.composite
def queries(draw: st.DrawFn) -> ReportQuery:
    """Any query that the service takes and whose windows can be merged, over any of its days."""
    query = ReportQuery.of([draw(st.sampled_from(list(Metric)))], [], START, END)
    for _ in range(draw(st.integers(0, 3))):
        if more := [metric.name for metric in allowed_with(query).metrics]:
            query = replace(query, metrics=(*query.metrics, draw(st.sampled_from(more))))
    for _ in range(draw(st.integers(0, 3))):
        if more := [dimension.name for dimension in allowed_with(query).dimensions if dimension.name not in TIMES]:
            query = replace(query, dimensions=(*query.dimensions, draw(st.sampled_from(more))))
    if draw(st.booleans()) and (times := [each.name for each in allowed_with(query).dimensions if each.name in TIMES]):
        query = replace(
            query, dimensions=tuple(draw(st.permutations([*query.dimensions, draw(st.sampled_from(times))])))
        )
    if draw(st.integers(0, 3)) == 0 and (filters := allowed_with(query).filters):
        query = replace(query, filters=(draw(values(draw(st.sampled_from(filters)))),))
    start = START + timedelta(draw(st.integers(0, 12)))
    end = END - timedelta(draw(st.integers(0, 12)))
    query = replace(query.within(start, end), product=draw(st.sampled_from(Product)).name)
    assume(not problems(query, today=END))
    return query


def values(row: Filter) -> st.SearchStrategy[tuple[str, str]]:
    """A filter with a value that some rows have, or the empty one."""
    return st.tuples(st.just(row.name), st.sampled_from(list(row.choices) or TEXTS.get(row.name, [""])))


@settings(
    max_examples=max(settings().max_examples // 4, 3),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(queries(), st.integers(31, 45))
def test_merging_any_split_is_the_answer_over_the_whole_range(
    client: Client, tmp_path: Path, query: ReportQuery, days: int
) -> None:
    """For whatever may be asked, windows of any length come to the service's own bytes; else the merge is refused."""
    split = client.with_options(windows=days)
    try:
        found = split.reports.run_range(query, tmp_path / "merged.csv", deadline=300)
    except MergeRefused:
        assert not set(query.dimensions) & set(TIMES)
        return
    whole = client.reports.run(query, tmp_path / "whole.csv", deadline=300)
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (found.sha256, found.rows, found.bytes) == (whole.sha256, whole.rows, whole.bytes)
    assert len(found.windows) > 1


def test_the_command_splits_what_one_report_may_not_cover(service: Service, key: Key, tmp_path: Path) -> None:
    """`report run` over more days than a report may have gives the file of the whole range, on stdout too."""
    ours = {
        "REELPORT_URL": service.url,
        "REELPORT_API_KEY": key.id,
        "REELPORT_API_SECRET": key.secret,
        "REELPORT_WINDOW_DAYS": "31",
    }
    query = ["--metrics", "AVERAGE_WATCH_TIME_SEC,VIEWS", "--dimensions", "VIDEO_TITLE"]
    words = ["report", "run", *query, "--start", str(START), "--end", str(END)]

    def output(**more: str) -> bytes:
        environment = {**os.environ, **ours, "REELPORT_HOME": str(tmp_path), **more}
        done = forked.run(["-m", "reelport", *words], env=environment, text=False)
        assert done.returncode == 0, done.stderr.decode()
        return bytes(done.stdout)

    assert output() == output(REELPORT_WINDOW_DAYS="180")


@pytest.mark.long
def test_a_service_that_takes_fewer_days_gets_smaller_windows(service: Service, client: Client, tmp_path: Path) -> None:
    """Refused windows are halved; what doesn't add up stays refused."""
    query = ReportQuery.of([Metric.VIEWS], ["DAY"], START, END)
    whole = client.reports.run(query, tmp_path / "whole.csv", deadline=300)
    service.restart(environment={"REELPORT_DAY_LIMIT": "40"})
    try:
        found = client.reports.run_range(query, tmp_path / "merged.csv", deadline=300)
        assert [each.rows for each in found.windows] == [36, 36]
        assert found.sha256 == whole.sha256
        with pytest.raises(QueryRefused, match="72 days are more than 40"):
            client.reports.run_range(replace(query, metrics=("LIVE_VIEWERS",), dimensions=()), tmp_path / "no.csv")
    finally:
        service.restart(environment={})


def test_a_mistyped_name_is_told_before_what_it_keeps_from_merging(service: Service, key: Key, tmp_path: Path) -> None:
    """A client that doesn't know yet whom it asks says what the service refuses, not how unknown names add up."""
    query = ReportQuery.of(["VIEWZ"], [], START, END)
    with (
        Client(service.url, key.id, key.secret, ledger=False) as client,
        pytest.raises(QueryRefused, match="There is no metric 'VIEWZ'"),
    ):
        client.with_options(windows=30).reports.run_range(query, tmp_path / "no.csv")
