"""No statement of the catalog claims to be known better than its sources let it be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import pytest
from supply_chain.catalog_pages import catalog_page, standing_letter
from tests.cases import thin_out

from reelport.catalog import (
    CellType,
    Difference,
    Dimension,
    Family,
    Filter,
    Meaning,
    Metric,
    Payee,
    Product,
    Scope,
    Standing,
    Standings,
    Statement,
    Sum,
    Total,
    Unit,
    describe_standings,
)
from reelport.cli.client_commands.fields import explain_entry
from reelport.server.graphql.resolvers import build_sdl

Entry = Metric | Dimension | Filter | Product

S = Statement
STATED: Mapping[type, tuple[Statement, ...]] = {
    Metric: (S.NAME, S.MEANING, S.FORMULA, S.UNIT, S.SCALE, S.ADDING),
    Dimension: (S.NAME, S.MEANING, S.VALUES, S.ADDING),
    Filter: (S.NAME, S.MEANING, S.VALUES),
    Product: (S.NAME, S.MEANING),
}
"""The columns of `sources.txt` for each kind of entry."""
ENTRIES: tuple[Entry, ...] = (*Metric, *Dimension, *Filter, *Product)
RANKS = {standing.value: rank for rank, standing in enumerate(Standing)}

MONEY = {name for name in Metric.__members__ if "EARNINGS" in name or name.startswith(("ECPM", "ERPM"))}
WEAKER: Mapping[Statement, set[str]] = {
    S.FORMULA: MONEY,  # whose a row's money is, and the ads that earned it, are this project's rule
    S.MEANING: {
        "VIEW_THROUGH_RATE",  # plays of unknown length are left out
        "UPLOADS",  # by the day of creation
        "LIVE_VIEWERS",  # a lower bound where viewers are not told
        "GDPR_FULL_CONSENT_SCORE",  # of opportunities; the documentation speaks of users
        "VTR_SCORE",  # of ads; the documentation speaks of users
        "CHANNEL_SLUG",  # by which of several channels a row is yours
        "CONTENT_TAG_LIST",  # how the tags are joined
        "ACCOUNT_ID",  # that it is the owner's
        "ACCOUNT_USERNAME",
        *(name for name in Metric.__members__ if name.startswith("STORAGE_")),  # on which day
    },
}
"""Where the catalog says more than a source does, and so knows it less well."""


def sources() -> Mapping[str, tuple[str, ...]]:
    """What is known of each name, in the words of the file."""
    lines = Path(__file__).with_name("sources.txt").read_text("utf-8").splitlines()
    pairs = (line.split(": ") for line in lines if not line.startswith("#"))
    return {name: tuple(words.split(", ")) for name, words in pairs}


SOURCES = sources()


def told(entry: Entry) -> Iterator[tuple[Statement, str, Standing | None]]:
    """Each statement, what the sources are worth for it, and what the catalog calls it."""
    for statement, source in zip(STATED[type(entry)], SOURCES[entry.name], strict=True):
        yield statement, source, entry.standings.get(statement)


def test_every_name_has_its_sources() -> None:
    """The file tells of each name of the catalog, and of no other."""
    assert list(SOURCES) == [entry.name for entry in ENTRIES]


@pytest.mark.parametrize("entry", thin_out(ENTRIES, 4), ids=str)
def test_a_statement_is_known_as_well_as_its_source(entry: Entry) -> None:
    """As well as the source, or less where the catalog says more than it; chosen where the source tells nothing."""
    assert set(entry.standings) <= set(STATED[type(entry)])
    for statement, source, standing in told(entry):
        if source == "-":
            assert standing in (None, Standing.INFERRED, Standing.CHOSEN), statement
        elif source == "unknown":
            assert standing is Standing.CHOSEN, statement
        elif entry.name in WEAKER.get(statement, ()):
            assert standing is not None, statement
            assert RANKS[standing] > RANKS[source], statement
        else:
            assert standing == source, statement


def test_a_number_that_is_no_plain_sum_says_how_it_is_made() -> None:
    """Rates, totals, differences, stocks, distinct counts and money have a formula with its standing."""
    plain = {entry.name for entry in Metric if S.FORMULA not in entry.standings}
    assert plain == {entry.name for entry in Metric if type(entry.rule).__name__ == "Sum"} - MONEY


def test_a_scale_that_nobody_shows_is_no_documented_unit() -> None:
    """That shares go from 0 to 1 is chosen, however well the share itself is known."""
    shares = [entry for entry in Metric if entry.unit is Unit.SHARE]
    assert {entry.standings[S.SCALE] for entry in shares} == {Standing.CHOSEN}
    assert Metric.FILL_RATE.standings[S.UNIT] is Standing.DOCUMENTED


def test_standings_are_told_best_known_first() -> None:
    """A sentence a standing, in the order of their worth."""
    known: Standings = {S.NAME: Standing.SCHEMA, S.UNIT: Standing.CHOSEN, S.MEANING: Standing.SCHEMA}
    assert describe_standings(known) == "Schema: name, meaning. Chosen: unit."


@pytest.mark.parametrize("entry", thin_out(ENTRIES, 4), ids=str)
def test_each_standing_is_shown(entry: Entry) -> None:
    """`fields explain` has every one of them, and the schema's description tells them in words."""
    assert explain_entry(entry)["standings"] == {str(each): str(rank) for each, rank in entry.standings.items()}
    assert f'{entry.sentence} ({describe_standings(entry.standings)})"""\n  {entry.name}' in build_sdl()


