"""Both kinds of destination: a window is replaced, and nothing else; types, guard, drift."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.errors import RepeatedRows, SchemaDrift, ServiceError, StorageError, WindowEmptied
from reelport.sync import destinations
from reelport.sync.destinations import CURRENT, MANIFEST, VERSIONS, open_destination
from reelport.sync.spec import Contract, Days, Kind, Place, Spec

from .conftest import HEADER, day, kept, put, spec_at, types

FIRST = HEADER + '2026-01-01,NA,12,1.234567\n2026-01-02,"a,""b""\nc",3,\n2026-01-03,,0,0.000001\n'
ROWS = [
    (day(1), "NA", 12, Decimal("1.234567")),
    (day(2), 'a,"b"\nc', 3, None),
    (day(3), None, 0, Decimal("0.000001")),
]


def test_rows_keep_their_types_and_say_whence_they_came(spec: Spec) -> None:
    """NA stays a text, only an empty cell is null, money is decimal; each row knows its report."""
    assert put(spec, FIRST, 1, 3, report="rpr_1").rows == 3
    assert kept(spec) == ROWS
    assert types(spec)["estimated_earnings_eur"] == "DECIMAL(38,6)"
    rows = kept(spec, "_spec, _window_start, _window_end, _report_token, _loaded_at")
    assert {row[:4] for row in rows} == {("earned", day(1), day(3), "rpr_1")}
    assert all(isinstance(row[4], datetime) and abs(datetime.now(UTC) - row[4]).total_seconds() < 60 for row in rows)


def test_a_window_is_replaced_and_nothing_else(spec: Spec) -> None:
    """A vanished row and an emptied day vanish; days outside of the window stay."""
    put(spec, FIRST, 1, 3)
    done = put(spec, HEADER + "2026-01-02,FR,7,\n", 2, 4)
    assert (done.before, done.rows) == (2, 1)
    assert kept(spec) == [ROWS[0], (day(2), "FR", 7, None)]
    state = open_destination(spec.place).state(spec)
    assert state.present == Days.between(day(1), day(4))
    assert (state.service, state.has_meaning_of(spec)) == ("http://here", True)


def test_rows_that_repeat_a_key_are_refused_whatever_columns_come(spec: Spec) -> None:
    """A report with other columns than asked for is taken by name, and no row of it may count twice."""
    header = "visitor_country,views,day,more\n"
    with pytest.raises(RepeatedRows, match=r"FR,2026-01-01,x: .* Tell the service"):
        put(spec, f"{header}FR,1,2026-01-01,x\nDE,1,2026-01-01,x\nFR,2,2026-01-01,x\n", 1, 1)
    assert put(spec, f"{header},1,2026-01-01,x\n,2,2026-01-01,x\n", 1, 1).rows == 2, "an empty cell may be many things"


def test_the_same_window_twice_changes_nothing(spec: Spec) -> None:
    """Rows are never doubled."""
    put(spec, FIRST, 1, 3)
    put(spec, FIRST, 1, 3)
    assert kept(spec) == ROWS


def test_a_window_that_comes_back_empty_stops(spec: Spec) -> None:
    """Nothing is changed where rows are, until it is allowed; an empty window of new days is a fact like any other."""
    put(spec, HEADER, 1, 3)
    assert (kept(spec), open_destination(spec.place).state(spec).present) == ([], Days.between(day(1), day(3)))
    put(spec, FIRST, 1, 3)
    with pytest.raises(
        WindowEmptied, match=r"2026-01-02\.\.2026-01-05 came back empty, and the copy has 2 rows.*--allow-empty"
    ):
        put(spec, HEADER, 2, 5)
    assert kept(spec) == ROWS
    assert put(spec, HEADER, 2, 5, allow_empty=True).before == 2
    assert kept(spec) == ROWS[:1]
    with pytest.raises(WindowEmptied, match=r"the copy has 1 row there"):
        put(spec, HEADER, 1, 1)
    assert put(spec, HEADER, 1, 1, allow_empty=True).rows == 0
    assert list(types(spec)) == [
        *("_spec", "_window_start", "_window_end", "_report_token", "_loaded_at"),
        *("day", "visitor_country", "views", "estimated_earnings_eur"),
    ]


@pytest.mark.parametrize(
    ("rows", "error"),
    thin_out(
        [
            ("2026-01-04,FR,1,\n", ServiceError),
            (",FR,1,\n", SchemaDrift),
            ("yesterday,FR,1,\n", SchemaDrift),
            ("2026-01-01 05:00,FR,1,\n", SchemaDrift),
        ],
        4,
    ),
)
def test_a_row_that_has_no_place_in_the_window_is_refused(spec: Spec, rows: str, error: type[Exception]) -> None:
    """Another day, none, or something that is no day: nothing of the window is taken, by any contract."""
    for contract in Contract:
        with pytest.raises(error):
            put(replace(spec, contract=contract), HEADER + "2026-01-02,FR,1,\n" + rows, 1, 3)
    with open_destination(spec.place).view(spec) as view:
        assert view is None


@pytest.mark.parametrize(
    "header", ["visitor_country,views\nFR,1\n", "day,day,views\n2026-01-01,2026-01-01,1\n", "day,_spec\n"]
)
def test_columns_that_no_copy_can_have_are_refused(spec: Spec, header: str) -> None:
    """No day, one name twice, or a name of ours."""
    with pytest.raises(SchemaDrift):
        put(spec, header, 1, 3)


@pytest.mark.parametrize("text", ["", "\n", HEADER + "2026-01-01,FR\n", HEADER + "2026-01-01,FR,1,2,3\n"])
def test_what_is_no_report_is_refused(spec: Spec, text: str) -> None:
    """Nothing at all, or rows of another length than the header: the service's fault, and nothing is taken."""
    with pytest.raises(ServiceError):
        put(spec, text, 1, 3)


