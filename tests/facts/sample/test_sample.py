"""Sample facts in their tables: loaded once, range by range."""

import os
import shutil
import signal
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import forked

from reelport.errors import UsageError
from reelport.facts.loading.undo import undo
from reelport.facts.log.snapshot import newest_versions, pin
from reelport.facts.sample.sample import generate
from reelport.facts.tables import TABLES

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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_single_row_is_a_sample(tmp_path: Path) -> None:
    """One row in one day loads, though most tables get none."""
    result = generate(tmp_path, START, START, 1)
    assert sum(result.rows.values()) == 1


def test_each_filled_table_is_told(told: dict[str, int], filled: Path) -> None:
    """Each table of facts is told with the number of its rows."""
    assert told == {name: len(rows_of(filled, name)) for name in FACTS}


@pytest.mark.long
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


@pytest.mark.long
def test_an_undone_sample_makes_room_for_another(copied: Path) -> None:
    """Each batch that the refusal names can be undone, and then another sample of these days is taken."""
    with pytest.raises(UsageError) as refused:
        generate(copied, START, START, 400)
    for line in str(refused.value).splitlines()[1:]:
        undo(copied, line.removeprefix("reelport load undo "))
    assert sum(generate(copied, START, START, 400).rows.values()) == 400
    assert sum(len(rows_of(copied, name)) for name in FACTS) == 400
