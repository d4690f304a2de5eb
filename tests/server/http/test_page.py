"""The reference page of the wire says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb

from reelport.engine.report_format import CSV
from reelport.server.api_memory import BODIES_BYTES
from reelport.server.app import KEY_GRANTS
from reelport.server.graphql.faults import TYPES
from reelport.server.http.connections import Connection
from reelport.server.http.downloads import RECHECK_SECONDS
from reelport.server.http.long_poll import MOST_POLLS
from reelport.server.http.request_log import HEALTH_PATH, LIVE_PATH, METRICS_PATH
from reelport.server.limits import document_limits
from reelport.server.limits.concurrency import MAX_CONCURRENT
from reelport.server.limits.download_slots import LEAST_RATE, PARTNER_DOWNLOADS, REPORT_DOWNLOADS
from reelport.server.settings import Settings
from reelport.wire import FILES_PATH, GRAPHQL_PATH, TOKEN_PATH

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "http.md").read_text("utf-8")

SETTINGS: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
BOUNDS = {
    "time until a request is complete": Connection.request_seconds,
    "time for a client to read 64 kB of its answer": Connection.stalled_seconds,
    "connections": Connection.max_connections,
    "bytes of answers that clients have not read yet": Connection.unsent_bytes,
    "downloads of one report": REPORT_DOWNLOADS,
    "downloads of one partner": PARTNER_DOWNLOADS,
    "bytes of a partner's request bodies that have no answer yet": BODIES_BYTES // 4,
    "bytes of all partners' request bodies that have no answer yet": BODIES_BYTES,
    "waiting status queries of one partner": MOST_POLLS // 2,
    "`reports`: waiting reports of one partner": SETTINGS["waiting_limit"],
    "`documents`: running requests of one partner": MAX_CONCURRENT,
    "tokens of one key, at each of the two paths": KEY_GRANTS,
}


def test_every_path_is_on_the_page() -> None:
    """A path that is served is explained."""
    for path in (TOKEN_PATH, GRAPHQL_PATH, FILES_PATH, HEALTH_PATH, LIVE_PATH, METRICS_PATH):
        assert f"`{path}" in PAGE


def test_the_csv_on_the_page_is_as_the_engine_writes_it(tmp_path: Path) -> None:
    """Read, put in the order that it tells of, and written by the engine's format: the same bytes."""
    (shown,) = re.findall(r"^```csv\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    page, written = tmp_path / "page.csv", tmp_path / "written.csv"
    page.write_text(shown, "utf-8")
    rows = f"SELECT * FROM read_csv('{page}', all_varchar = true) ORDER BY ALL NULLS LAST"
    duckdb.execute(f"COPY ({rows}) TO '{written}' ({CSV.copy_options(is_first=True)})")
    assert written.read_bytes() == shown.encode()


def test_every_type_of_error_is_on_the_page() -> None:
    """In the row that lists them."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `type`"))
    assert {word for word in row.split("`") if word in TYPES} == set(TYPES)


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    """Settings by their defaults, the others by their constants."""
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in PAGE.splitlines() if line.startswith("| ")
    }
    default, most = SETTINGS, document_limits.DocumentLimits()
    assert rows["body"] == f"{document_limits.BODY_BYTES:,} bytes, else 413"
    assert rows["tokens of a document"] == f"{most.tokens:,}"
    assert rows["nested levels"] == str(most.depth)
    aliases = f"{most.aliases}; {document_limits.MAX_INTROSPECTION_ALIASES} if the schema is requested"
    assert rows["aliases"] == aliases
    assert rows["fields"] == f"{document_limits.MAX_FIELDS:,}"
    assert rows["the same field under the same name"] == str(document_limits.MAX_REPEATS)
    sizes = f"{document_limits.MAX_CHARACTERS:,}, {document_limits.MAX_LINES:,}, {document_limits.MAX_COMMENTS}"
    assert rows["characters, lines, comments of a document"] == sizes
    assert (
        rows["operations and fragments; uses of fragments"]
        == f"{document_limits.MAX_DEFINITIONS}; {document_limits.MAX_FRAGMENT_SPREADS}"
    )
    assert (
        rows["items of a list, characters of a text"]
        == f"{document_limits.MAX_LIST_ITEMS}, {document_limits.MAX_TEXT_LENGTH:,}"
    )
    assert (
        f"({default['link_seconds'] // 60} minutes" in PAGE
        or f"valid for {default['link_seconds'] // 60} minutes" in PAGE
    )
    assert f"up to {document_limits.MAX_LISTED}" in PAGE
    assert f"`look_seconds` ({default['look_seconds']})" in PAGE
    assert f"can have {MOST_POLLS} waiting queries" in PAGE
    assert f"ends within about {RECHECK_SECONDS:.0f} seconds" in PAGE


def test_the_page_tells_what_a_caller_may_take() -> None:
    """Each bound by its number; of a setting, the one that holds where nobody sets it."""
    table = PAGE.partition("## What a caller may take")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    told = {row[1].strip(): found[0] for row in rows if (found := re.findall(r"\d[\d,]*", row[2]))}
    assert {name: float(told[name].replace(",", "")) for name in BOUNDS} == BOUNDS
    assert f"below {LEAST_RATE:,.0f} bytes a second, measured over two to four minutes" in table
    named = {name for row in rows for name in re.findall(r"setting `(\w+)`", row[3])}
    assert named == {"waiting_limit"}
