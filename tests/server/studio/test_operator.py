"""The operator's pages: the platform's state, reports and tables over days, and nothing of what reports hold."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tests.facts.log.small_log import load_days
from tests.server.api import Api
from tests.server.conftest import NOW, State
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, Visitors

from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.log.freshness import DayState, find_completeness, read_day_states
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import EARNINGS, PLAYS
from reelport.server.access import organizations
from reelport.server.access.roles import Role
from reelport.server.queue import jobs
from reelport.server.reports.report_days import read_report_days
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, REPORTS
from reelport.server.studio import operator
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.routes import ROUTES

PAGE = "/studio/operator"


def test_an_operator_sees_the_queue(visitors: Visitors, people: Api) -> None:
    """And why each report waits, beside workers and disks."""
    people.ask(**people.new())
    text = visitors(OPERATOR).get(PAGE).text
    assert "It waits for a worker, at place 1 of its organization." in text
    french = visitors(OPERATOR).get(PAGE, headers={"Accept-Language": "fr"}).text
    assert "Il attend un worker, à la place 1 de son organisation." in french
    assert "No worker is running" in text
    assert "are free: data" in text


def test_an_operator_sees_the_organizations(visitors: Visitors, people: Api) -> None:
    """With how much of what each has."""
    people.ask(**people.new())
    text = visitors(OPERATOR).get(f"{PAGE}/organizations").text
    row = re.search(r"<bdi>demo</bdi></a></th>(.*?)</tr>", text, re.DOTALL)
    assert row is not None
    assert re.findall(r'number">([^<]*)<', row[1])[:3] == ["1", "1", "4"]
    assert int(re.findall(r'number">([^<]*)<', row[1])[3])


def test_a_page_of_an_organization_has_its_limits_keys_people_and_reports(visitors: Visitors, people: Api) -> None:
    """As they are now; no secret, and nothing of what a report is about."""
    people.finished(b"day,views\n2026-01-01,8613\n")
    visitor = visitors(OPERATOR)
    listed = visitor.get(f"{PAGE}/organizations").text
    address = re.search(rf'href="({PAGE}/organizations/\d+)"><bdi>demo<', listed)
    assert address is not None
    text = visitor.get(address[1]).text
    for told in ("1 channel", "reports at the same time are being made", people.key.id, OWNER, MEMBER):
        assert told in text
    assert "Its keys have no maximum age." in text
    assert people.key.secret not in text
    assert "8613" not in text
    assert text.count("<figure") == 4
    # Counts of today grow until it is over: they aren't numbers that were told and may change.
    assert "The last day isn't over yet." in unescape(text)
    assert "may still change." not in text


@pytest.mark.parametrize("number", ["0", "999999999", "-1", "x", "9" * 20])
def test_an_organization_that_is_not_there_is_not_found(visitors: Visitors, number: str) -> None:
    """Whatever the address has in place of its number."""
    assert visitors(OPERATOR).get(f"{PAGE}/organizations/{number}").status_code == 404


def test_of_many_organizations_those_with_reports_are_shown(state: State) -> None:
    """The page stays a page; how many there are is said."""
    with writing(state.db) as connection:
        rows = [{"name": f"o{number:04}", "created_at": NOW, "served_at": NOW} for number in range(1000)]
        connection.execute(ORGANIZATIONS.insert(), rows)
    state.organization("zebra", "c-1")
    state.ask(state.caller(state.key("zebra")))
    shown = operator.read_organizations(state.db)
    assert (len(shown), shown[0].total) == (200, 1001)
    assert [each.name for each in shown[:2]] == ["zebra", "o0000"]
    assert (shown[0].channels, shown[0].keys, shown[0].unfinished) == (1, 1, 1)


def test_a_report_that_is_made_says_by_whom(visitors: Visitors, people: Api) -> None:
    """And one whose attempt failed says why, and when it is tried again."""
    people.ask(**people.new())
    claim = jobs.claim(people.service.db, "vm-1-worker", running=9, lease_seconds=60)
    assert claim is not None
    text = visitors(OPERATOR).get(PAGE).text
    assert "It is being made. <code>vm-1-worker</code>" in text


def test_a_page_for_operators_holds_nothing_of_a_report(visitors: Visitors, people: Api) -> None:
    """Neither rows nor bytes nor what was asked for: a finished report is only one more that ended."""
    people.finished(b"day,views\n" + b"2026-01-01,8613\n" * 41_237)
    text = visitors(OPERATOR).get(PAGE).text
    for number in ("41\N{NARROW NO-BREAK SPACE}237", "41237", "41,237", "8613"):
        assert number not in text
    assert re.search(r"Ended so far: .*\d finished", text)
    told = {each.name for each in fields(operator.QueuedReport)}
    assert not told & {"rows", "bytes", "query", "channels", "key", "file"}


def test_no_route_with_a_partners_numbers_is_an_operators() -> None:
    """Whatever page comes, an operator's rights open none that reads, asks for or shares numbers."""
    partners = {Right.READ_NUMBERS, Right.ASK_FOR_REPORTS, Right.SHARE_VIEWS, Right.MANAGE_KEYS, Right.MANAGE_PEOPLE}
    assert not RIGHTS[Role.OPERATOR] & partners
    opened = [route.path for route in ROUTES if route.right in RIGHTS[Role.OPERATOR] - RIGHTS[None]]
    assert all(path.startswith(("/studio/sign-out", "/studio/account", "/studio/audit", PAGE)) for path in opened)


