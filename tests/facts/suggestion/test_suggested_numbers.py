"""What an export's numbers are taken for: what the values don't tell is left to a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

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


def _gap_lines(to: Path, column: str) -> list[str]:
    """The commented lines that would fill the column."""
    return [line.strip() for line in to.read_text().splitlines() if f" AS {column}," in line]


PLAYS = "started_at,video_id,owner_channel_id,media_type"
WRITE = "-- write how its values become the table's"


@pytest.mark.parametrize(
    ("views", "seconds", "media", "column", "line"),
    [
        ("many", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("1e3", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("2,613", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
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
