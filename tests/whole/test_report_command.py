"""`reelport report` as people and programs run it: forms of the data, events, refusals, terminals."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from tests.cases import thin_out
from tests.warm_service import Service

from reelport import Client, ReportQuery
from reelport.testing import Vendor

from .terminal import bare, on_terminal, piped, surroundings

START, END = date(2026, 1, 1), date(2026, 1, 7)
QUERY = ReportQuery.of(["VIEWS", "ESTIMATED_EARNINGS_EUR"], ["DAY", "VISITOR_COUNTRY"], START, END)
ASK = (
    "report", "run", "--metrics", "VIEWS,ESTIMATED_EARNINGS_EUR", "--dimensions", "DAY,VISITOR_COUNTRY",
    "--start", str(START), "--end", str(END),
)  # fmt: skip

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def here(sampled: Service) -> dict[str, str]:
    """The environment of a partner of a service with sample facts."""
    key = sampled.key("demo")
    return surroundings(sampled.url, key.id, key.secret)


@pytest.fixture(scope="module")
def rows(here: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows that the library gets."""
    url, key, secret = (here[f"REELPORT_{name}"] for name in ("URL", "API_KEY", "API_SECRET"))
    with Client(url, key, secret, ledger=False) as client:
        table = client.reports.run(QUERY, tmp_path_factory.mktemp("rows") / "report.csv").table()
    found = list(table.rows())
    assert len(found) > 100
    assert any(row["visitor_country"] is None or row["estimated_earnings_eur"] for row in found)
    return found


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"day": row["day"].isoformat()}


def test_csv_is_what_stdout_gets(here: dict[str, str], rows: Rows) -> None:
    """Without a form the data is the CSV; stderr has the rest, and says that the file is whole."""
    done = piped(here, *ASK)
    read = list(csv.DictReader(io.StringIO(done.out.decode())))
    assert done.status == 0
    assert [row["views"] for row in read] == [str(row["views"]) for row in rows]
    assert f"stdout: {len(rows):,} rows" in done.err
    assert "\x1b" not in done.err


def test_a_report_without_rows_says_what_explains_it(here: dict[str, str], tmp_path: Path) -> None:
    """Its filters, its days, or the data that the service has: on stderr, not where that is to be silent or JSON."""
    ask = ("report", "run", "--metrics", "VIEWS", "--dimensions", "DAY", "--start")
    filtered = (*ask, "2026-01-01", "--end", "2026-01-02", "--filter", "channelSlug=no one")
    done = piped(here, *filtered)
    assert (done.status, done.out) == (0, b"day,views\n")
    assert done.err.splitlines()[-1].startswith(
        "the report has no rows: no data for these metrics of 2026-01-01..2026-01-02 with --product CONTENT passes "
        "--filter 'channelSlug=no one' (a text may have to be spelled as in the data"
    )
    told = piped(here, *ask, "2020-01-01", "--end", "2020-01-01", "-o", str(tmp_path / "early.parquet")).err
    assert "the report has no rows: there is no data for these metrics of 2020-01-01 with" in told
    today = datetime.now(UTC).date()
    told = piped(here, *ask, str(today), "--end", str(today)).err
    assert re.search(f"no rows: .* for these metrics is complete up to 2026-[0-9-]+, and it asks for {today}\\n", told)
    assert (piped(here, *filtered, "--quiet").err, "has no rows" in piped(here, *filtered, "--json").err) == ("", False)


def test_json_and_ndjson_keep_every_digit(here: dict[str, str], rows: Rows) -> None:
    """Both hold the same rows, money as numbers with all their digits, days as texts, empty cells as null."""
    listed = piped(here, *ASK, "--format", "json", "-q")
    lines = piped(here, *ASK, "--format", "ndjson", "-q")
    assert (listed.err, lines.err) == ("", "")
    wanted = [as_json(row) for row in rows]
    assert json.loads(listed.out, parse_float=Decimal) == wanted
    assert [json.loads(line, parse_float=Decimal) for line in lines.out.splitlines()] == wanted


@pytest.mark.long
def test_parquet_goes_into_a_pipe_or_a_file(here: dict[str, str], rows: Rows, tmp_path: Path) -> None:
    """The file's name says the form; the same file comes out of a pipe."""
    done = piped(here, *ASK, "-o", str(tmp_path / "report.parquet"))
    assert done.status == 0
    # Neither the size nor the SHA-256 that is told is that of the file.
    assert re.search(r" kB as CSV; the downloaded CSV was checked by the service's SHA-256$", done.err.strip()), (
        done.err
    )
    told = json.loads(piped(here, *ASK, "-o", str(tmp_path / "again.parquet"), "--json").out.splitlines()[-1])
    assert told["form"] == "parquet"
    table = pq.read_table(tmp_path / "report.parquet")
    assert table.to_pylist() == rows
    beside = json.loads((tmp_path / "report.parquet.json").read_text())
    assert (beside["form"], beside["rows"], beside["query"]["metrics"]) == ("parquet", len(rows), list(QUERY.metrics))
    assert beside["sha256"] == sha256((tmp_path / "report.parquet").read_bytes()).hexdigest()
    assert beside["csv"]["sha256"] != beside["sha256"]
    assert str(table.schema.field("estimated_earnings_eur").type) == "decimal128(38, 6)"
    assert pq.read_table(io.BytesIO(piped(here, *ASK, "--format", "parquet").out)).equals(table)


