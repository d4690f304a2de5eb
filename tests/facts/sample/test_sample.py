"""The sample world, of which any two calls agree, and its facts in their tables, loaded once, range by range."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import forked

from reelport.errors import UsageError
from reelport.facts.loading.undo import undo
from reelport.facts.log.snapshot import newest_versions, pin
from reelport.facts.sample.sample import STORED, generate, open_world, read_objects, spread_rows
from reelport.facts.tables import TABLES, stored_schema

pytestmark = pytest.mark.long

START, END = date(2023, 6, 29), date(2023, 7, 2)
ROWS = 2000
FACTS = tuple(name for name, table in TABLES.items() if table.is_fact)


def rows_of(root: Path, table: str, columns: Iterable[str] | None = None) -> pa.Table:
    """Every row of the newest version, in one order."""
    names = list(columns or (column.name for column in TABLES[table].columns if column.name != "tags"))
    files = pin(root, [table]).files(table)
    rows = pa.concat_tables([pq.read_table(file, columns=names, partitioning=None) for file in files])
    return rows.sort_by([(name, "ascending") for name in names])


@pytest.fixture(scope="module")
def told() -> dict[str, int]:
    """What was told of each table while the sample was made."""
    return {}


@pytest.fixture(scope="module")
def filled(told: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "facts"
    generate(root, START, END, ROWS, seed=7, progress=told.__setitem__)
    return root


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Path:
    """The same tables in a place where they may change."""
    return Path(shutil.copytree(filled, tmp_path / "facts"))


def test_every_table_is_filled(filled: Path) -> None:
    """Every table of facts and of objects has rows, and the facts are as many as asked."""
    counts = {name: len(rows_of(filled, name)) for name in TABLES}
    assert all(counts.values())
    assert sum(counts[name] for name in FACTS) == ROWS


def test_the_result_tells_rows_and_channels(filled: Path) -> None:
    """The result counts the rows of each table and gives the organizations' channels, ids by slug."""
    again = generate(filled, START, END, ROWS, seed=7)
    assert again.rows == {name: len(rows_of(filled, name)) for name in FACTS}
    assert [*again.organizations["demo"]] == ["demo-news", "demo-sports", "demo-live"]
    assert [*again.organizations["rival"]] == ["rival-news", "rival-sports", "rival-music"]
    stored = rows_of(filled, "channels", ["slug", "id"])
    ids = dict(zip(stored["slug"].to_pylist(), stored["id"].to_pylist(), strict=True))
    assert all(ids[slug] == id_ for known in again.organizations.values() for slug, id_ in known.items())


def test_the_same_call_twice_changes_nothing(filled: Path) -> None:
    """No table gets another version, not even an object table, and the result says so."""
    before = newest_versions(filled)
    assert not generate(filled, START, END, ROWS, seed=7).changed
    assert newest_versions(filled) == before


def test_a_second_call_adds_another_range(copied: Path) -> None:
    """The first range's facts stay as they were; videos only become more."""
    first, shelf = rows_of(copied, "plays"), rows_of(copied, "videos")
    result = generate(copied, date(2023, 7, 3), date(2023, 7, 5), 700, seed=7)
    assert result.changed
    both = rows_of(copied, "plays")
    assert len(both) == len(first) + result.rows["plays"]
    early = both.filter(
        pa.compute.less(both["started_at"], pa.scalar(date(2023, 7, 3)).cast(pa.timestamp("us", "UTC")))
    )
    assert early.equals(first)
    grown = rows_of(copied, "videos")
    assert len(grown) > len(shelf)
    assert grown.filter(pa.compute.is_in(grown["id"], shelf["id"])).equals(shelf)


def test_days_that_hold_a_sample_are_refused(filled: Path) -> None:
    """Another sample over the same days is refused by the names of the batches that lie there, and changes nothing."""
    before = newest_versions(filled)
    for start, end, rows, seed in ((END, date(2023, 8, 1), 100, 7), (START, END, ROWS, 8), (START, END, ROWS + 1, 7)):
        with pytest.raises(UsageError, match="reelport load undo sample-2023-06-29-2023-07-02-2000-7-plays"):
            generate(filled, start, end, rows, seed)
    assert newest_versions(filled) == before


