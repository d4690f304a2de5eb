"""A log's files: made where the table lies, found from their end, and refused if they can't be read."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from deltalake.exceptions import DeltaError
from tests.facts.conftest import remote_tables
from tests.facts.log.small_log import SmallLog, load_days
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import NewerData, StorageError, StoreUnavailable
from reelport.facts.loading.verification import verify
from reelport.facts.log.delta_log import list_files_at, translate_delta_errors
from reelport.facts.log.log_files import HINT, LOG_FOLDER, attach_tables, commit_name, open_store
from reelport.facts.log.snapshot import newest_version, pin
from reelport.facts.tables import EARNINGS, PLAYS
from reelport.storage.retries import retry_for


def test_a_long_log_in_an_object_store_is_listed_from_its_end(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A request lists a thousand names: a log of any length takes one for its newest version."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    load_days(tmp_path / "other", EARNINGS, "a", (1,))
    store, commit = open_store(root / "earnings"), SmallLog(tmp_path / "other" / "earnings").path(1).read_bytes()
    store.put(HINT, b'{"version": 2000}')
    for newest, starts in [(2_000, [2_000]), (2_000, [2_000]), (2_001, [2_000]), (2_001, [2_001])]:
        store.put(commit_name(newest), commit)
        faulty_server.seen.clear()
        assert newest_version(root, "earnings") == newest
        assert _list_starts(faulty_server) == starts
    store.delete(commit_name(2_001))
    assert newest_version(root, "earnings") == 2_000


def _list_starts(server: FaultyProxy) -> list[int]:
    """The versions from which listings of the log were asked for."""
    asked = [parse_qs(urlsplit(path).query) for _, path, _ in server.seen if "list-type=2" in path]
    return [int(query.get("start-after", ["/0"])[0].rpartition("/")[2]) for query in asked]


def test_a_store_that_is_away_is_told_as_such(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A pin that meets it fails by what passes: the report waits for the store."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    load_days(root, EARNINGS, "a", (1,))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    with retry_for(0), pytest.raises(StoreUnavailable):
        pin(root, ["earnings"], {"earnings": 1})


def test_a_text_with_another_end_of_line_breaks_no_commit(tmp_path: Path) -> None:
    """JSON doesn't escape U+2028, which Python takes for an end of a line: `verify` finds nothing wrong."""
    load_days(tmp_path, EARNINGS, "one\u2028two", (1,))
    assert "one\u2028two" in SmallLog(tmp_path / "earnings").path(1).read_text("utf-8")
    assert [one.findings for one in verify(tmp_path)] == [()]
    assert len(list_files_at(tmp_path / "earnings", EARNINGS, 1)) == 1


def test_a_protocol_of_tomorrow_is_refused_by_name(log: SmallLog) -> None:
    """With what it asks for, and what this version knows."""
    log.change_first("protocol", minReaderVersion=2)
    with pytest.raises(NewerData, match="reader 2 and writer 2; this version knows 1 and 2"):
        list_files_at(log.folder, PLAYS, 3)


def test_a_version_that_is_gone_is_refused(log: SmallLog, tmp_path: Path) -> None:
    """One that never was, one before what is left of the log, and one of no table at all."""
    log.clean()
    for folder, version in ((log.folder, 4), (log.folder, 1), (tmp_path / "nothing", 0)):
        with pytest.raises(StorageError):
            list_files_at(folder, PLAYS, version)


@pytest.mark.usefixtures("object_server")
def test_a_table_in_an_object_store_leaves_no_log_on_this_machine(tmp_path: Path) -> None:
    """Whoever reads the folder would take it for the table."""
    here, there = tmp_path / "here" / "facts", tmp_path / "there" / "facts"
    attach_tables(there, remote_tables(there))
    for root in here, there:
        load_days(root, EARNINGS, "a", [1])
    assert (here / EARNINGS.name / LOG_FOLDER).is_dir()
    assert not (there / EARNINGS.name).exists()


@pytest.mark.parametrize(("said", "told"), [("x" * 120, "x" * 120), ("x" * 121, "x" * 120 + "…"), ("no\ndump", "no")])
def test_the_first_line_of_a_message_is_told_and_cut_where_it_is_long(tmp_path: Path, said: str, told: str) -> None:
    """The library goes on with dumps of its own structures."""
    sentence = re.escape(f"plays: {told}; run reelport verify")
    with pytest.raises(StorageError, match=f"{sentence}$"), translate_delta_errors(tmp_path / "plays"):
        raise DeltaError(said)