def test_a_workbook_has_the_reports_cells(here: dict[str, str], rows: Rows, tmp_path: Path) -> None:
    """By the file's name or `--format`, with days as days and money to its last digit; the same file from a pipe."""
    assert piped(here, *ASK, "-o", str(tmp_path / "report.xlsx")).status == 0
    sheet = load_workbook(tmp_path / "report.xlsx")["report"]
    found = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert [cell.value for cell in sheet[1]] == list(rows[0])
    assert [[day.date(), country, views, Decimal(str(money))] for day, country, views, money in found] == [
        list(row.values()) for row in rows
    ]
    assert json.loads((tmp_path / "report.xlsx.json").read_text())["form"] == "xlsx"
    assert piped(here, *ASK, "--format", "xlsx").out == (tmp_path / "report.xlsx").read_bytes()
    status, drawn = on_terminal(here, *ASK, "--format", "xlsx")
    assert (status, "nothing for a terminal: give -o FILE" in drawn) == (2, True)


def test_a_terminal_gets_a_table_and_a_pipe_the_csv(here: dict[str, str], rows: Rows, tmp_path: Path) -> None:
    """Where nothing says which form is wished; a file and `--format csv` get the CSV on a terminal too."""
    status, drawn = on_terminal(here, *ASK, "-q")
    assert (status, bare(drawn)[-1]) == (0, f"The first 100 of {len(rows):,} rows; --format csv gives them all.")
    assert piped(here, *ASK, "-q").out.startswith(b"day,visitor_country,views,")
    for words in (("--format", "csv"), ("--excel-safe",)):
        assert bare(on_terminal(here, *ASK, "-q", *words)[1])[0].startswith("day,visitor_country,views,")
    assert on_terminal(here, *ASK, "-q", "-o", str(tmp_path / "report.csv"))[1] == ""
    assert (tmp_path / "report.csv").read_bytes() == piped(here, *ASK, "-q").out


@pytest.mark.parametrize("name", thin_out(["report.xls", "report.PQ2", "report.txt", "report.tar.gz"], 4))
def test_an_extension_that_is_no_form_is_refused(here: dict[str, str], tmp_path: Path, name: str) -> None:
    """Whichever it is, in whichever case, before anything is asked for; --format says what is meant."""
    done = piped(here, *ASK, "-o", str(tmp_path / name))
    assert (done.status, "--output: no report is written as ." in done.err, "asked" in done.err) == (2, True, False)
    assert piped(here, *ASK, "-o", str(tmp_path / name), "--format", "csv").status == (2 if "xls" in name else 0)
    for folder in (name, "windows.parquet", "windows.json"):
        assert piped(here, *ASK, "-o", str(tmp_path / folder), "--keep-windows").status == 2


@pytest.mark.parametrize("name", thin_out(["report.pq", "report.PARQUET", "report", "report.2026-01"], 2))
def test_an_extension_that_is_known_says_the_form(here: dict[str, str], tmp_path: Path, name: str) -> None:
    """.pq is Parquet as .parquet is, and what begins with a digit is no extension."""
    assert piped(here, *ASK, "-o", str(tmp_path / name)).status == 0
    assert (tmp_path / name).read_bytes()[:4] == (b"PAR1" if "p" in name.lower()[7:] else b"day,")


def test_a_table_is_for_eyes(here: dict[str, str], rows: Rows) -> None:
    """It fits 80 columns of a terminal, cuts no number, and says how many rows it leaves out."""
    status, drawn = on_terminal(here, *ASK, "--format", "table", "-q")
    lines = bare(drawn)
    assert status == 0
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1] == f"The first 100 of {len(rows):,} rows; --format csv gives them all."
    assert any(
        line.startswith("2026-01-01") and line.endswith(f"{rows[0]['estimated_earnings_eur']}") for line in lines
    )


def test_events_are_json_beside_the_data(here: dict[str, str], rows: Rows, tmp_path: Path) -> None:
    """On stderr while the data is on stdout, on stdout once that is free; the last line is the result."""
    beside = piped(here, *ASK, "--json")
    free = piped(here, *ASK, "--json", "-o", str(tmp_path / "report.csv"))
    assert (free.err, beside.out) == ("", (tmp_path / "report.csv").read_bytes())
    sidecar = json.loads((tmp_path / "report.csv.json").read_text())
    assert date.fromisoformat(sidecar["last_complete_day"]) >= END
    for text, file in ((beside.err, None), (free.out.decode(), str(tmp_path / "report.csv"))):
        events = [json.loads(line) for line in text.splitlines()]
        names = [event["event"] for event in events]
        assert names[-1] == "result"
        assert names.count("result") == 1
        assert {"asked", "looked", "received"} <= set(names)
        result = events[-1]
        assert (result["ok"], result["status"], result["rows"], result["file"]) == (True, 0, len(rows), file)
        assert result["last_complete_day"] == sidecar["last_complete_day"]
        assert (result["proof"], len(result["sha256"])) == ("checksum", 64)
        assert result["token"] == next(event["token"] for event in events if event["event"] == "asked")


