"""The sample world: who exists, and that any two calls agree about it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest

from reelport.facts.sample.sample import STORED, open_world, read_objects, spread_rows
from reelport.facts.tables import TABLES, stored_schema

START, END = date(2023, 6, 28), date(2023, 7, 4)
Column = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def world() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(open_world(1, START, END)) as opened:
        yield opened


@pytest.fixture(scope="module")
def column(world: duckdb.DuckDBPyConnection) -> Column:
    """The first column that a query over the world gives."""
    return lambda sql: [row[0] for row in world.execute(sql).fetchall()]


def test_each_organization_has_its_channels(column: Column) -> None:
    """`demo` holds demo-news, demo-sports and demo-live; `rival` holds rival-news among others; some are nobody's."""
    of = "SELECT slug FROM channels WHERE organization IS NOT DISTINCT FROM {} ORDER BY rank"
    assert column(of.format("'demo'")) == ["demo-news", "demo-sports", "demo-live"]
    assert "rival-news" in column(of.format("'rival'"))
    assert column(of.format("NULL"))


def test_names_lead_to_things_that_exist(column: Column) -> None:
    """Accounts of channels, parents of accounts and channels of sites exist; shares are percents."""
    for table, link, to in (
        ("channels", "account_id", "accounts"),
        ("accounts", "parent_account_id", "accounts"),
        ("sites", "publisher_channel_id", "channels"),
    ):
        linked = f"SELECT {link} FROM {table} WHERE {link} IS NOT NULL"
        assert column(linked)
        assert column(f"{linked} AND {link} NOT IN (SELECT id FROM {to})") == []
    assert column("SELECT sum(share)::INTEGER FROM channels") == [100]


def test_objects_have_the_columns_of_their_tables(world: duckdb.DuckDBPyConnection) -> None:
    """Each object table has exactly the stored columns, and no id twice."""
    for name in (name for name, table in TABLES.items() if not table.is_fact):
        rows = read_objects(world, name)
        assert rows.schema.equals(stored_schema(name)), name
        assert len(set(rows["id"].to_pylist())) == len(rows), name


def test_the_same_seed_gives_the_same_videos_in_any_range(world: duckdb.DuckDBPyConnection) -> None:
    """Two ranges agree on every video that both know; the later one adds uploads."""
    known = {row[0]: row for row in world.execute("FROM videos").fetchall()}
    with closing(open_world(1, START + timedelta(days=3), END + timedelta(days=3))) as later:
        moved = {row[0]: row for row in later.execute("FROM videos").fetchall()}
    shared = known.keys() & moved.keys()
    assert shared
    assert all(known[number] == moved[number] for number in shared)
    assert moved.keys() - known.keys()
    assert known.keys() - moved.keys()
    with closing(open_world(2, START, END)) as other:
        assert other.execute("SELECT id FROM videos WHERE number = 1").fetchone() != (known[1][1],)


def test_titles_are_as_awkward_as_real_ones(column: Column) -> None:
    """Commas, quotes, emoji, right-to-left text, a line break, an empty title, and titles that several videos share."""
    titles = column("SELECT title FROM videos")
    said = "\0".join(title for title in titles if title)
    assert all(mark in said for mark in (",", '"', "🥅", "أخبار", "מזג", "\n", "=SUM("))
    assert None in titles
    assert not any(mark in said for mark in "{}")
    owners = "SELECT slug FROM videos JOIN channels ON channels.id = owner_channel_id WHERE title = 'Weekly highlights'"
    assert {*column(owners)} == {"demo-sports", "demo-news", "rival-news"}


def test_videos_differ_as_real_ones_do(world: duckdb.DuckDBPyConnection, column: Column) -> None:
    """Some have no tags, no duration, are private, are deleted, or are claimed by somebody else."""
    tags = column("SELECT len(tags) FROM videos")
    assert min(tags) == 0
    assert max(tags) > 3
    assert None in column("SELECT duration_seconds FROM videos")
    assert {"public", "private", "password"} == {*column("SELECT visibility FROM videos")}
    assert {*column("SELECT deleted_at > created_at FROM videos")} == {True, None}
    pairs = world.execute(
        "SELECT DISTINCT owner.organization, claimer.organization FROM videos "
        "JOIN channels owner ON owner.id = owner_channel_id JOIN channels claimer ON claimer.id = claimer_channel_id"
    ).fetchall()
    assert {("rival", "demo"), ("demo", "rival"), (None, "demo")} <= {*pairs}
    assert column("SELECT id FROM videos WHERE claimer_channel_id = owner_channel_id") == []


def test_every_day_has_its_uploads(world: duckdb.DuckDBPyConnection) -> None:
    """Uploads lie on their own day, fewer on weekends, one of them deleted in the evening."""
    found = world.execute(
        "SELECT created_at::DATE, count(*), count(deleted_at) FROM videos WHERE number >= 64 * 18000 GROUP BY 1"
    ).fetchall()
    days = [START - timedelta(days=60 - passed) for passed in range(60 + 7)]
    assert sorted(found) == [(day, (30 if day.isoweekday() <= 5 else 18) + 1, 1) for day in days]


@pytest.mark.parametrize("rows", [1, 7, 1000, 123_457, 50_000_000])
def test_rows_are_spread_to_the_last_one(rows: int) -> None:
    """The counts of all kinds and days add up to what was asked, and storage never shrinks nor exceeds the shelf."""
    found = spread_rows(rows, START, END, 1)
    assert sum(sum(of_day.values()) for of_day in found.values()) == rows
    kept = list(found["storage"].values())
    assert kept == sorted(kept)
    assert kept[-1] <= STORED
