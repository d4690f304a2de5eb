"""`reelport fields`: what it says is so, for every name of the catalog."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import thin_out

from reelport import check
from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.cli.arguments.query_problems import nearest_valid_query
from reelport.cli.client_commands.fields import Part, describe_ranges, explain_entry, find_entry, list_entries
from reelport.cli.main import main
from reelport.errors import UsageError
from reelport.query import ReportQuery

DAY = date(2026, 11, 1)
EVERYTHING = [entry for part in Part for entry in list_entries(part)]


def said(capsys: pytest.CaptureFixture[str], words: str, status: int = 0) -> tuple[str, str]:
    """What a command prints on stdout and on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(["fields", *words.split()])
    out, err = capsys.readouterr()
    assert (caught.value.code, err.count("Traceback")) == (status, 0), err
    return out, err


def test_everything_can_be_explained() -> None:
    """Each entry says its meaning, its standing, and what it goes with; names are those of the catalog."""
    assert len(EVERYTHING) == len(Metric) + len(Dimension) + len(Filter) + len(Product)
    for entry in EVERYTHING:
        facts = explain_entry(entry)
        assert facts["means"] == entry.sentence
        assert facts["standing"] == entry.standing
        for key, rows in {"metrics": Metric, "dimensions": Dimension, "filters": Filter}.items():
            listed = [*facts.get(key, []), *facts.get(f"{key}_inferred", [])]  # type: ignore[misc]  # names
            assert {rows[name] for name in listed} <= set(rows)


@pytest.mark.parametrize("metric", thin_out(list(Metric), 6), ids=str)
def test_a_metric_goes_with_just_what_check_takes(metric: Metric) -> None:
    """A dimension is named exactly when the two can be asked for together."""
    facts = explain_entry(metric)
    goes = {*facts["dimensions"], *facts["dimensions_inferred"]}  # type: ignore[misc]  # names
    taken = {
        row.name
        for row in Dimension
        if not check.problems(ReportQuery.of([metric], [row], DAY, DAY), today=DAY)
    }  # fmt: skip
    assert goes == taken


def test_ranges_are_told_by_how_a_metric_adds_up() -> None:
    """Sums are added up, rates computed anew from parts that can be asked for, all else needs a dimension of time."""
    assert "added up" in describe_ranges(Metric.VIEWS)
    assert "TIME_WATCHED_SECONDS / VIEWS" in describe_ranges(Metric.AVERAGE_WATCH_TIME_SEC)
    assert "count twice" in describe_ranges(Metric.LIVE_VIEWERS)
    assert "days don't add up" in describe_ranges(Metric.STORAGE_USED_BYTES)
    assert all(metric.additive == ("are added up" in describe_ranges(metric)) for metric in Metric)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("VIEW", "VIEWS"), ("time_watched", "TIME_WATCHED_SECONDS"), ("mediatyp", "mediaType"), ("CONTEND", "CONTENT")],
)
def test_a_mistyped_name_gets_the_nearest(wrong: str, near: str) -> None:
    """Whatever part of the catalog it is from."""
    with pytest.raises(UsageError, match=f"Did you mean {near}?"):
        find_entry(wrong)


@pytest.mark.parametrize("name", ["", "  ", "x" * 10_000, "\x00", "ÄÖ", "-"])
def test_what_is_no_name_is_refused_in_a_sentence(name: str) -> None:
    """However odd it is, and however long."""
    with pytest.raises(UsageError) as caught:
        find_entry(name)
    assert len(str(caught.value)) < 300


def test_names_are_found_however_they_are_written() -> None:
    """Lower case, dashes and blanks around them do no harm."""
    assert find_entry(" view-through-rate ") is Metric.VIEW_THROUGH_RATE
    assert find_entry("MEDIATYPE") is Filter.mediaType


names = st.lists(st.sampled_from([row.name for row in Metric] + ["VIEW", "NOTHING AT ALL"]), min_size=1, max_size=6)
splits = st.lists(st.sampled_from([row.name for row in Dimension] + ["DAYS", "?"]), max_size=11)
narrowed = st.dictionaries(st.sampled_from([row.name for row in Filter]), st.just("LIVE"), max_size=3)


@given(names, splits, narrowed)
def test_what_is_said_to_work_works(metrics: list[str], dimensions: list[str], filters: dict[str, str]) -> None:
    """The nearest possible combination is taken by the check, and is the query itself where nothing is wrong."""
    query = ReportQuery.of(metrics, dimensions, DAY, DAY, {name: _value(name) for name in filters})
    near = nearest_valid_query(query)
    problems = check.problems(query, today=DAY)
    if near is None:
        assert problems
        return
    assert not check.problems(near.query, today=DAY)
    kept = {*near.query.metrics, *near.query.dimensions, *dict(near.query.filters)}
    assert kept.isdisjoint(near.dropped)
    if not problems:
        assert (near.query, near.dropped) == (query, ())


def test_what_would_work_says_what_it_leaves_out() -> None:
    """A dimension may be exchanged for a near one, and a mistyped filter keeps its value."""
    query = ReportQuery.of(
        ["VIEWS", "COLOUR"], ["CHANNEL_SLUG", "BUYER"], DAY, DAY, {"country": "FR", "mediaTyp": "LIV", "?": "x"}
    )
    near = nearest_valid_query(query)
    assert near is not None
    assert near.query.dimensions == ("VIDEO_OWNER_CHANNEL_SLUG",)
    assert near.query.filters == (("mediaType", "LIVE"),)
    assert near.dropped == ("COLOUR", "CHANNEL_SLUG", "BUYER", "?", "country")
    assert near.introduce() == "This would work, without COLOUR, CHANNEL_SLUG, BUYER, ? and country:"


def _value(name: str) -> str:
    return (Filter[name].choices or ("x",))[0]


def test_a_pipe_gets_lines_and_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A line an entry with tabs between its cells, a line a fact, or one JSON value."""
    lines = said(capsys, "list")[0].splitlines()
    assert len(lines) == 1 + len(EVERYTHING)
    assert {len(line.split("\t")) for line in lines} == {6}
    assert len(json.loads(said(capsys, "list dimensions --json")[0])) == len(Dimension)
    facts = dict(line.split("\t") for line in said(capsys, "explain ECPM_EUR")[0].splitlines())
    assert facts["scopes"] == "create_reports,access_ads,access_revenue"
    assert json.loads(said(capsys, "explain ECPM_EUR --json")[0])["unit"] == "EUR per 1000 impressions"


@pytest.mark.parametrize("words", ["lists", "list metric", "explain", "explain A B"])
def test_wrong_words_are_a_usage_error(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Status 2, one sentence, nothing on stdout."""
    out, err = said(capsys, words, 2)
    assert out == ""
    assert err.startswith("reelport: ")


def test_each_rule_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The rules that a name shares don't run together: as many lines as there are rules."""
    out, _ = said(capsys, "explain ESTIMATED_EARNINGS_EUR")
    rules = [line.removeprefix("rules\t") for line in out.splitlines() if line.startswith("rules\t")]
    assert rules == explain_entry(Metric.ESTIMATED_EARNINGS_EUR)["rules"]
    assert len(rules) > 1