NEW = "day,visitor_country,views,estimated_earnings_eur,bots\n2026-01-02,FR,7,1,5\n2026-01-02,ES,8,1,\n"
ODD = HEADER + "2026-01-02,FR,7.25,1.00000005\n2026-01-02,ES,8,1\n"
WORD = HEADER + "2026-01-02,FR,many,1\n2026-01-02,ES,8,1\n"


def test_evolve_makes_room(spec: Spec) -> None:
    """A new column is added, finer numbers widen theirs, a word among numbers has a column of its own; all is said."""
    put(spec, FIRST, 1, 3)
    assert put(spec, NEW, 2, 3).notes == ("new column bots",)
    assert kept(spec, "day, visitor_country, views, bots")[1:] == [(day(2), "ES", 8, None), (day(2), "FR", 7, "5")]
    notes = put(spec, ODD, 2, 3).notes
    assert "1 values of views are no BIGINT, such as '7.25': it is DECIMAL(38,2) from now on" in notes
    assert kept(spec)[-1] == (day(2), "FR", Decimal("7.25"), Decimal("1.00000005"))
    assert kept(spec)[0] == (day(1), "NA", Decimal("12.00"), Decimal("1.234567"))
    assert "kept in views__text" in " ".join(put(spec, WORD, 2, 3).notes)
    assert kept(spec, "visitor_country, views, views__text")[1] == ("FR", None, "many")
    assert put(spec, HEADER + "2026-01-03,FR,1,1\n", 3, 3).notes == ()


LARGE = 2**63, 10**25 + 1, -(10**37) - 3


@pytest.mark.parametrize("contract", thin_out([Contract.EVOLVE, Contract.FREEZE, Contract.DISCARD_VALUE], 3))
def test_sums_beyond_64_bits_are_numbers(spec: Spec, contract: Contract) -> None:
    """Their column is DECIMAL(38,0) where the first window has one, and every digit is kept."""
    spec = replace(spec, contract=contract)
    for number, views in enumerate(LARGE, start=1):
        put(spec, f"{HEADER}2026-01-0{number},FR,{views},\n", number, number)
    assert types(spec)["views"] == "DECIMAL(38,0)"
    assert [views for (views,) in kept(spec, "views")] == [Decimal(views) for views in sorted(LARGE)]
    put(spec, f"{HEADER}2026-01-04,FR,1,\n", 4, 4)
    put(spec, f"{HEADER}2026-01-05,FR,{2**63},\n", 5, 5)
    assert "views__text" not in types(spec)


def test_a_number_that_no_column_has_room_for_is_kept_as_text(spec: Spec) -> None:
    """Its digits before and after the point are more than 38: nothing is rounded, and nothing else is lost."""
    put(spec, FIRST, 1, 3)
    put(spec, f"{HEADER}2026-01-04,FR,1,{10**33}.5\n2026-01-04,ES,{10**37}.25,1\n", 4, 4)
    assert kept(spec, "day, views, views__text, estimated_earnings_eur, estimated_earnings_eur__text")[-2:] == [
        (day(4), 1, None, None, f"{10**33}.5"),
        (day(4), None, f"{10**37}.25", 1, None),
    ]


@pytest.mark.parametrize("text", thin_out([NEW, ODD, WORD, "day,visitor_country,views\n2026-01-02,FR,1\n"], 4))
def test_freeze_stops_and_changes_nothing(spec: Spec, text: str) -> None:
    """A new column, a missing one, a value of another kind: the copy is as it was, even before there is one."""
    frozen = replace(spec, contract=Contract.FREEZE)
    with pytest.raises(SchemaDrift, match="freeze, and nothing was changed"):
        put(frozen, text, 2, 3)
    put(frozen, FIRST, 1, 3)
    with pytest.raises(SchemaDrift):
        put(frozen, text, 2, 3)
    assert kept(frozen) == ROWS


