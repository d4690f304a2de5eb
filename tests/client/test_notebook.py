"""What a notebook shows: in a real kernel the progress of a call and its result; anywhere, only text of what came."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.manager import KernelManager
from tests.cases import thin_out

from reelport import Client, ReportQuery, Table
from reelport.client.events import Looked, WindowDone
from reelport.client.listener import Bar, make_listener, make_notebook_bar
from reelport.report_details import ReportDetails, State
from reelport.testing import Vendor

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 9))
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SCRIPT = '<script>alert("x")</script>'


class Seen(HTMLParser):
    """The tags and the text of a page, as a browser would have them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag, and that none of ours runs anything."""
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"style", "class", "border", "colspan"}

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.text += data


OURS = {"div", "table", "thead", "tbody", "tr", "th", "td", "bdi", "br", "small", "i", "p"}


class Kernel:
    """A notebook's kernel in a process of its own."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - the library's own class
        self._client = client

    def run(self, code: str) -> list[tuple[str, dict[str, str]]]:
        """What a cell shows: the kind of each message and its data. Each of them belongs to the cell."""
        messages: list[dict[str, Any]] = []
        reply = self._client.execute_interactive(code, output_hook=messages.append, timeout=300)
        assert reply["content"]["status"] == "ok", reply["content"]
        assert {message["parent_header"]["msg_id"] for message in messages} == {reply["parent_header"]["msg_id"]}
        return [(each["msg_type"], each["content"]["data"]) for each in messages if "data" in each["content"]]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel that knows nothing of the user's own settings and leaves nothing among them."""
    folder = tmp_path_factory.mktemp("kernel")
    manager = KernelManager(connection_file=str(folder / "kernel.json"))
    manager.start_kernel(env={**os.environ, "IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)})
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=300)
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def told(kernel: Kernel, vendor: Vendor) -> Kernel:
    """A kernel with a client, a query and a client for asyncio at hand."""
    kernel.run(
        "from datetime import date\n"
        "from reelport import AsyncClient, Client, ReportQuery\n"
        "query = ReportQuery.of(['VIEWS'], ['DAY'], date(2026, 11, 1), date(2026, 11, 9))\n"
        f"given = dict(url={vendor.url!r}, key={vendor.key!r}, secret={vendor.secret!r}, ledger=False)\n"
        "client = Client(**given)\n"
    )
    return kernel


@pytest.mark.parametrize(
    ("cell", "last"),
    thin_out(
        [
            ("client.reports.run(query)", "downloaded report "),
            ("client.with_options(windows=3).reports.run_range(query)", "merged 3 windows: 9 rows, "),
            (
                "async with AsyncClient(**given) as other:\n    table = await other.reports.run(query)\ntable",
                "downloaded report ",
            ),
        ],
        3,
    ),
)
def test_a_cell_shows_its_progress_and_its_table(told: Kernel, vendor: Vendor, cell: str, last: str) -> None:
    """One line that changes, by both clients and from their threads, full at the end; then the table as HTML."""
    (first, begun), *updates, (result, table) = told.run(cell)
    assert (first, result) == ("display_data", "execute_result")
    assert {kind for kind, _ in updates} == {"update_display_data"}
    assert "asked for report " in begun["text/plain"]
    assert updates[-1][1]["text/plain"].startswith(last)
    there, whole = re.findall(r'(?:value|max)="(\d+)"', updates[-1][1]["text/html"])
    assert there == whole
    assert "9 rows of 2 columns" in table["text/html"]
    assert not any(token in data["text/html"] for token in vendor.tokens for _, data in updates)


def test_a_cell_with_its_own_progress_shows_no_bar(told: Kernel) -> None:
    """Whoever listens, or wants silence, gets nothing beside it; warnings are Python's, with a bar or without."""
    assert told.run("done = client.reports.run(query, progress=lambda event: None)") == []
    assert told.run("report = client.reports.submit(query, progress=print).refresh(); None") == []


class Display:
    """What IPython would show, one after another."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, data: dict[str, str], **_: object) -> Display:
        """Keep it."""
        self.shown.append(data)
        return self

    update = display


def test_a_bar_never_goes_back() -> None:
    """Windows end in several threads: the last but one may be told after the last."""
    display = Display()
    bar = Bar(display)
    for done in (1, 3, 2):
        bar(WindowDone(date(2026, 1, done), date(2026, 1, done), 90, done, 3))
    said = [data["text/plain"].partition(": here, 90 bytes; ")[2] for data in display.shown]
    assert said == ["1 of 3 windows", "3 of 3 windows", "3 of 3 windows"]


def test_a_bar_fills_by_the_services_estimate() -> None:
    """Of a report that has taken 100 s and takes about as long again; without an estimate it is empty."""
    display = Display()
    bar = Bar(display)
    ready = datetime.now(UTC) + timedelta(seconds=100)
    bar(Looked("R-1", "IN_PROGRESS", 100.0, 0.0, ReportDetails("R-1", State.RUNNING, rows=5, ready_at=ready)))
    bar(Looked("R-1", "IN_PROGRESS", 100.0, 0.0, ReportDetails("R-1", State.RUNNING, rows=5)))
    (share, estimated), (empty, running) = ((data["text/html"], data["text/plain"]) for data in display.shown)
    there, whole = map(int, re.findall(r'(?:value|max)="(\d+)"', share))
    assert (there, whole > there) == (100, True)
    assert re.fullmatch(
        r"waiting for report R…: IN_PROGRESS after 100\.0 s: running, 5 rows, ready in about \d+ s", estimated
    )
    assert ('value="0"' in empty, running) == (
        True,
        "waiting for report R…: IN_PROGRESS after 100.0 s: running, 5 rows",
    )


def test_there_is_no_bar_outside_of_a_notebook(client: Client) -> None:
    """Where no kernel runs nothing is shown, though IPython's parts are loaded."""
    assert make_notebook_bar() is None
    assert make_listener(client.session) is not None


def table_of(folder: Path, *titles: str) -> Table:
    path = folder / "report.csv"
    quoted = ['"' + title.replace('"', '""') + '"' for title in titles]
    path.write_text("day,video_title,views\n" + "".join(f"2026-01-01,{title},5\n" for title in quoted), "utf-8")
    return Table.of(path)


@given(
    titles=st.lists(
        st.sampled_from([SCRIPT, "<", ">", "&lt;", '"', "'", "-->", "</td>", "a", "\n"]) | st.text(), max_size=4
    )
)
def test_what_a_vendor_writes_is_text(tmp_path_factory: pytest.TempPathFactory, titles: list[str]) -> None:
    """A title marks nothing up, whatever it is made of: the tags are ours alone, and it is read as it is written."""
    titles = [STEERING.sub("", title.encode("utf-8", "ignore").decode()) for title in titles]
    seen = Seen(table_of(tmp_path_factory.mktemp("t"), *titles)._repr_html_())
    assert set(seen.tags) <= OURS
    assert all(title[:200] in seen.text for title in titles)


def test_no_text_turns_its_writing_around(tmp_path: Path) -> None:
    """A name that would read as another one shows that something is in it; right-to-left writing stays as it is."""
    seen = Seen(table_of(tmp_path, "\u202egnp.exe", "\x1b[2J", "أخبار")._repr_html_())
    for text in ("\ufffdgnp.exe", "\ufffd[2J", "أخبار"):
        assert text in seen.text


def test_names_are_text_too(tmp_path: Path) -> None:
    """A column's name is a vendor's as well."""
    path = tmp_path / "report.csv"
    path.write_text(f"day,{SCRIPT.lower().replace(chr(34), '')},views\n2026-01-01,a,5\n")
    seen = Seen(Table.of(path)._repr_html_())
    assert set(seen.tags) <= OURS
    assert "<script>alert(" in seen.text


def test_a_table_shows_some_rows_and_counts_all(tmp_path: Path) -> None:
    """Twenty rows at most, each text cut short; how many there are is said."""
    seen = Seen(table_of(tmp_path, *["t" * 5000] * 1409)._repr_html_())
    assert seen.tags.count("tr") == 21
    assert "1,409 rows of 3 columns, the first 20 shown" in seen.text
    assert "t" * 200 + "…" in seen.text
    assert "t" * 201 not in seen.text
    assert "1 row of 3 columns" in Seen(table_of(tmp_path, "a")._repr_html_()).text


def test_a_table_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """In the place of its rows, and without a traceback."""
    table = table_of(tmp_path, "a")
    table.path.write_text("day,video_title,views\n2026-01-01,<b>,five\n")
    seen = Seen(table._repr_html_())
    assert "Row 1, column views" in seen.text
    assert set(seen.tags) <= OURS
    table.path.unlink()
    assert "report.csv" in Seen(table._repr_html_()).text


ROWS = st.lists(
    st.sampled_from(["a,1\n", '"b\n\n""c",2\n', ",\n", "\n", '"",\n', "d,4\r\n", "\r\n", '"\r\n",5\n']), max_size=9
)


@given(rows=ROWS, last=st.sampled_from(["", "z,9", "z,"]))
def test_a_table_is_as_long_as_it_has_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], last: str
) -> None:
    """Line ends in cells, blank lines and a last row without an end are counted as they are read."""
    path = tmp_path_factory.mktemp("t") / "report.csv"
    path.write_bytes(("video_title,views\n" + "".join(rows) + last).encode())
    table = Table.of(path)
    assert len(table) == len(list(table.tuples()))


@given(rows=st.lists(st.sampled_from(["a\n", "\n", '"\n\n"\n', '""\n', "\r\n"]), max_size=9))
def test_a_table_of_one_column_is_as_long_as_it_has_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str]
) -> None:
    """A blank line is a row there."""
    path = tmp_path_factory.mktemp("t") / "report.csv"
    path.write_bytes(("video_title\n" + "".join(rows)).encode())
    table = Table.of(path)
    assert len(table) == len(list(table.tuples()))
