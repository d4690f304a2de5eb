"""Downloads that go on where they were cut: in the same process, in the next one, and never with another file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out

from reelport import Client, Downloaded, IncompleteDownload, Proof, ReportExpired, ReportQuery
from reelport.client.events import Event, Received, Retrying
from reelport.killpoints import VARIABLE
from reelport.testing import Cut, Vendor

QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2026, 1, 1), date(2026, 1, 9))
LARGE = b"day,video_title,views\n" + b"".join(
    b'2026-01-02,"A title, of some %06d",123456\n' % number for number in range(100_000)
)
"""More than what is written at once, so that half of it is on disk when a process is killed."""


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


def asked(vendor: Vendor) -> str:
    with Client(vendor.url, vendor.key, vendor.secret) as client:
        return client.reports.submit(QUERY).token


def fetch(vendor: Vendor, token: str, to: Path, told: Callable[[Event], None] = lambda _: None) -> Downloaded:
    with Client(vendor.url, vendor.key, vendor.secret, sleep=lambda _: None) as client:
        return client.reports.attach(token, QUERY).download(to, progress=told)


def whole(vendor: Vendor, token: str, folder: Path) -> bytes:
    folder.mkdir()
    return fetch(vendor, token, folder / "whole.csv").path.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part_of(target: Path, token: str) -> Path:
    return target.with_name(f"{target.name}.{hashlib.sha256(token.encode()).hexdigest()[:8]}.part")


BREAKS = [Cut.CONTENT_LENGTH, Cut.CHUNKED, Cut.INSIDE_CHUNK, Cut.RESET]


@pytest.mark.parametrize(("etag", "proof"), [(True, Proof.CHECKSUM), ("opaque", Proof.LENGTH)])
@pytest.mark.parametrize("cut", BREAKS, ids=lambda cut: cut.name)
def test_a_broken_connection_goes_on_where_it_was(
    vendor: Vendor, tmp_path: Path, cut: Cut, etag: bool | str, proof: Proof
) -> None:
    """Two breaks cost two requests for the rest; every byte comes once, and the file is the same."""
    vendor.etag = etag  # type: ignore[assignment]  # one of the words
    token = asked(vendor)
    good = whole(vendor, token, tmp_path / "good")
    vendor.cut, vendor.cut_times, before = cut, 2, vendor.downloads
    done = fetch(vendor, token, tmp_path / "views.csv")
    assert done.path.read_bytes() == good
    assert done.proof is proof
    assert (vendor.downloads - before, len(vendor.asked_ranges)) == (3, 2)


@pytest.mark.parametrize("settings", [{"etag": False}, {"etag": "weak"}, {"ranges": False}])
def test_without_a_strong_name_of_the_file_it_begins_anew(
    vendor: Vendor, tmp_path: Path, settings: dict[str, object]
) -> None:
    """Nothing shows that the rest is of the same file, or the service offers no parts: all of it is fetched again."""
    for name, value in settings.items():
        setattr(vendor, name, value)
    token = asked(vendor)
    good = whole(vendor, token, tmp_path / "good")
    vendor.cut, vendor.cut_times = Cut.CONTENT_LENGTH, 1
    assert fetch(vendor, token, tmp_path / "views.csv").path.read_bytes() == good
    assert vendor.asked_ranges == []


def test_a_packed_file_goes_on_where_it_was(vendor: Vendor, tmp_path: Path) -> None:
    """The rest of a gzip stream continues the stream; its checksum is that of the packed bytes."""
    vendor.gzip = "transport"
    vendor.csv = lambda _: LARGE
    token = asked(vendor)
    vendor.cut, vendor.cut_times = Cut.CONTENT_LENGTH, 1
    done = fetch(vendor, token, tmp_path / "views.csv")
    assert (done.path.read_bytes(), done.proof, done.rows) == (LARGE, Proof.CHECKSUM, 100_000)
    assert len(vendor.asked_ranges) == 1


def test_a_file_that_became_another_is_fetched_whole(vendor: Vendor, tmp_path: Path) -> None:
    """Two halves of two files never make one: the service is asked for the rest of the very file that was begun."""
    token = asked(vendor)
    vendor.cut, vendor.cut_times = Cut.CONTENT_LENGTH, 1
    other = b"day,video_title,views\n" + b"2026-01-03,Other,1\n" * 200

    def swap(event: Event) -> None:
        if isinstance(event, Retrying):
            vendor.csv = lambda _: other

    done = fetch(vendor, token, tmp_path / "views.csv", swap)
    assert (done.path.read_bytes(), done.proof) == (other, Proof.CHECKSUM)
    assert len(vendor.asked_ranges) == 1


def test_a_range_that_was_not_asked_for_is_not_taken(vendor: Vendor, tmp_path: Path) -> None:
    """A server that answers with other bytes than asked for is asked for the whole file."""
    token = asked(vendor)
    good = whole(vendor, token, tmp_path / "good")
    vendor.cut, vendor.cut_times = Cut.CONTENT_LENGTH, 1

    def shift(event: Event) -> None:
        if isinstance(event, Retrying):
            vendor.cut, vendor.cut_times = Cut.WRONG_RANGE, 1

    assert fetch(vendor, token, tmp_path / "views.csv", shift).path.read_bytes() == good


def test_links_that_expire_on_the_way_are_looked_up_again_and_whole_files_kept(vendor: Vendor, tmp_path: Path) -> None:
    """Of three files the first is here when the links expire: one look, and only the other two are fetched."""
    vendor.links = 3
    token = asked(vendor)
    good = whole(vendor, token, tmp_path / "good")
    before, looks, seen = vendor.downloads, vendor.looks, list[Event]()

    def expire(event: Event) -> None:
        if isinstance(event, Received) and not seen:
            seen.append(event)
            vendor.expire_links()

    assert fetch(vendor, token, tmp_path / "views.csv", expire).path.read_bytes() == good
    assert (vendor.downloads - before, vendor.looks - looks) == (4, 2)


def test_a_link_that_is_never_good_is_looked_up_once(vendor: Vendor, tmp_path: Path) -> None:
    """A fresh link that is refused as well is the end: ReportExpired, with nothing left."""
    token = asked(vendor)
    vendor.link_expires = 0.0
    before = vendor.downloads
    with pytest.raises(ReportExpired, match="403"):
        fetch(vendor, token, tmp_path / "views.csv")
    assert vendor.downloads - before == 2
    assert names(tmp_path) == []


def test_a_bad_line_gets_there_in_the_end(vendor: Vendor, tmp_path: Path) -> None:
    """Each try that brings a good piece gives a new chance: five breaks of a large file are no failure."""
    vendor.csv = lambda _: LARGE
    token = asked(vendor)
    vendor.cut, vendor.cut_times = Cut.RESET, 5
    done = fetch(vendor, token, tmp_path / "views.csv")
    assert (done.path.read_bytes(), len(vendor.asked_ranges)) == (LARGE, 5)


def test_a_service_that_falls_silent_is_asked_for_the_rest(vendor: Vendor, tmp_path: Path) -> None:
    """After `timeout` seconds without a byte the connection is given up, and the rest asked for over another."""
    token = asked(vendor)
    vendor.cut, vendor.cut_times = Cut.STALL, 1
    with Client(vendor.url, vendor.key, vendor.secret) as client:
        report = client.with_options(timeout=2).reports.attach(token, QUERY)
        assert report.download(tmp_path / "views.csv").proof is Proof.CHECKSUM
    # A machine that is busy for as long may be taken for a service that is silent again: then for what is left alone.
    begins = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in vendor.asked_ranges]
    assert begins
    assert begins[0] > 0
    assert begins == sorted(begins)


def start(vendor: Vendor, token: str, to: Path, stop_at: str = "") -> forked.Popen:
    """The command that downloads a report, in a process of its own."""
    words = ["report", "download", token, "--url", vendor.url, "--quiet", "-o", str(to)]
    key = {"REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    return forked.Popen(["-m", "reelport", *words], env=os.environ | key | {VARIABLE: stop_at})


def killed_half_way(vendor: Vendor, token: str, to: Path) -> int:
    """Kill -9 a process whose download has come to a stand, when a good part is on disk; how much is there."""
    vendor.cut, vendor.cut_times = Cut.STALL, 1
    process = start(vendor, token, to)
    part, until = part_of(to, token), time.monotonic() + 300
    while not (part.exists() and part.stat().st_size > 1_000_000):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(300)
    return part.stat().st_size


def test_a_killed_download_is_taken_up_by_the_next_process(vendor: Vendor, tmp_path: Path) -> None:
    """After kill -9 the same command asks for the rest alone, and the checksum proves the two halves together."""
    vendor.csv = lambda _: LARGE
    token, target = asked(vendor), tmp_path / "views.csv"
    size = killed_half_way(vendor, token, target)
    assert not target.exists()
    assert start(vendor, token, target).wait(300) == 0
    assert target.read_bytes() == LARGE
    says = json.loads((tmp_path / "views.csv.json").read_text())
    assert (says["proof"], says["rows"]) == ("checksum", 100_000)
    assert vendor.asked_ranges == [f"bytes={size - 1}-"]
    assert names(tmp_path) == ["views.csv", "views.csv.json"]


def test_killed_before_the_name_was_given_only_the_last_byte_is_asked_for(vendor: Vendor, tmp_path: Path) -> None:
    """All bytes were written, none of them synced: the next process verifies them, and asks for next to nothing."""
    vendor.csv = lambda _: LARGE
    token, target = asked(vendor), tmp_path / "views.csv"
    assert start(vendor, token, target, "client-part").wait(300) == -signal.SIGKILL
    assert names(tmp_path) == [part_of(target, token).name]
    assert fetch(vendor, token, target).path.read_bytes() == LARGE
    assert vendor.asked_ranges == [f"bytes={len(LARGE) - 1}-"]


def torn(data: bytes) -> bytes:
    return data[:1000] + bytes(500) + data[1500:]


@pytest.mark.parametrize(
    "left",
    thin_out(
        [
            pytest.param(torn(LARGE[:500_000]), id="torn by a power cut"),
            pytest.param(LARGE + b"more", id="longer than the file"),
            pytest.param(b"no header at all", id="without a line end"),
            pytest.param(b"\xff\xfe\x00\n\n\n", id="no text"),
            pytest.param(b"other,columns\n1,2\n", id="another header"),
            pytest.param(b"x", id="one byte"),
            pytest.param(b"", id="empty"),
        ],
        3,
    ),
)
def test_what_was_left_is_never_trusted(vendor: Vendor, tmp_path: Path, left: bytes) -> None:
    """What isn't the beginning of the file costs a try at most: the file is fetched whole."""
    vendor.csv = lambda _: LARGE
    token, target = asked(vendor), tmp_path / "views.csv"
    part_of(target, token).write_bytes(left)
    done = fetch(vendor, token, target)
    assert (done.path.read_bytes(), done.proof) == (LARGE, Proof.CHECKSUM)
    assert names(tmp_path) == ["views.csv", "views.csv.json"]