def test_discard_value_leaves_out_the_values(spec: Spec) -> None:
    """A new column isn't kept; a value of another kind is null."""
    spec = replace(spec, contract=Contract.DISCARD_VALUE)
    put(spec, FIRST, 1, 3)
    assert put(spec, NEW, 2, 3).notes == ("column bots is left out",)
    assert "left empty" in " ".join(put(spec, ODD, 2, 3).notes)
    assert kept(spec)[1:] == [(day(2), "ES", 8, Decimal(1)), (day(2), "FR", None, None)]
    assert "bots" not in types(spec)


def test_discard_row_leaves_out_the_rows(spec: Spec) -> None:
    """A row with a value in a new column, or with one of another kind, isn't kept; how many is said."""
    spec = replace(spec, contract=Contract.DISCARD_ROW)
    put(spec, FIRST, 1, 3)
    for text in (NEW, ODD, WORD):
        done = put(spec, text, 2, 3)
        assert (done.rows, done.notes[-1]) == (1, "1 row left out")
        assert kept(spec)[1:] == [(day(2), "ES", 8, Decimal(1))]


@pytest.mark.parametrize("contract", [Contract.EVOLVE, Contract.DISCARD_VALUE, Contract.DISCARD_ROW])
def test_a_missing_column_is_left_empty_and_said(spec: Spec, contract: Contract) -> None:
    """Unless the contract is to freeze."""
    spec = replace(spec, contract=contract)
    put(spec, FIRST, 1, 3)
    assert put(spec, "day,visitor_country,views\n2026-01-02,FR,1\n", 2, 3).notes == (
        "the report has no column estimated_earnings_eur: left empty",
    )
    assert kept(spec)[1:] == [(day(2), "FR", 1, None)]


def test_hours_and_months_are_placed_by_utc(spec: Spec) -> None:
    """The last hour of a day is of that day, wherever this machine stands; a month's rows go with its window."""
    hourly = replace(spec, name="hourly", metrics=("VIEWS",), dimensions=("HOUR",))
    rows = "".join(f"2026-01-{number:02}T{hour:02}:00:00Z,1\n" for number in (1, 2, 3) for hour in range(24))
    put(hourly, "hour,views\n" + rows, 1, 3)
    put(hourly, "hour,views\n2026-01-02T23:00:00Z,5\n", 2, 2)
    assert kept(hourly, "count(*), sum(views), count(*) FILTER (views = 5)") == [(49, 53, 1)]
    monthly = replace(spec, name="monthly", metrics=("VIEWS",), dimensions=("MONTH",))
    put(monthly, "month,views\n2026-01,5\n", 1, 31)
    assert put(monthly, "month,views\n2026-01,6\n", 1, 31).before == 1
    assert kept(monthly, "month, views") == [("2026-01", 6)]


def test_another_time_leaves_no_rows_of_the_old_one(spec: Spec) -> None:
    """A report by day that is asked for by month from now on, or back: the old rows go with the first window."""
    put(spec, FIRST, 1, 3)
    monthly = replace(spec, dimensions=("MONTH", "VISITOR_COUNTRY"))
    put(monthly, "month,visitor_country,views,estimated_earnings_eur\n2026-01,FR,15,1\n", 1, 31)
    assert kept(spec, "month, views") == [("2026-01", 15)]
    put(spec, HEADER + "2026-01-15,FR,1,\n", 15, 16)
    assert kept(spec, "day, month, views") == [(day(15), None, 1)]
    hourly = replace(spec, dimensions=("HOUR",), contract=Contract.DISCARD_VALUE)
    with pytest.raises(SchemaDrift, match="no column hour"):
        put(hourly, "hour,views,estimated_earnings_eur\n2026-01-01T00:00:00Z,1,1\n", 1, 3)


def test_another_meaning_leaves_no_rows_that_nothing_would_replace(spec: Spec) -> None:
    """What lies before a later start stays while it means the same; else it goes with the first window."""
    put(spec, FIRST, 1, 3)
    later = replace(spec, start=day(2))
    put(later, HEADER + "2026-01-03,FR,1,\n", 3, 3)
    assert kept(spec) == [*ROWS[:2], (day(3), "FR", 1, None)]
    other = replace(later, product="ALL")
    assert put(other, HEADER + "2026-01-03,FR,8,\n", 3, 3).before == 1
    assert kept(spec) == [ROWS[1], (day(3), "FR", 8, None)]


def test_names_of_columns_are_never_taken_for_sql(spec: Spec) -> None:
    """A column may be called anything: it is a name."""
    odd = 'x"; drop table earned; --'
    quoted = '"' + odd.replace('"', '""') + '"'
    put(spec, f"day,visitor_country,views,estimated_earnings_eur,{quoted}\n2026-01-02,FR,7,1,5\n", 1, 3)
    assert odd in types(spec)
    assert kept(spec) == [(day(2), "FR", 7, Decimal(1))]


