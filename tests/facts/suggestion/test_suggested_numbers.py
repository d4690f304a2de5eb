"""What commas and points of an export's numbers mean: told by the values, else left to a person with each way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.facts.loading.load import load
from reelport.facts.suggestion import Suggestion, format_map, suggest_for_files

Ask = Callable[..., list[tuple[object, ...]]]


def _suggest(root: Path, table: str, header: str, rows: Sequence[str]) -> tuple[Suggestion, Path, Path]:
    """What is suggested for an export of these rows, the file and its mapping."""
    path = root.parent.parent / "export.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    found = suggest_for_files(root, table, [path])
    to = path.with_name("made.map.sql")
    to.write_text(format_map(found, [path], to))
    return found, path, to


def _suggest_money(root: Path, values: Sequence[str]) -> tuple[Suggestion, Path, Path]:
    rows = [f'2023-07-01,c{at},"{value}",1.5' for at, value in enumerate(values)]
    return _suggest(root, "earnings", "day,owner_channel_id,revenue_eur,usd", rows)


def _gap_lines(to: Path, column: str) -> list[str]:
    """The commented lines that would fill the column."""
    return [line.strip() for line in to.read_text().splitlines() if f" AS {column}," in line]


def _uncomment(to: Path, line: str) -> None:
    to.write_text(to.read_text().replace(line, line.removeprefix("-- ")))


@pytest.mark.parametrize(
    ("values", "numbers"),
    thin_out(
        [
            (["2,613", "0,500", "1,234"], ["2.613", "0.5", "1.234"]),
            (["1,234", "1,234,567"], ["1234", "1234567"]),
            (["-1,234.5", "2,613"], ["-1234.5", "2613"]),
            (["1.5", "2,5"], ["1.5", "2.5"]),
            (["1.234", "2.613"], ["1.234", "2.613"]),
        ],
        3,
        nightly=True,
    ),
)
def test_values_tell_what_their_commas_mean(
    root: Path, ask: Ask, values: Sequence[str], numbers: Sequence[str]
) -> None:
    """One value that can be read in one way only decides for the whole column."""
    found, path, to = _suggest_money(root, values)
    assert found.gaps == ()
    assert load(root, "earnings", [path], mapping=to).rejects == 0
    assert ask("earnings", "SELECT eur FROM t ORDER BY owner_channel_id") == [(Decimal(each),) for each in numbers]


@pytest.mark.parametrize("values", [["2,613", "1,234"], ["1,234,567", "0,5"]])
def test_commas_that_may_mean_either_are_left_to_a_person(root: Path, values: Sequence[str]) -> None:
    """Thousands or decimals, or both in one column: both lines stand as comments, and nothing is taken."""
    found, _, to = _suggest_money(root, values)
    assert [gap.column.name for gap in found.gaps] == ["eur"]
    assert found.gaps[0].why.endswith("can be read in 2 ways")
    lines = _gap_lines(to, "eur")
    assert ["commas taken out" in line for line in lines] == [True, False]
    assert "commas read as decimal points" in lines[1]


@pytest.mark.parametrize(("way", "number"), [(0, "1234"), (1, "1.234")])
def test_either_way_loads_what_it_says(root: Path, ask: Ask, way: int, number: str) -> None:
    """The line that a person chooses converts each value."""
    _, path, to = _suggest_money(root, ["1,234"])
    _uncomment(to, _gap_lines(to, "eur")[way])
    assert load(root, "earnings", [path], mapping=to).rejects == 0
    assert ask("earnings", "SELECT eur FROM t") == [(Decimal(number),)]


def test_later_values_of_another_form_are_rejected(root: Path, ask: Ask) -> None:
    """The first rows decide; a later comma that can't be what they mean costs its row, and no factor of a thousand."""
    values = [f"1,{number:03},000" for number in range(600)] + ["0,500", "2,61"]
    _, path, to = _suggest_money(root, values)
    done = load(root, "earnings", [path], mapping=to)
    assert (done.rows, done.rejects) == (600, 2)
    assert ask("earnings", "SELECT min(eur) FROM t") == [(Decimal(1_000_000),)]


PLAYS = "started_at,video_id,owner_channel_id,media_type"
PLAY = "2023-07-01,v1,c1,video"
WRITE = "-- write how its values become the table's"


@pytest.mark.parametrize(
    ("values", "counts"),
    thin_out(
        [
            (["1,234", "5"], [5, 1234]),
            (["1,000", "1,234"], [1000, 1234]),
            (["1.0", "5"], [1, 5]),
        ],
        3,
        nightly=True,
    ),
)
def test_whole_numbers_have_no_decimals(root: Path, ask: Ask, values: Sequence[str], counts: Sequence[int]) -> None:
    """A view has no fraction, so that what divides three digits of it divides thousands."""
    rows = [f'{PLAY},"{value}",1' for value in values]
    found, path, to = _suggest(root, "plays", f"{PLAYS},views,time_watched_seconds", rows)
    assert found.gaps == ()
    assert load(root, "plays", [path], mapping=to).rejects == 0
    assert ask("plays", "SELECT views FROM t ORDER BY views") == [(count,) for count in counts]


def test_decimal_commas_of_hours_become_seconds(root: Path, ask: Ask) -> None:
    """Half an hour written as `0,500` is 1,800 seconds, and not 500 hours."""
    rows = [f'{PLAY},1,"{value}"' for value in ("2,613", "0,500", "1,234")]
    found, path, to = _suggest(root, "plays", f"{PLAYS},views,Watch time (hours)", rows)
    assert found.gaps == ()
    assert load(root, "plays", [path], mapping=to).rejects == 0
    assert ask("plays", "SELECT time_watched_seconds FROM t ORDER BY 1") == [(1800,), (4442,), (9407,)]


@pytest.mark.parametrize(
    ("views", "seconds", "media", "column", "line"),
    [
        ("many", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("1e3", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("2,61", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("1", "two", "video", "time_watched_seconds", f'… "watch_time" … AS time_watched_seconds,  {WRITE}'),
        ("1", "", "video", "time_watched_seconds", '"watch_time" AS time_watched_seconds,  -- if later rows fill it'),
        ("1", "1", "short", "media_type", f'… "media_type" … AS media_type,  {WRITE}'),
    ],
)
def test_no_constant_takes_the_place_of_a_column_that_exists(
    root: Path, views: str, seconds: str, media: str, column: str, line: str
) -> None:
    """A column that can't be converted is named in the only line that is offered."""
    header = "started_at,video_id,owner_channel_id,media_type,views,watch_time"
    found, _, to = _suggest(root, "plays", header, [f'2023-07-01,v1,c1,{media},"{views}",{seconds}'])
    assert [gap.column.name for gap in found.gaps] == [column]
    assert _gap_lines(to, column) == [f"-- {line}"]


def test_money_of_another_currency_is_said_to_be_so(root: Path) -> None:
    """Euros can't be made of a column of dollars, which is used for the dollars."""
    found, _, to = _suggest(root, "earnings", "day,owner_channel_id,revenue_usd", ["2023-07-01,c1,1.5"])
    assert [(gap.column.name, gap.given) for gap in found.gaps] == [("eur", None)]
    assert "it counts USD, and the table EUR" in to.read_text()
    assert _gap_lines(to, "eur") == ["-- … AS eur,"]
