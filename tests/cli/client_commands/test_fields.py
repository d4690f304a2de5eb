"""`reelport fields`, true for every name of the catalog; `reelport jobs`, which tells and removes reports."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import thin_out
from tests.cli.test_command_line import ended
from tests.client.ledgers import Calendar, days, given_up, question, requested
from tests.whole.terminal import on_terminal

from reelport import check
from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.cli.arguments.query_problems import nearest_valid_query
from reelport.cli.client_commands.fields import Part, describe_ranges, explain_entry, find_entry, list_entries
from reelport.cli.main import main
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State
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


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The user's own ledger: a report of 40 days ago, one of 20, and one that was just asked for and holds a slot."""
    monkeypatch.setenv("REELPORT_HOME", str(tmp_path / "home"))
    calendar = Calendar()
    own = Ledger(tmp_path / "home" / "ledger.db", calendar)
    for number, age in enumerate((40, 20, 0), start=1):
        calendar.now = datetime.now(UTC) - timedelta(days=age, minutes=1)
        row = requested(own, f"R-{number}", question(days(number)))
        given_up(own, row)
        if age:
            own.record_status(row, State.FINISHED)
            own.record_delivered(row)
    return own


def test_the_list_names_the_service_of_each_report(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """Two services may have been asked for the same days: lines for pipes and JSON tell them apart."""
    assert len(ledger.list_rows()) == 3
    _, lines, _ = ended(capsys, "jobs", "list", "--all")
    header, *rows = (line.split("\t") for line in lines.splitlines())
    assert [row[header.index("service")] for row in rows] == ["https://vendor.example"] * 3
    _, told, _ = ended(capsys, "jobs", "list", "--all", "--json")
    assert {row["service"] for row in json.loads(told)} == {"https://vendor.example"}


def test_old_reports_are_pruned_once_it_is_confirmed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run and a program that doesn't say --yes remove nothing; --yes removes what is older and not needed."""
    status, out, err = ended(capsys, "jobs", "prune", "--older-than", "30d", "--dry-run", "--json")
    assert (status, [row["id"] for row in json.loads(out)]) == (0, [1])
    assert err == f"1 report would be removed from {ledger.path}.\n"
    status, _, err = ended(capsys, "jobs", "prune", "--older-than", "30d")
    assert (status, "add --yes" in err) == (2, True)
    assert len(ledger.list_rows()) == 3
    assert ended(capsys, "jobs", "prune", "--older-than", "30d", "--yes")[0] == 0
    assert [row.id for row in ledger.list_rows()] == [2, 3]
    assert ended(capsys, "jobs", "prune", "--older-than", "0h", "--yes")[0] == 0
    assert [row.id for row in ledger.list_rows()] == [3], "it holds a slot"
    status, out, err = ended(capsys, "jobs", "prune", "--older-than", "0h", "--yes")
    assert (status, out) == (0, "")
    assert err.startswith("Nothing in ")


@pytest.mark.parametrize(("key", "left"), thin_out([(b"n\n", 3), (b"y\n", 0)], 2))
def test_a_terminal_is_asked_and_told_what_is_lost(ledger: Ledger, key: bytes, left: int) -> None:
    """A delivered report of today would have served again without an ask: the question says so."""
    calendar = Calendar()
    calendar.now = datetime.now(UTC) - timedelta(minutes=1)
    own = Ledger(ledger.path, calendar)
    row = own.list_rows()[2]
    own.record_status(row, State.FINISHED)
    own.record_delivered(row)
    given_up(own, row)
    environment = os.environ | {"REELPORT_HOME": str(ledger.path.parent)}
    status, drawn = on_terminal(
        environment, "jobs", "prune", "--older-than", "0h", keys=(0, key), at="[y/N]", columns=200
    )
    assert status == 0
    question = "Remove 3 reports from the ledger? 1 of them could still be had without asking again. Files stay. [y/N]"
    assert question in drawn
    assert len(ledger.list_rows()) == left


@pytest.mark.parametrize("age", ["30", "soon", "-3d", "1.5d", "3w", ""])
def test_what_is_no_age_is_refused(ledger: Ledger, capsys: pytest.CaptureFixture[str], age: str) -> None:
    """Nothing is removed by a guess."""
    status, _, err = ended(capsys, "jobs", "prune", f"--older-than={age}", "--yes")
    assert (status, "30d or 12h" in err) == (2, True)
    assert len(ledger.list_rows()) == 3