def test_specs_of_one_destination_leave_each_other_alone(spec: Spec) -> None:
    """Each has its rows and its state."""
    other = replace(spec, name="other", metrics=("VIEWS",), dimensions=("DAY",))
    put(spec, FIRST, 1, 3)
    put(other, "day,views\n2026-01-01,1\n", 1, 1)
    put(other, "day,views\n2026-01-01,2\n", 1, 1)
    assert (kept(spec), kept(other, "day, views")) == (ROWS, [(day(1), 2)])
    assert open_destination(spec.place).state(spec).present == Days.between(day(1), day(3))


def test_a_version_that_was_removed_by_hand_is_told_with_the_way_out(tmp_path: Path) -> None:
    """What is to be deleted is named, and then the copy can be read anew."""
    place = Place(Kind.PARQUET, tmp_path / "copy")
    place.work_folder.mkdir()
    spec = spec_at(place)
    put(spec, HEADER + "2026-01-05,FR,3,0.5\n", 5, 5)
    shutil.rmtree(place.path / spec.name / "versions")
    current = place.path / spec.name / CURRENT
    with pytest.raises(StorageError, match=f"Delete {current}, and `reelport sync run`"):
        kept(spec)
    current.unlink()
    put(spec, HEADER + "2026-01-05,FR,4,0.5\n", 5, 5)
    assert kept(spec, "views") == [(4,)]


@pytest.fixture
def folder(tmp_path: Path) -> Spec:
    """A spec whose copy is a folder of Parquet files."""
    place = Place(Kind.PARQUET, tmp_path / "copy")
    place.work_folder.mkdir()
    return spec_at(place)


def find_files(spec: Spec) -> dict[str, int]:
    """The Parquet files of a copy's newest version, and the inode of each."""
    return {path.name: path.stat().st_ino for path in (spec.place.path / spec.name / CURRENT).glob("*.parquet")}


def test_days_outside_of_the_window_take_no_second_room(folder: Spec) -> None:
    """Their files are the same in both versions."""
    put(folder, FIRST, 1, 3)
    before = find_files(folder)
    put(folder, HEADER + "2026-01-02,FR,7,\n", 2, 2)
    after = find_files(folder)
    assert {name[:10] for name, _ in before.items() & after.items()} == {str(day(1)), str(day(3))}


def test_days_that_are_to_be_read_again_keep_their_rows(spec: Spec) -> None:
    """Only what is said of them changes."""
    put(spec, FIRST, 1, 3)
    open_destination(spec.place).unverify(spec, Days.between(day(2), day(3)))
    assert kept(spec) == ROWS
    state = open_destination(spec.place).state(spec)
    assert state.present == Days.between(day(1), day(3))
    assert not (state.verified & Days.between(day(2), day(3))).spans


def test_a_disk_without_links_has_copies_of_them(folder: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days outside of the window are copied, and `current` is a file that names the version."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    put(folder, FIRST, 1, 3)
    put(folder, HEADER + "2026-01-02,FR,7,\n", 2, 2)
    assert kept(folder) == [ROWS[0], (day(2), "FR", 7, None), ROWS[2]]
    home = folder.place.path / folder.name
    assert (home / (home / CURRENT).read_text("utf-8").strip() / MANIFEST).is_file()


def test_a_version_that_fails_leaves_nothing(folder: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops it after its rows are written, as Ctrl-C may: the copy is as before."""
    put(folder, FIRST, 1, 3)
    versions = folder.place.path / folder.name / VERSIONS
    before = sorted(versions.iterdir())

    def stop(step: str) -> None:
        if step == "sync-written":
            raise KeyboardInterrupt

    monkeypatch.setattr(destinations, "reach", stop)
    with pytest.raises(KeyboardInterrupt):
        put(folder, HEADER + "2026-01-02,FR,7,\n", 2, 2)
    assert sorted(versions.iterdir()) == before
    assert kept(folder) == ROWS


def test_a_version_stays_for_an_hour_after_it_was_replaced(folder: Spec) -> None:
    """For programs that still read it; then it makes room."""
    put(folder, FIRST, 1, 3)
    versions = folder.place.path / folder.name / VERSIONS
    (newest,) = versions.iterdir()
    oldest, older = versions / "20260101T000000-00000001", versions / "20260102T000000-00000002"
    for version in (oldest, older):
        shutil.copytree(newest, version)
    before = time.time() - 3700
    os.utime(older, (before, before))
    put(folder, FIRST, 1, 3)
    assert [version.exists() for version in (oldest, older, newest)] == [False, True, True]
