"""The tables for operators: each day's state and each load as the log of loads tells them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts.log.small_log import load_days
from tests.server.api import Api
from tests.server.studio.conftest import OPERATOR, Visitors

from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.log.freshness import DayState, find_completeness, read_day_states
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import EARNINGS, PLAYS
from reelport.server.studio import operator

JULY = date(2023, 7, 1)
TODAY = date(2023, 7, 31)
NEVER = datetime(2000, 1, 1, tzinfo=UTC)
DAYS = [JULY + timedelta(days=place) for place in range(31)]


def read_states(root: Path, restated: tuple[tuple[date, date], ...] = ()) -> dict[int, DayState | None]:
    """The state of each day of July."""
    return {
        day.day: state
        for day, state in zip(DAYS, read_day_states(root, "earnings", DAYS, restated, TODAY), strict=True)
    }


def test_a_missing_day_holds_back_those_after_it(tmp_path: Path) -> None:
    """It is missing, and the later ones may still change: as `reelport load status` has it."""
    load_days(tmp_path, EARNINGS, "a", range(3, 20))
    load_days(tmp_path, EARNINGS, "b", range(21, 25))
    states = read_states(tmp_path, ((date(2023, 7, 5), date(2023, 7, 6)),))
    assert [day for day, state in states.items() if state is DayState.MISSING] == [20]
    assert [day for day, state in states.items() if state is DayState.MOVING] == [21, 22, 23, 24]
    assert [day for day, state in states.items() if state is DayState.RESTATED] == [5, 6]
    assert [day for day, state in states.items() if state is None] == [1, 2, *range(25, 32)]


@given(st.sets(st.integers(1, 31), min_size=1), st.sets(st.integers(1, 31)))
def test_a_complete_day_is_shown_as_one_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, loaded: set[int], restated: set[int]
) -> None:
    """Whatever was loaded: the calendar and the last complete day of reports agree."""
    root = tmp_path_factory.mktemp("facts")
    load_days(root, EARNINGS, "a", loaded)
    spans = tuple((date(2023, 7, day), date(2023, 7, day)) for day in sorted(restated))
    known = find_completeness(pin(root, ["earnings"]).listing["earnings"], (), TODAY)
    for day, state in read_states(root, spans).items():
        is_complete = known.first is not None and known.last is not None and known.first.day <= day <= known.last.day
        assert (state in {DayState.COMPLETE, DayState.RESTATED}) == is_complete
        assert (state is DayState.RESTATED) == (is_complete and day in restated)
        assert (state is DayState.MISSING) == (date(2023, 7, day) in known.missing)


def test_a_load_that_was_undone_restates_nothing(tmp_path: Path) -> None:
    """The calendar has the days that standing loads replaced long after they were over."""
    load_days(tmp_path, EARNINGS, "a", range(1, 10))
    load_days(tmp_path, EARNINGS, "b", [4], (date(2023, 7, 4), date(2023, 7, 5)))

    def read() -> tuple[DayState | None, ...]:
        return dict(operator.read_months(tmp_path, JULY, TODAY)[0][1])["earnings"]

    states = read()
    assert [place + 1 for place, state in enumerate(states) if state is DayState.RESTATED] == [4, 5]
    undo(tmp_path, "b")
    assert DayState.RESTATED not in read()


def test_the_pages_of_loads_have_each_load_once(tmp_path: Path) -> None:
    """Newest first, with the rows and days that the log has; of the month in which they were made."""
    for number in range(7):
        load_days(tmp_path, (EARNINGS, PLAYS)[number % 2], f"b{number}", range(1, number + 2))
    undo(tmp_path, "b3")
    month = datetime.now(UTC).date().replace(day=1)
    shown, count = operator.read_loads(tmp_path, ["plays", "earnings"], month)
    assert count == 7
    assert [load.at for load, *_ in shown] == sorted((load.at or NEVER for load, *_ in shown), reverse=True)
    assert {(load.batch, load.rows, load.undone) for load, *_ in shown} == {
        (each.batch, each.rows, each.undone) for each in list_loads(tmp_path)
    }
    assert operator.read_loads(tmp_path, ["plays", "earnings"], month, page=2) == ([], 7)
    assert operator.read_loads(tmp_path, ["plays"], month)[1] == 3
    assert operator.read_loads(tmp_path, ["plays"], date(2023, 7, 1)) == ([], 0)


def test_a_load_tells_why_rows_were_rejected(tmp_path: Path, visitors: Visitors, people: Api) -> None:
    """By its reject file where that is kept here; else by the name of the file beside the loaded one."""
    root = people.service.settings.facts_root
    export = tmp_path / "plays.csv"
    head = "started_at,owner_channel_id,video_id,media_type,views,time_watched_seconds\n"
    export.write_text(f"{head}2026-01-05T01:00:00Z,c,v,video,5,5\n2026-01-05T01:00:00Z,c,v,nonsense,5,5\n")
    done = load(root, "plays", [export])
    assert done.rejects_file is not None
    operator = visitors(OPERATOR)
    text = operator.get("/studio/operator/loads?table=plays").text
    assert f"<code>{done.rejects_file.name}</code> tells, beside the loaded file." in text
    kept = root.absolute().parent / "rejects" / f"{done.batch}.csv"
    kept.parent.mkdir()
    done.rejects_file.rename(kept)
    text = operator.get("/studio/operator/loads").text
    assert re.search(r'data-label="Rejected" class="number">1</td>', text)
    assert "nonsense" in text
    assert "1 load in" in text
    assert "5 January 2026" in text


@pytest.mark.parametrize("query", ["month=2026-13", "month=9999-01", "month=0001-01", "page=0", "page=²", "table=no"])
def test_what_is_wrong_in_an_address_counts_for_nothing(visitors: Visitors, query: str) -> None:
    """The page is that of this month, or of the nearest one."""
    operator = visitors(OPERATOR)
    for page in ("days", "loads"):
        assert operator.get(f"/studio/operator/{page}?{query}").status_code == 200


def test_damaged_tables_are_said_on_their_pages(visitors: Visitors, people: Api) -> None:
    """An operator needs the pages most when something is wrong."""
    log = people.service.settings.facts_root / "usage" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("no commit")
    for page in ("days", "loads"):
        answer = visitors(OPERATOR).get(f"/studio/operator/{page}")
        assert (answer.status_code, '<p class="notice bad">' in answer.text) == (200, True)