def test_a_refusal_lists_every_problem_by_its_option_and_what_would_work(here: dict[str, str]) -> None:
    """Mistyped names, an impossible pair, a reversed range and an unknown product at once; the advice works."""
    words = ["--metrics", "VIEW", "--dimensions", "DAYS,VIDEO_TITEL", "--start", str(END), "--end", str(START)]
    done = piped(here, "report", "run", *words, "--product", "CONTENTS")
    said = done.err.splitlines()
    assert done.status == 5
    assert done.out == b""
    assert [line.split(":")[1].strip() for line in said[:-1]] == [
        "--metrics", "--dimensions", "--dimensions", "--end", "--product"
    ]  # fmt: skip
    assert all(f"Did you mean {name}?" in done.err for name in ("VIEWS", "DAY", "VIDEO_TITLE", "CONTENT"))
    advice = said[-1].partition("This would work: ")[2].split()
    assert advice[:4] == ["--metrics", "VIEWS", "--dimensions", "DAY,VIDEO_TITLE"]
    assert piped(here, "report", "submit", *advice).status == 0


def test_an_impossible_combination_gets_the_nearest_possible_one(here: dict[str, str]) -> None:
    """The pair that can't be is named, and a query that keeps as much as can be is offered; as JSON too."""
    words = ["--metrics", "LIVE_VIEWERS", "--dimensions", "DAY,PLAYER_SIZE", "--start", str(START), "--end", str(END)]
    done = piped(here, "report", "run", *words, "--json")
    (result,) = [json.loads(line) for line in done.err.splitlines() if '"result"' in line]
    assert done.status == result["status"] == 5
    assert (result["ok"], result["code"], result["problems"][0]["code"]) == (
        False,
        "query_refused",
        "incompatible_pair",
    )
    assert "LIVE_VIEWERS can't be split by PLAYER_SIZE" in result["error"]
    assert "This would work, without PLAYER_SIZE: --metrics LIVE_VIEWERS --dimensions DAY,PLAYER_ID" in result["error"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "parquet"), "nothing for a terminal"),
        (("--format", "xml"), "parquet"),
        (("--keep-windows",), "-o"),
        (("--chart", "views.gif"), ".png"),
    ],
)
def test_what_a_terminal_can_not_show_is_refused_first(here: dict[str, str], words: tuple[str, ...], says: str) -> None:
    """Status 2 and a sentence, before anything is asked for."""
    status, drawn = on_terminal(here, *ASK, *words)
    assert status == 2
    assert says in " ".join(bare(drawn))
    assert "asked" not in drawn


def test_a_chart_alone_is_what_a_terminal_shows(here: dict[str, str], tmp_path: Path) -> None:
    """On a terminal the chart stands for the data; into a file goes the data, and the chart is seen all the same."""
    words = [word.replace("DAY,", "") for word in ASK]
    status, drawn = on_terminal(here, *words, "--chart")
    lines = bare(drawn)
    assert status == 0
    assert any(line.startswith("US  █") for line in lines)
    assert not any("visitor_country," in line for line in lines)
    assert not any(line.startswith("stdout:") for line in lines)
    assert any(line.startswith("drawn, and not kept (-o FILE keeps the data): ") for line in lines)
    status, drawn = on_terminal(here, *words, "--chart", stdout=tmp_path / "report.csv")
    assert (tmp_path / "report.csv").read_text().startswith("visitor_country,views,")
    assert "Top 20 of 33: views by country" in drawn
    assert piped(here, *words, "-q", "--chart", str(tmp_path / "views.svg")).status == 0
    assert (tmp_path / "views.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("colour", thin_out([True, False], 2))
def test_no_color_is_obeyed(tmp_path: Path, *, colour: bool) -> None:
    """With NO_COLOR nothing on the terminal has a colour, and bars still move."""
    words = (*ASK, "--format", "table", "-o", str(tmp_path / "report.txt"))
    with Vendor(makes_in=3.0) as vendor:
        here = surroundings(vendor.url, vendor.key, vendor.secret)
        status, drawn = on_terminal(here if colour else here | {"NO_COLOR": "1"}, *words)
    assert (status, "\x1b[?25l" in drawn) == (0, True)
    assert any(f"\x1b[{code}m" in drawn for code in (32, 33)) is colour
    assert all(len(line) <= 80 for line in bare(drawn) if "report.txt:" not in line)