def test_an_operator_is_told_why_numbers_are_not_shown(visitors: Visitors) -> None:
    """There is no owner to ask: an operator is of no organization."""
    refused = visitors(OPERATOR).get("/studio/explore")
    assert (refused.status_code, "ask an owner" in refused.text) == (403, False)
    assert "operators see no partner&#39;s numbers" in refused.text


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 45 * 24 * 60),  # minutes ago
        st.integers(0, 3 * 24 * 60),  # minutes until its end
        st.sampled_from(["finished", "gone", "failed", "cancelled", "unmade", "open"]),
        st.integers(0, 2**40),
        st.sampled_from(["demo", "rival"]),
    ),
    max_size=60,
)


@given(records=RECORDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_days_of_reports_are_those_of_their_records(state: State, records: list[tuple[Any, ...]]) -> None:
    """How many were asked for and how each ended, when files came, and how many were open at once: counted by hand."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    known = {each.name: each.id for each in organizations.list_organizations(state.db)}
    holders = {name: known.get(name) or state.organization(name, "c-1") for name in ("demo", "rival")}
    keys = {name: state.keys.get(name) or state.keys.setdefault(name, state.key(name)) for name in holders}
    with writing(state.db) as connection:
        connection.execute(REPORTS.delete())
    made = [
        {**make_record(number, now, *each), "organization_id": holders[each[-1]], "key_id": keys[each[-1]].id}
        for number, each in enumerate(records)
    ]
    with writing(state.db) as connection:
        if made:
            connection.execute(REPORTS.insert(), made)
    for whose in (None, holders["demo"]):
        own = [each for each in made if whose in {None, each["organization_id"]}]
        days = read_report_days(state.db, now, whose)
        assert [each.day for each in days] == [date(2026, 2, 2) + timedelta(days=place) for place in range(28)]
        for day in days:
            asked = [each for each in own if each["created_at"].date() == day.day]
            files = [each for each in asked if each["rows"] is not None]
            waits = sorted((each["ended_at"] - each["created_at"]).total_seconds() for each in files)
            codes = [(each["status"], each["reason_code"], each["rows"] is None) for each in asked]
            assert (day.asked, day.finished) == (len(asked), len(files))
            assert day.cancelled == codes.count(("FAILED", "cancelled", True))
            assert day.failed == codes.count(("FAILED", "too_late", True))
            assert day.expired == codes.count(("EXPIRED", None, True))
            assert (day.rows, day.bytes) == (sum(f["rows"] for f in files), sum(f["bytes"] for f in files))
            assert day.median == (waits[(len(waits) - 1) // 2] if waits else None)
            assert day.slowest == (waits[math.ceil(len(waits) * 0.95) - 1] if waits else None)
            assert day.most == count_most_open(own, day.day)


def make_record(number: int, now: datetime, ago: int, took: int, kind: str, size: int, _whose: str) -> dict[str, Any]:
    """The row of a report, as its end leaves it."""
    status = {"finished": "FINISHED", "gone": "EXPIRED", "unmade": "EXPIRED", "open": "IN_PROGRESS"}.get(kind, "FAILED")
    asked = now - timedelta(minutes=ago)
    has_file = kind in {"finished", "gone"}
    return {
        **dict.fromkeys(("id", "token", "fingerprint"), f"r{number}"),
        **dict.fromkeys(("query", "channels", "scopes"), "[]"),
        "attempts": 1,
        "status": status,
        "created_at": asked,
        "expires_at": asked + timedelta(hours=48),
        "ended_at": None if kind in {"open", "unmade"} else asked + timedelta(minutes=took),
        "reason": "so" if status == "FAILED" else None,
        "reason_code": {"failed": "too_late", "cancelled": "cancelled"}.get(kind),
        "rows": size % 1000 if has_file else None,
        "bytes": size if has_file else None,
        "sha256": "x" if has_file else None,
        "file": "f" if has_file else None,
    }


def count_most_open(records: list[dict[str, Any]], day: date) -> int:
    """The most reports that were open at one moment of a day: at its begin, or when one was asked for."""
    begin = datetime.combine(day, time(), UTC)
    lives: list[tuple[datetime, datetime | None]] = [
        (each["created_at"], each["ended_at"] or (each["expires_at"] if each["status"] == "EXPIRED" else None))
        for each in records
    ]
    moments = [begin, *(asked for asked, _ in lives if asked.date() == day)]
    return max(sum(asked <= at and (end is None or end >= at) for asked, end in lives) for at in moments)


def test_the_days_of_one_organization_are_found_by_their_index(state: State) -> None:
    """However many reports others have: the records of all are scanned for all alone, which is decided once."""
    if state.db.dialect.name != "sqlite":
        pytest.skip("its plan depends on how large the tables are")
    made: list[tuple[str, Any]] = []
    note = lambda *given: made.append((given[2], given[3]))  # noqa: E731 - its identity ends the listening
    event.listen(state.db, "before_cursor_execute", note)
    read_report_days(state.db, state.now, 1)
    event.remove(state.db, "before_cursor_execute", note)
    assert len(made) == 3
    with reading(state.db) as connection:
        for statement, values in made:
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert any(
                re.match(r"SEARCH reports USING INDEX ix_reports_organization_id_created_at", each) for each in plan
            )


def test_reports_are_shown_as_charts_and_as_a_table(visitors: Visitors, people: Api) -> None:
    """Four charts, and the same numbers in rows."""
    people.finished(b"day,views\n2026-01-01,3\n")
    text = visitors(OPERATOR).get(f"{PAGE}/reports").text
    assert text.count("<figure") == 4
    assert len(re.findall(r'<tr><th scope="row">', text)) == 28


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
