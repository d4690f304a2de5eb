"""What is true of an object store alone: what becomes of its faults, its links, and where it isn't there."""

from __future__ import annotations

import os
import signal
import subprocess
import traceback
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cases import thin_out
from tests.patience import PATIENCE, child, until
from tests.storage.object_server import Fault, FaultyProxy
from tests.storage.stores import open_bucket

from reelport.errors import StorageError, StoreUnavailable
from reelport.storage import object_store, retries
from reelport.storage.file_store import read_file
from reelport.storage.s3_address import S3Address

PARTS = os.urandom(9_000_000)
"""More than one part of an upload."""
UPLOAD_FAULTS = [Fault.SLOW_DOWN, Fault.RESET, Fault.LOST, Fault.HALF_SENT]
DOWNLOAD_FAULTS = [Fault.SLOW_DOWN, Fault.RESET, Fault.HALF]


@pytest.mark.parametrize("fault", thin_out(UPLOAD_FAULTS, 3))
def test_an_upload_goes_on_after_a_fault(faulty_server: FaultyProxy, tmp_path: Path, fault: Fault) -> None:
    """Whichever part of it was met; the file is then whole, and the draft gone."""
    store = open_bucket(tmp_path)
    draft = store.prepare_draft("one.part")
    draft.write_bytes(PARTS)
    faulty_server.fail(fault, times=2, method="PUT")
    store.put_draft(draft, "one.csv")
    assert faulty_server.count(fault) == 2
    assert (read_file(store, "one.csv") == PARTS, list(store.list_names())) == (True, ["one.csv"])


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HALF])
def test_an_upload_is_whole_when_the_answer_to_its_last_step_is_lost(
    faulty_server: FaultyProxy, tmp_path: Path, fault: Fault
) -> None:
    """The step is sent again, for an upload that the store has completed and knows no longer."""
    store = open_bucket(tmp_path)
    draft = store.prepare_draft("one.part")
    draft.write_bytes(PARTS)
    faulty_server.fail(fault, times=1, method="POST", part="uploadId")
    store.put_draft(draft, "one.csv")
    assert faulty_server.count(fault) == 1
    assert (read_file(store, "one.csv") == PARTS, list(store.list_names())) == (True, ["one.csv"])