@pytest.mark.parametrize(
    "settings",
    thin_out([{"etag": False}, {"etag": "opaque"}, {"ranges": False}, {"gzip": "transport"}, {"gzip": "file"}], 2),
)
def test_what_was_left_serves_only_where_a_checksum_proves_it(
    vendor: Vendor, tmp_path: Path, settings: dict[str, object]
) -> None:
    """Without a SHA-256 of the plain file nothing shows that the halves belong together: all is fetched again."""
    vendor.csv = lambda _: LARGE
    for name, value in settings.items():
        setattr(vendor, name, value)
    token, target = asked(vendor), tmp_path / "views.csv"
    part_of(target, token).write_bytes(b"day,video_title,views\n2026-01-02,Another report's row,1\n")
    assert fetch(vendor, token, target).path.read_bytes() == LARGE
    assert names(tmp_path) == ["views.csv", "views.csv.json"]


def test_a_download_that_gave_up_leaves_what_the_next_one_goes_on_with(vendor: Vendor, tmp_path: Path) -> None:
    """After the last try what came stays beside the target, where a checksum will prove it; the name stays free."""
    vendor.csv = lambda _: LARGE
    token, target = asked(vendor), tmp_path / "views.csv"
    vendor.cut = Cut.RESET
    with pytest.raises(IncompleteDownload):
        fetch(vendor, token, target)
    assert names(tmp_path) == [part_of(target, token).name]
    vendor.cut = None
    assert fetch(vendor, token, target).path.read_bytes() == LARGE


