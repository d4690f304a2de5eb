"""Links to files: expired, redirected, several for one report, or none at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.conftest import REPORT, SECRET, Fetch, Server, answer, fetch
from tests.client.downloads import CSV, left_in, packed, serve

from reelport import Client, ReportQuery
from reelport.errors import ServiceError, Unreachable


def test_an_expired_link_is_looked_up_again(server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch) -> None:
    """A link that isn't good any more costs one look, which brings a fresh one."""
    server.looks(("FINISHED", [f"{server.url}/old"]), ("FINISHED", [f"{server.url}/new"]))
    server.answers["/old"] = [answer("gone", status="403 Forbidden")]
    server.answers["/new"] = [answer(CSV)]
    assert fetcher(server, tmp_path / "views.csv", query).path.read_text(encoding="utf-8") == CSV
    assert server.paths() == ["/oauth/v1/token", "/graphql", "/old", "/graphql", "/new"]


def test_a_redirect_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A link may lead on to where the file lies, and no credentials go with it."""
    serve(server, answer("", status="302 Found", location=f"{server.url}/bucket"))
    server.answers["/bucket"] = [answer(CSV)]
    fetch(server, tmp_path / "views.csv", query)
    assert b"authorization" not in dict(server.requests)["/bucket"].lower()


def test_a_link_that_is_none_is_an_error_without_the_link(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """An address that isn't http is refused, and a signed one isn't repeated."""
    server.looks(("FINISHED", ["file:///etc/passwd?signature=s1gn3d"]))
    with pytest.raises(Unreachable) as caught:
        fetch(server, tmp_path / "views.csv", query)
    assert "s1gn3d" not in str(caught.value)


def test_several_links_become_one_file_with_one_header(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch
) -> None:
    """Each file brings its header; the report has it once. A missing last line end joins no two rows."""
    server.looks(("FINISHED", [f"{server.url}/{part}" for part in "abc"]))
    server.answers["/a"] = [answer("day,video_title,views\n2026-11-01,One,1")]
    server.answers["/b"] = [answer("day,video_title,views\n", etag=f'"{"0" * 63}"')]
    server.answers["/c"] = [answer(packed("day,video_title,views\n2026-11-02,Two,2\n"))]
    done = fetcher(server, tmp_path / "views.csv", query)
    assert done.path.read_text() == "day,video_title,views\n2026-11-01,One,1\n2026-11-02,Two,2\n"
    assert done.rows == 2


def test_links_that_only_their_queries_tell_apart_begin_anew_together(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch
) -> None:
    """Fresh links may come in another order: what can't be told apart is fetched again, so that no row comes twice."""
    old, new = ([f"{server.url}/file?part={part}&age={age}" for part in parts] for age, parts in ((1, "ab"), (2, "ba")))
    server.looks(("FINISHED", old), ("FINISHED", new))
    for part, title in (("a", "One"), ("b", "Two")):
        for age in (1, 2):
            server.answers[f"/file?part={part}&age={age}"] = [answer(f"day,video_title,views\n2026-11-01,{title},1\n")]
    server.answers["/file?part=b&age=1"] = [answer("", status="403 Forbidden")]
    done = fetcher(server, tmp_path / "views.csv", query)
    assert done.path.read_text() == "day,video_title,views\n2026-11-01,Two,1\n2026-11-01,One,1\n"


def test_files_with_different_headers_are_not_put_together(server: Server, tmp_path: Path) -> None:
    """Columns that differ between two files of a report are an error, with or without a query."""
    server.looks(("FINISHED", [f"{server.url}/a", f"{server.url}/b"]))
    server.answers["/a"] = [answer("day,views\n2026-11-01,1\n")]
    server.answers["/b"] = [answer("views,day\n1,2026-11-01\n")]
    with (
        Client(server.url, "key-1", SECRET, sleep=lambda _: None) as client,
        pytest.raises(ServiceError, match="headers"),
    ):
        client.reports.attach(REPORT).download(tmp_path / "views.csv")
    assert left_in(tmp_path) == []