def test_an_upload_that_fails_leaves_no_file_and_can_be_begun_anew(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Its last step fails, after every part was taken: nothing of them is seen."""
    store = replace(open_bucket(tmp_path), retry_seconds=0.2)
    draft = store.prepare_draft("one.part")
    draft.write_bytes(PARTS)
    faulty_server.choose = lambda method, path: Fault.RESET if method == "POST" and "uploadId" in path else None
    with pytest.raises(StorageError, match="the object store fails"):
        store.put_draft(draft, "one.csv")
    assert list(store.list_names()) == ["one.part"]
    faulty_server.choose = lambda _method, _path: None
    store.put_draft(draft, "one.csv")
    assert read_file(store, "one.csv") == PARTS


def test_a_draft_that_is_uploaded_already_is_listed_once(object_server: str, tmp_path: Path) -> None:
    """As a load leaves it that is killed before its copy is kept; with others, and in its folder alone."""
    assert object_server
    store = open_bucket(tmp_path)
    for name in ("month=1/one", "month=1/two"):
        store.prepare_draft(name).write_bytes(b"x")
    store.put("month=1/one", b"x")
    store.put("three", b"x")
    assert sorted(store.list_names()) == ["month=1/one", "month=1/two", "three"]
    assert sorted(store.list_names("month=1")) == ["month=1/one", "month=1/two"]
    store.delete("month=1/one")
    assert sorted(store.list_names()) == ["month=1/two", "three"]


_UPLOAD = """
import sys
from pathlib import Path
from tests.storage.stores import open_bucket
store = open_bucket(Path(sys.argv[1]))
print("ready", flush=True)
store.put_draft(store.drafts.root / "one.part", "one.csv")
"""


def test_an_upload_that_is_killed_is_seen_by_nobody_and_begun_anew(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """The process dies when the store has taken a part; the next one uploads the whole file."""
    store, victims = open_bucket(tmp_path), list[subprocess.Popen[str]]()
    store.prepare_draft("one.part").write_bytes(PARTS)

    def choose(method: str, path: str) -> Fault | None:
        if (method, "partNumber" in path) != ("PUT", True):
            return None
        assert until(lambda: victims)
        victims[0].kill()
        return Fault.LOST

    faulty_server.choose = choose
    with child(_UPLOAD, str(tmp_path)) as process:
        victims.append(process)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert faulty_server.count(Fault.LOST) > 0
    assert list(open_bucket(tmp_path).list_names()) == ["one.part"]
    faulty_server.choose = lambda _method, _path: None
    store.put_draft(store.drafts.root / "one.part", "one.csv")
    assert (read_file(store, "one.csv") == PARTS, list(store.list_names())) == (True, ["one.csv"])


def test_time_bounds_the_retries(faulty_server: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: a number of them may be over within a second."""
    monkeypatch.setattr(object_store, "LONGEST_PAUSE", retries.FIRST_PAUSE)
    faulty_server.fail(Fault.SLOW_DOWN, times=12)
    assert open_bucket(tmp_path).find("one") is None
    assert faulty_server.count(Fault.SLOW_DOWN) == 12


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.DENIED, Fault.EXPIRED])
def test_a_store_that_does_nothing_for_now_is_told_from_one_that_answers(
    faulty_server: FaultyProxy, tmp_path: Path, fault: Fault
) -> None:
    """Whatever was asked of it. A missing file or bucket is an answer."""
    store = replace(open_bucket(tmp_path), retry_seconds=0)
    store.put("one", b"x")
    faulty_server.choose = lambda _method, _path: fault
    for ask in (
        lambda: store.find("one"),
        lambda: store.open("one"),
        lambda: list(store.list()),
        lambda: store.put("one", b"y"),
        lambda: store.delete("one"),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
    faulty_server.choose = lambda _method, _path: None
    assert store.find("two") is None
    with pytest.raises(StorageError) as missing:
        next(replace(store, address=S3Address("no-such-bucket", "")).list())
    assert type(missing.value) is StorageError


def _open_missing(store: object_store.ObjectStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.open("none")


def _put_again(store: object_store.ObjectStore) -> None:
    with pytest.raises(FileExistsError):
        store.put("one", b"y", is_new=True)


def _upload(store: object_store.ObjectStore) -> None:
    draft = store.prepare_draft("two.part")
    draft.write_bytes(PARTS)
    store.put_draft(draft, "two.csv")


CUT: list[tuple[str, str, Callable[[object_store.ObjectStore], None]]] = [
    ("GET", "none", _open_missing),
    ("GET", "list-type", _open_missing),
    ("PUT", "one", _put_again),
    ("POST", "uploads", _upload),
]


@pytest.mark.parametrize(("method", "part", "ask"), CUT)
def test_an_answer_that_is_cut_is_asked_for_again(
    faulty_server: FaultyProxy,
    tmp_path: Path,
    method: str,
    part: str,
    ask: Callable[[object_store.ObjectStore], None],
) -> None:
    """That of a refusal too: a file that is missing is told, and one that is there."""
    store = open_bucket(tmp_path)
    store.put("one", b"x")
    faulty_server.fail(Fault.HALF, times=2, method=method, part=part)
    ask(store)
    assert (faulty_server.count(Fault.HALF), read_file(store, "one")) == (2, b"x")


@pytest.mark.parametrize("fault", DOWNLOAD_FAULTS)
def test_a_read_goes_on_after_a_fault(faulty_server: FaultyProxy, tmp_path: Path, fault: Fault) -> None:
    """From the byte at which it broke."""
    store = open_bucket(tmp_path)
    content = PARTS[:3_000_000]
    store.put("one.csv", content)
    faulty_server.fail(fault, times=3, method="GET", part="one.csv")
    with closing(store.open("one.csv")) as file:
        assert b"".join(file.read(at, 65_536) for at in range(0, file.size, 65_536)) == content
    assert faulty_server.count(fault) == 3


def test_no_byte_of_a_later_file_is_read(object_server: str, tmp_path: Path) -> None:
    """A read elsewhere begins another transfer, which is of the file that was opened or of none."""
    assert object_server
    store = open_bucket(tmp_path)
    store.put("one", b"first" * 1_000_000)
    with closing(store.open("one")) as file:
        store.put("one", b"other" * 1_000_000)
        with pytest.raises(StorageError, match="deleted or put again"):
            file.read(4_000_000, 5)


def test_a_new_file_whose_answer_is_lost_is_its_writers(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """The repeated request finds the file there, and that it is its own; another writer is refused."""
    store = open_bucket(tmp_path)
    faulty_server.fail(Fault.LOST, times=1, method="PUT")
    store.put("log/1", b"one", is_new=True)
    assert faulty_server.count(Fault.LOST) == 1
    with pytest.raises(FileExistsError):
        store.put("log/1", b"one", is_new=True)


def test_what_a_lagging_listing_hides_is_found_by_its_name(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """And what it still shows is not found; deleting that again is no error."""
    store = open_bucket(tmp_path)
    store.put("old", b"1")
    faulty_server.choose = lambda _method, path: Fault.STALE if "list-type" in path else None
    assert list(store.list_names()) == ["old"]
    store.put("new", b"2")
    store.delete("old")
    assert list(store.list_names()) == ["old"]
    assert (store.find("old"), read_file(store, "new")) == (None, b"2")
    store.delete("old")


def test_a_link_of_the_store_gives_the_file_until_its_time(object_server: str, tmp_path: Path) -> None:
    """With the name and the type of a file that is kept; the key itself is not in it."""
    assert object_server
    store = open_bucket(tmp_path)
    draft = store.prepare_draft("one.part")
    draft.write_bytes(b"day,views\n")
    store.put_draft(draft, "one.csv")
    link = store.sign("one.csv", datetime.now(UTC) + timedelta(minutes=2))
    assert link is not None
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in link
    assert "X-Amz-Expires=1" in link
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.read() == b"day,views\n"
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="one.csv"'


def test_a_link_of_the_store_is_good_until_its_very_end(object_server: str, tmp_path: Path) -> None:
    """It tells whole seconds: cut at both ends it would be over up to two seconds before its report."""
    assert object_server
    store = open_bucket(tmp_path, signs=True)
    for microsecond in (1, 500_000, 999_999):
        until = (datetime.now(UTC) + timedelta(minutes=2)).replace(microsecond=microsecond)
        link = store.sign("one.csv", until)
        assert link is not None
        told = parse_qs(urlsplit(link).query)
        signed_at = datetime.strptime(told["X-Amz-Date"][0], "%Y%m%dT%H%M%S%z")
        seconds = int(told["X-Amz-Expires"][0])
        assert seconds <= 122
        assert until <= signed_at + timedelta(seconds=seconds)


def test_a_store_signs_only_where_it_is_set_to(object_server: str, tmp_path: Path) -> None:
    """Else the service serves its files."""
    assert object_server
    assert open_bucket(tmp_path, signs=False).sign("one", datetime.now(UTC)) is None


def test_a_missing_bucket_is_told_from_a_missing_file(object_server: str, tmp_path: Path) -> None:
    """Nothing is begun anew where the bucket isn't there."""
    assert object_server
    store = replace(open_bucket(tmp_path), address=S3Address("no-such-bucket", ""))
    with pytest.raises(StorageError, match="no such bucket"):
        store.open("one")
    with pytest.raises(StorageError, match="no-such-bucket"):
        store.put("one", b"x")
    with pytest.raises(StorageError, match="no such bucket"):
        store.delete("one")


def test_a_store_that_misses_what_is_deleted_is_well(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Some answer 404, as Google's does: a sweep goes on."""
    store = open_bucket(tmp_path)
    faulty_server.fail(Fault.NO_KEY, times=1, method="DELETE")
    store.delete("one")
    assert faulty_server.count(Fault.NO_KEY) == 1


def test_expired_credentials_are_told_without_the_token(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """AWS repeats the token in its answer: neither the sentence nor a traceback has it."""
    store = open_bucket(tmp_path)
    faulty_server.fail(Fault.EXPIRED, times=99)
    with pytest.raises(StorageError, match="have expired") as refused:
        store.open("one")
    assert "s3ss10n" not in "".join(traceback.format_exception(refused.value))


def test_a_store_that_is_away_is_told_as_what_it_is(
    object_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret is in the sentence."""
    assert object_server
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError) as refused:
        replace(open_bucket(tmp_path), retry_seconds=0.2).find("one")
    assert "the object store fails" in str(refused.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
