"""Columns whose texts are of a list: what is refused, what a lenient load keeps, and what stands already."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out

from reelport.errors import BadInput
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.loading.verification import verify
from reelport.facts.tables import COUNTRIES, TABLES

Ask = Callable[..., list[tuple[object, ...]]]
HEADER = (
    "started_at,video_id,owner_channel_id,media_type,visitor_country,visitor_device_type,views,time_watched_seconds\n"
)
NO_COUNTRY = "is no country code of ISO 3166-1 alpha-2, in capitals"
NO_DEVICE = "is none of: mobile, desktop, tablet, tv"


@pytest.fixture
def played(tmp_path: Path) -> Callable[..., Path]:
    """A CSV file of plays: each row is (media type, country, device)."""

    def write(*rows: tuple[str, str, str]) -> Path:
        path = tmp_path / "plays.csv"
        lines = (f"2026-01-0{1 + at % 9},v1,c1,{','.join(row)},1,1\n" for at, row in enumerate(rows))
        path.write_text(HEADER + "".join(lines))
        return path

    return write


def _reasons(path: Path | None) -> str:
    return path.read_text() if path is not None else ""


def test_the_countries_are_those_of_the_standard_and_kosovo() -> None:
    """249 codes are assigned; XK is the one more, and each stands once, in order."""
    assert len(COUNTRIES) == 250
    assert list(COUNTRIES) == sorted(set(COUNTRIES))
    assert {"FR", "XK", "BQ", "SS", "GB", "NA"} <= set(COUNTRIES)
    assert not {"AN", "CS", "EU", "UK", "ZZ", "XX", "A1", "T1", "AP"} & set(COUNTRIES)


@pytest.mark.parametrize(
    "country", thin_out(["fr", "FRA", "France", "ZZ", "XX", "A1", "EU", "UK", "AN", " FR", "-"], 6, nightly=True)
)
def test_a_country_that_is_no_code_is_rejected(root: Path, played: Callable[..., Path], country: str) -> None:
    """Codes in small letters, of other standards, withdrawn, reserved and made up ones are refused with the reason."""
    done = load(root, "plays", [played(("video", "FR", "tv"), ("video", country, "tv"))])
    assert (done.rows, done.rejects) == (1, 1)
    assert f"visitor_country: '{country}' {NO_COUNTRY}" in _reasons(done.rejects_file)


@pytest.mark.parametrize("device", thin_out(["Mobile", "phone", "game console", "mobile "], 4, nightly=True))
def test_a_device_that_is_none_of_the_four_is_rejected(root: Path, played: Callable[..., Path], device: str) -> None:
    """The four kinds are in small letters, and there is no fifth."""
    done = load(root, "plays", [played(("video", "FR", "tv"), ("video", "FR", device))])
    assert (done.rows, done.rejects) == (1, 1)
    assert f"visitor_device_type: '{device}' {NO_DEVICE}" in _reasons(done.rejects_file)


def test_every_code_and_no_code_at_all_are_taken(root: Path, played: Callable[..., Path], ask: Ask) -> None:
    """Each code of the list lands, Kosovo's too, and an empty cell is a country that isn't known."""
    done = load(root, "plays", [played(*(("video", country, "") for country in ("", *COUNTRIES)))])
    assert (done.rows, done.rejects) == (251, 0)
    assert ask("plays", "SELECT count(DISTINCT visitor_country), count(visitor_country) FROM t") == [(250, 250)]


def test_a_lenient_load_keeps_what_no_number_depends_on_and_counts_it(
    root: Path, played: Callable[..., Path], ask: Ask
) -> None:
    """Countries and devices land as they are and are told; a kind of media decides what counts, and is refused."""
    rows = ("video", "ZZ", "tv"), ("video", "ZZ", "console"), ("video", "FR", "tv"), ("clip", "ZZ", "tv")
    done = load(root, "plays", [played(*rows)], lenient=True)
    assert (done.rows, done.rejects) == (3, 1)
    assert {(one.reason, one.rows) for one in done.outside} == {
        (f"visitor_country: {NO_COUNTRY}", 2),
        (f"visitor_device_type: {NO_DEVICE}", 1),
    }
    assert "media_type: 'clip' is none of: video, live" in _reasons(done.rejects_file)
    assert ask("plays", "SELECT visitor_country FROM t ORDER BY 1") == [("FR",), ("ZZ",), ("ZZ",)]


def test_what_a_lenient_load_keeps_refuses_no_batch(root: Path, played: Callable[..., Path]) -> None:
    """A strict load, and a replacement, take no bad rows: those that are kept are none."""
    path = played(("video", "ZZ", "tv"))
    span = date(2026, 1, 1), date(2026, 1, 1)
    with pytest.raises(BadInput, match="1 of 1 row can't be taken"):
        load(root, "plays", [path], replace=span)
    assert load(root, "plays", [path], replace=span, strict=True, lenient=True).rows == 1


def test_lists_hold_for_arrow_rows_too(root: Path) -> None:
    """Rows of a program are judged like those of a file; a lenient load of theirs keeps the same."""
    row = {"day": date(2026, 1, 1), "owner_channel_id": "c1", "visitor_country": "zz", "eur": 1, "usd": 1}
    with pytest.raises(BadInput, match=NO_COUNTRY):
        load_arrow(root, "earnings", pa.Table.from_pylist([row]), "one")
    assert load_arrow(root, "earnings", pa.Table.from_pylist([row]), "one", lenient=True).rows == 1


def test_what_stands_is_not_judged_again(root: Path, played: Callable[..., Path], ask: Ask) -> None:
    """Tables may hold other texts from before: they are compacted, verified, read and undone as they are."""
    done = load(root, "plays", [played(*[("video", "zz", "console")] * 9)], lenient=True)
    assert [one.rows for one in compact(root, today=date(2026, 6, 1))] == [9]
    assert not any(one.findings for one in verify(root))
    assert ask("plays", "SELECT DISTINCT visitor_country FROM t") == [("zz",)]
    assert undo(root, done.batch).removed == 9


def test_only_lists_that_decide_no_number_may_be_left() -> None:
    """Which lists a lenient load holds on to is declared with the columns."""
    kept = {column.name for table in TABLES.values() for column in table.columns if column.choices and column.decisive}
    assert kept == {"media_type", "monetization_type", "kind"}
