"""What a load tells before it is made, and of days: previews, rows of days to come, days without rows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.service_commands.conftest import Run


def test_a_dry_run_shows_rows_and_reasons(tmp_path: Path, run: Run) -> None:
    """The first rows are shown in the table's columns, with what is wrong with them, and none is loaded."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,a\nc2,\n")
    status, out, _ = run("load", "channels", path, "--dry-run", "--json")
    assert status == 0
    rows = json.loads(out)["first_rows"]
    assert [(row["id"], row["problem"]) for row in rows] == [("c1", None), ("c2", "slug: is empty, and must not be")]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "content", "reasons"),
    [
        ("c.csv", b"id,slug\nc1\nc2,a,b\nc3,\xff\n", ["it has 1 field,", "it has 3 fields,", "it is not UTF-8"]),
        ("c.ndjson", b'{"id":"c1","slug":"a"}\n{"id":"c2","sl\n{"id":"c3","slag":"x"}\n', ["no JSON", "column 'slag'"]),
    ],
)
def test_a_dry_run_shows_lines_that_are_no_rows(
    tmp_path: Path, run: Run, name: str, content: bytes, reasons: list[str]
) -> None:
    """Each broken line is shown with its number and its reason, and they are counted: for people and for programs."""
    path = tmp_path / name
    path.write_bytes(content)
    _, out, _ = run("load", "channels", path, "--dry-run")
    assert f"{len(reasons)} lines can't be taken:" in out
    shown = [line for line in out.splitlines() if line.startswith(f"  {path} line ")]
    assert all(reason in line for reason, line in zip(reasons, shown, strict=True))
    told = json.loads(run("load", "channels", path, "--dry-run", "--json")[1])
    broken = [f"  {one['file']} line {one['line']}: {one['reason']}" for one in told["first_broken_lines"]]
    assert broken == shown
    assert told["rejects"] == len(reasons)


def test_a_dry_run_shows_the_first_of_many_broken_lines(tmp_path: Path, run: Run) -> None:
    """Ten are shown, and all that were met are counted."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\n" + "c1\n" * 50)
    out = run("load", "channels", path, "--dry-run")[1]
    assert "50 lines can't be taken; the first 10 of them:" in out
    assert out.count("it has 1 field, the header has 2") == 10 + 1  # the total names the first of them


def test_rows_of_days_to_come_are_told(tmp_path: Path, run: Run) -> None:
    """By the load and by its dry run; those of a clock that is a year ahead are rejected."""
    today = datetime.now(UTC).date()
    path = tmp_path / "e.csv"
    days = [today - timedelta(days=1), today + timedelta(days=1), today + timedelta(days=366)]
    path.write_text("day,owner_channel_id,eur,usd\n" + "".join(f"{day},c1,1,1\n" for day in days))
    told = "earnings: 1 row is of a day later than today (UTC): no report shows it until then"
    dry = run("load", "earnings", path, "--dry-run")[1]
    assert told in dry
    assert "is more than a day later than now" in dry
    out = run("load", "earnings", path)[1]
    assert told in out
    assert "1 row rejected, see " in out
    report = {one["table"]: one for one in json.loads(run("tables", "--json")[1])}
    assert report["earnings"]["complete_to"] == str(today - timedelta(days=1))


def test_days_without_rows_are_told(tmp_path: Path, run: Run) -> None:
    """Some of them by name, beside the table of tables."""
    path, start = tmp_path / "e.csv", date(2023, 6, 1)
    days = [start + timedelta(days=place) for place in range(55) if place not in {30, 31, 32, 33}]
    path.write_text("day,owner_channel_id,eur,usd\n" + "".join(f"{day},c1,1,1\n" for day in days))
    run("load", "earnings", path)
    status, out, err = run("tables")
    assert (status, "2023-06-30" in out) == (0, True)
    assert "earnings: no rows of 2023-07-01, 2023-07-02, 2023-07-03 and 1 more" in err


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            "earnings",
            "day,owner_channel_id,eur,usd\n2026-07-01,c1,1,1\n2026-07-02,x1,1,1\n2026-07-03,x1,1,1\n2026-07-03,x2,-,1\n",
        ),
        ("videos", "id,title,owner_channel_id\nv1,one,c1\nv2,two,x1\nv3,three,x1\n"),
    ],
)
def test_rows_that_nobody_may_read_are_told_before_the_load(tmp_path: Path, run: Run, table: str, text: str) -> None:
    """The dry run's note is the load's: rows of channels that no organization has, without those that are rejected."""
    path = tmp_path / "rows.csv"
    path.write_text(text)
    for words in (["org", "add", "acme"], ["channel", "add", "--org", "acme", "--id", "c1", "--slug", "one"]):
        assert run(*words)[0] == 0
    told = json.loads(run("load", table, path, "--dry-run", "--json")[1])["note"]
    assert told.startswith("2 rows of 1 owner channel that no organization may read ('x1')")
    assert f"{table}: {told}" in run("load", table, path, "--dry-run")[1]
    assert json.loads(run("load", table, path, "--json")[1])["note"] == told