def test_of_two_calls_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    """They ask for overlapping days: one lands whole, and the other leaves no row of any day."""
    call = (
        "import sys; from datetime import date; from pathlib import Path; "
        "from reelport.facts.sample.sample import generate; "
        f"generate(Path({str(tmp_path)!r}), date(2023, 7, 1), date(2023, 7, 2), 300, int(sys.argv[1]))"
    )
    started = [forked.Popen(["-c", call, seed], stderr=forked.PIPE, loads=forked.LOADING) for seed in "123"]
    said = [process.communicate()[1] for process in started]
    assert sorted(process.wait() for process in started) == [0, 1, 1]
    assert sum("sample facts lie on some of these days already" in each for each in said) == 2
    assert sum(len(rows_of(tmp_path, name)) for name in FACTS) == 300


def test_what_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    """Every wrong argument is named in one refusal, and no directory is made."""
    with pytest.raises(UsageError) as refused:
        generate(tmp_path / "facts", date(2019, 12, 31), date(2019, 1, 1), 0, seed=-1)
    assert len(str(refused.value).splitlines()) == 4
    with pytest.raises(UsageError, match="days"):
        generate(tmp_path / "facts", date(2020, 1, 1), date(2199, 1, 1), 10)
    assert not (tmp_path / "facts").exists()


def test_a_single_row_is_a_sample(tmp_path: Path) -> None:
    """One row in one day loads, though most tables get none."""
    result = generate(tmp_path, START, START, 1)
    assert sum(result.rows.values()) == 1


def test_each_filled_table_is_told(told: dict[str, int], filled: Path) -> None:
    """Each table of facts is told with the number of its rows."""
    assert told == {name: len(rows_of(filled, name)) for name in FACTS}


def test_a_killed_call_is_finished_by_the_same_call(filled: Path, tmp_path: Path) -> None:
    """Killed after the first commit, the call run again gives the rows of a call that was never killed.

    So the same call fills two directories alike.
    """
    call = (
        "from datetime import date; from pathlib import Path; from reelport.facts.sample.sample import generate; "
        f"generate(Path({str(tmp_path)!r}), {START!r}, {END!r}, {ROWS}, 7)".replace("datetime.date", "date")
    )
    stopped = forked.run(["-c", call], env=os.environ | {"REELPORT_STOP_AT": "load-commit"}, loads=forked.LOADING)
    assert stopped.returncode == -signal.SIGKILL
    generate(tmp_path, START, END, ROWS, seed=7)
    for table in TABLES:
        assert rows_of(tmp_path, table).equals(rows_of(filled, table)), table


def test_an_undone_sample_makes_room_for_another(copied: Path) -> None:
    """Each batch that the refusal names can be undone, and then another sample of these days is taken."""
    with pytest.raises(UsageError) as refused:
        generate(copied, START, START, 400)
    for line in str(refused.value).splitlines()[1:]:
        undo(copied, line.removeprefix("reelport load undo "))
    assert sum(generate(copied, START, START, 400).rows.values()) == 400
    assert sum(len(rows_of(copied, name)) for name in FACTS) == 400


SEEN, SEEN_LAST = date(2023, 6, 28), date(2023, 7, 4)
Column = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def world() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(open_world(1, SEEN, SEEN_LAST)) as opened:
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
    with closing(open_world(1, SEEN + timedelta(days=3), SEEN_LAST + timedelta(days=3))) as later:
        moved = {row[0]: row for row in later.execute("FROM videos").fetchall()}
    shared = known.keys() & moved.keys()
    assert shared
    assert all(known[number] == moved[number] for number in shared)
    assert moved.keys() - known.keys()
    assert known.keys() - moved.keys()
    with closing(open_world(2, SEEN, SEEN_LAST)) as other:
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
    days = [SEEN - timedelta(days=60 - passed) for passed in range(60 + 7)]
    assert sorted(found) == [(day, (30 if day.isoweekday() <= 5 else 18) + 1, 1) for day in days]


@pytest.mark.parametrize("rows", [1, 7, 1000, 123_457, 50_000_000])
def test_rows_are_spread_to_the_last_one(rows: int) -> None:
    """The counts of all kinds and days add up to what was asked, and storage never shrinks nor exceeds the shelf."""
    found = spread_rows(rows, SEEN, SEEN_LAST, 1)
    assert sum(sum(of_day.values()) for of_day in found.values()) == rows
    kept = list(found["storage"].values())
    assert kept == sorted(kept)
    assert kept[-1] <= STORED