def test_the_page_marks_every_statement() -> None:
    """Each row bears the letters of its statements where they change, or a sentence says them for all rows."""
    page = catalog_page()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and "] |" in line}
    assert "A statement without a letter has the letter before it in the same line." in page
    assert "a metric is a whole number [I]." in page
    assert "The rows of a metric add up [I], except these:" in page
    assert "Rows add up over every dimension except `CONTENT_TAG` [I]. " in page
    assert " Cells are texts, unless the dimension's line says otherwise [C]." in page
    assert "Rules for several names [C]:" in page
    assert set(rows) == {entry.name for entry in ENTRIES} | {str(scope) for scope in Scope}
    for entry in ENTRIES:
        stated = [each for each in STATED[type(entry)] if each in entry.standings]
        marks = [standing_letter(entry.standings[each]) for each in stated if not said_of_all(entry, each)]
        changes = [mark for mark, _ in groupby(marks)]
        assert re.findall(r" \[([DSIC])\]", rows[entry.name]) == changes


def test_the_page_lists_every_metric_whose_rows_do_not_add_up() -> None:
    """Each stands once, behind its rule and the rule's letter; no other metric is listed."""
    listed = re.findall(r"^- (no|over)\b[^\[]+ \[([DSIC])\]: (.+)$", catalog_page(), re.MULTILINE)
    letters = {name: letter for _, letter, names in listed for name in re.findall(r"`(\w+)`", names)}
    other = [each for each in Metric if not isinstance(each.rule, Sum | Total | Difference)]
    assert letters == {each.name: standing_letter(each.standings[S.ADDING]) for each in other}


def said_of_all(entry: Entry, statement: Statement) -> bool:
    match entry, statement:
        case Dimension(type=CellType.TEXT), Statement.VALUES:
            return entry.standings[statement] is Standing.CHOSEN
        case Dimension(), Statement.ADDING:
            assert entry.many_valued == (entry is Dimension.CONTENT_TAG)
        case Metric(digits=0), Statement.SCALE:
            pass
        case Metric(), Statement.ADDING:
            return True
        case _:
            return False
    return entry.standings[statement] is Standing.INFERRED


def test_rules_that_names_share_are_told_with_each() -> None:
    """Every rule is about names or families that there are, and `fields explain` has it with its standing."""
    names = {entry.name for entry in ENTRIES} | {family.name for family in Family}
    for rule in Meaning:
        assert rule.about
        assert set(rule.about) <= names
        concerned = [entry for entry in ENTRIES if f"{rule.sentence} ({rule.standing})" in told_rules(entry)]
        assert concerned
    assert len(told_rules(Metric.ECPM_EUR)) == len(told_rules(Metric.ESTIMATED_EARNINGS_EUR)) + 1
    assert told_rules(Metric.VIEWS) == []


def test_who_is_paid_is_told_where_it_is_needed() -> None:
    """The rule of every kind of monetization is in `fields explain`, and no page is spoken of that isn't there."""
    told = " ".join(map(str, told_rules(Metric.ECPM_EUR)))
    assert all(payee.sentence in told for payee in Payee)
    assert "payee_channel_id" in told
    assert not [rule for rule in Meaning if "below" in rule.sentence or "above" in rule.sentence]


def told_rules(entry: Entry) -> list[object]:
    """The rules that `fields explain` tells of it."""
    rules = explain_entry(entry).get("rules", [])
    assert isinstance(rules, list)
    return rules