def test_two_processes_at_one_report_never_share_a_part(vendor: Vendor, tmp_path: Path) -> None:
    """While one process holds the part the other writes its own; what it left is taken away when it is dead."""
    vendor.csv = lambda _: LARGE
    token, target = asked(vendor), tmp_path / "views.csv"
    vendor.cut, vendor.cut_times = Cut.STALL, 1
    process = start(vendor, token, target)
    part, until = part_of(target, token), time.monotonic() + 300
    while not (part.exists() and part.stat().st_size > 1_000_000) and time.monotonic() < until:
        time.sleep(0.02)
    assert fetch(vendor, token, target).path.read_bytes() == LARGE
    assert vendor.asked_ranges == []
    assert part.exists()
    process.kill()
    process.wait(300)
    other = asked(vendor)
    fetch(vendor, other, target)
    assert names(tmp_path) == ["views.csv", "views.csv.json"]


def test_only_parts_of_the_very_target_are_taken_away(vendor: Vendor, tmp_path: Path) -> None:
    """Files of other names stay, however much they look like parts."""
    others = ["views.0123abcd.part", "views.csv.part", "views.csv.0123abcd.parts", "views.csv.old.0123abcd.part"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / "views.csv.0123abcd.part").write_text("left by a dead process")
    fetch(vendor, asked(vendor), tmp_path / "views.csv")
    assert names(tmp_path) == sorted([*others, "views.csv", "views.csv.json"])


def test_the_sidecar_says_what_the_file_is_and_no_secret(vendor: Vendor, tmp_path: Path) -> None:
    """Query, token, service, times, bytes, SHA-256, rows, proof; neither key nor token of access nor signed link."""
    with Client(vendor.url, vendor.key, vendor.secret) as client:
        done = client.reports.run(QUERY, tmp_path / "views.csv")
    assert done.sidecar == tmp_path / "views.csv.json"
    text = done.sidecar.read_text(encoding="utf-8")
    says = json.loads(text)
    assert says["query"] == QUERY.to_wire()
    assert (says["report"], says["service"], says["proof"]) == (vendor.tokens[0], vendor.url, "checksum")
    assert (says["bytes"], says["rows"]) == (done.bytes, done.rows)
    assert says["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert says["downloaded"].endswith("Z")
    assert not [word for word in (vendor.key, vendor.secret, "signature", "token-") if word in text]


def test_a_file_of_yours_is_no_sidecar(vendor: Vendor, tmp_path: Path) -> None:
    """Where something else has the sidecar's name it is left alone, and the download says that it has none."""
    mine = tmp_path / "views.csv.json"
    mine.write_text('{"mine": true}')
    done = fetch(vendor, asked(vendor), tmp_path / "views.csv")
    assert (done.sidecar, mine.read_text()) == (None, '{"mine": true}')
