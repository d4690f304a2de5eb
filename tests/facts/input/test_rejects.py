"""The reject file: never over an input, never larger than it may be, and never left half made by a killed load."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import forked
from tests.cases import thin_out

from reelport.errors import BadInput, UsageError
from reelport.facts.data_files.work_folders import PREFIX, SPILL, claim_file, open_work_folder
from reelport.facts.input.rejects import MaxBad, RejectCap, parse_max_bad
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.log.snapshot import newest_versions

pytestmark = pytest.mark.long

HEADER = "id,slug\n"
SLOW = """
import sys
from pathlib import Path
from reelport.facts.loading.load import load
def wait(now):
    if now.stage == "writing":
        print("ready", flush=True)
        sys.stdin.read()
load(Path(sys.argv[1]), "channels", [Path(sys.argv[2])], progress=wait)
"""


@pytest.fixture
def channels(tmp_path: Path) -> Callable[..., Path]:
    """A CSV file of good and bad channels, the good ones first."""

    def write(good: int, bad: int, name: str = "x.csv") -> Path:
        path = tmp_path / name
        path.write_text(HEADER + "".join(f"c{n},s{n}\n" for n in range(good)) + "".join(f"b{n},\n" for n in range(bad)))
        return path

    return write


def _kept(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def _files(folder: Path) -> dict[Path, tuple[bytes, int, int]]:
    found = (path for path in folder.iterdir() if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


@pytest.mark.parametrize("way", ["glob", "same", "symlink", "hard link", "mapping"])
def test_a_reject_file_is_never_one_of_the_inputs(
    tmp_path: Path, root: Path, channels: Callable[..., Path], way: str
) -> None:
    """Whatever name an input is called by, the load is refused before anything is made, and no input is touched."""
    path, mapping = channels(1, 1), tmp_path / "m.sql"
    mapping.write_text("SELECT * FROM input")
    inputs: list[Path] = [path]
    mapped: Path | None = None
    rejects: Path | None = tmp_path / "link.csv"
    match way:
        case "glob":
            (tmp_path / "x.csv.rejects.csv").write_text("file,line,reason,raw\n")
            inputs, rejects = sorted(tmp_path.glob("x.csv*")), None
        case "same":
            rejects = path
        case "symlink":
            (tmp_path / "link.csv").symlink_to(path)
        case "hard link":
            (tmp_path / "link.csv").hardlink_to(path)
        case _:
            rejects, mapped = mapping, mapping
    before = _files(tmp_path)
    told = (
        "is the reject file of an earlier load" if way == "glob" else "is read by this load, and its bad rows would be"
    )
    with pytest.raises(UsageError, match=told):
        load(root, "channels", inputs, rejects=rejects, mapping=mapped)
    assert _files(tmp_path) == before
    assert not root.exists()


def test_a_reject_file_takes_the_place_of_nothing_but_a_reject_file(
    tmp_path: Path, root: Path, channels: Callable[..., Path]
) -> None:
    """Anything else, a device among them, is told before the load begins; an earlier reject file is replaced."""
    path = channels(1, 1)
    with pytest.raises(UsageError, match="lies among the tables"):
        load(root, "channels", [path], rejects=root / "channels" / "r.csv")
    with pytest.raises(UsageError, match="names the folder"):
        load(root, "channels", [path], rejects=tmp_path)
    (tmp_path / "other.csv").write_text("id,slug\nprecious,s\n")
    for other in (tmp_path / "other.csv", Path("/dev/null")):
        with pytest.raises(UsageError, match="is no reject file, so it is not written over"):
            load(root, "channels", [path], rejects=other)
    assert not root.exists()
    for bad in (2, 1):
        done = load(root, "channels", [channels(1, bad)], rejects=tmp_path / "r.csv")
        assert done.rejects_kept == _kept(tmp_path / "r.csv") == bad


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("e.csv", ["day,owner_channel_id,eur,usd", "2023-07-09,c,x,1", "2023-07-02,c,x,1", "cut", "2023-07-01,c,x,1"]),
        (
            "e.ndjson",
            [
                '{"day":"2023-07-03","owner_channel_id":"c","eur":1,"usd":1}',
                '{"day":"2023-07-09","owner_channel_id":"c","eur":"x","usd":1}',
                '{"day":"2023-07-02","owner_channel_id":"c","eur":"x","usd":1}',
                '{"day":',
                '{"day":"2023-07-01","owner_channel_id":"c","eur":"x","usd":1}',
            ],
        ),
    ],
)
def test_a_reject_file_is_in_the_order_of_files_and_lines(
    tmp_path: Path, root: Path, name: str, lines: list[str]
) -> None:
    """Whether a line is no row or breaks a rule, and whatever its day; `raw` tells what was read, or the line."""
    paths = [tmp_path / f"{number}-{name}" for number in range(2)]
    for path in paths:
        path.write_text("\n".join(lines) + "\n")
    good = tmp_path / f"good-{name}"
    good.write_text(lines[0] + ("\n2023-07-03,c,1,1\n" if name.endswith("csv") else "\n"))
    done = load(root, "earnings", [*paths, good], again=True)
    assert done.rejects_file is not None
    with done.rejects_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], int(row["line"])) for row in rows] == [
        (str(path), line) for path in paths for line in (2, 3, 4, 5)
    ]
    told = [json.loads(row["raw"]) for row in rows[:4]]
    assert [one["eur"] for one in (told[0], told[1], told[3])] == ["x", "x", "x"]
    assert told[0]["usd"] == "1"
    assert told[2] == lines[3]


def test_what_stands_beside_the_reject_file_is_left_alone(root: Path, channels: Callable[..., Path]) -> None:
    """The file is made under a name that nothing has: links that stand where it might be made are not followed."""
    path = channels(1, 1)
    before = path.read_bytes()
    trap = path.with_name(f"x.csv.rejects.csv.{os.getpid()}.part")
    trap.symlink_to(path)
    assert load(root, "channels", [path], rejects=path.with_name("x.csv.rejects.csv")).rejects_kept == 1
    assert (path.read_bytes(), trap.is_symlink()) == (before, True)


def test_the_next_file_of_the_same_name_has_a_reject_file_of_its_own(
    root: Path, channels: Callable[..., Path], tmp_path: Path
) -> None:
    """An hourly export by one name: bad rows of the hour before stay until somebody has corrected them."""
    first = load(root, "channels", [channels(1, 2)])
    second = load(root, "channels", [channels(1, 3)])
    assert (first.rejects_file, second.rejects_file) == tuple(
        tmp_path / f"x.csv.{one.batch[:8]}.rejects.csv" for one in (first, second)
    )
    assert [_kept(made.rejects_file) for made in (first, second) if made.rejects_file] == [2, 3]
    assert load(root, "channels", [channels(1, 3)]).rejects_file == second.rejects_file


@pytest.mark.parametrize("cap", [RejectCap(rows=3), RejectCap(bytes=900), RejectCap()])
def test_a_reject_file_is_capped(root: Path, channels: Callable[..., Path], cap: RejectCap) -> None:
    """Rows past the cap are counted and not kept."""
    done = load(root, "channels", [channels(5, 50)], cap=cap)
    assert (done.rows, done.rejects) == (5, 50)
    assert done.rejects_file is not None
    assert 0 < done.rejects_kept == _kept(done.rejects_file) <= min(cap.rows, 50)
    assert (done.rejects_kept < 50) is (cap != RejectCap())
    assert done.rejects_file.stat().st_size <= cap.bytes


@pytest.mark.parametrize(
    ("most", "good", "bad", "lands"),
    thin_out(
        [("5%", 95, 5, True), ("5%", 94, 6, False), ("0.5%", 199, 1, True), ("2", 1, 2, True), ("2", 90, 3, False)],
        2,
        nightly=True,
    ),
)
def test_more_bad_rows_than_allowed_end_the_load(
    root: Path, channels: Callable[..., Path], most: str, good: int, bad: int, lands: bool
) -> None:
    """A share is one of all rows, good and bad; nothing is loaded, and the bad rows are in their file."""
    path = channels(good, bad)
    if lands:
        assert load(root, "channels", [path], max_bad=parse_max_bad(most)).rows == good
        return
    with pytest.raises(BadInput, match=rf"nothing was loaded \(--max-bad {most}\): {bad} (of 100 rows|rows so far)"):
        load(root, "channels", [path], max_bad=parse_max_bad(most))
    assert newest_versions(root)["channels"] == -1
    assert [_kept(made) for made in path.parent.glob("x.csv.*.rejects.csv")] == [bad]


@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_a_load_of_too_many_bad_rows_ends_before_it_writes(
    tmp_path: Path, root: Path, channels: Callable[..., Path], form: str
) -> None:
    """Bad rows are all known before the first good one is written; a strict load ends there too."""
    path = channels(50, 50)
    if form == "Parquet":
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"id": ["c"] * 100, "slug": ["s", None] * 50}), path)
    stages: list[str] = []
    for limits in ({"strict": True}, {"max_bad": parse_max_bad("49%")}):
        with pytest.raises(BadInput, match="50 of 100 rows"):
            load(root, "channels", [path], progress=lambda now: stages.append(now.stage), **limits)
    assert "writing" not in stages


def test_lines_that_are_none_end_the_load_while_they_are_read(tmp_path: Path, root: Path) -> None:
    """Past the allowed number, and for a strict load once its reject file is full, the rest is not read."""
    path = tmp_path / "x.csv"
    path.write_text(HEADER + "one field\n" * 100_000)
    read: list[int] = []
    for limits in ({"max_bad": MaxBad("9", rows=9)}, {"strict": True, "cap": RejectCap(rows=9)}):
        with pytest.raises(BadInput, match="10 rows so far can't be taken"):
            load(root, "channels", [path], progress=lambda now: read.append(now.rows), **limits)
    assert read == []


@pytest.mark.parametrize("text", ["", "5 %", "-1", "101%", "5.%", "many", "1e3"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    """A limit is a whole number or a share up to 100%."""
    with pytest.raises(UsageError, match="the most bad rows are"):
        parse_max_bad(text)


@pytest.mark.parametrize("by", thin_out(["load", "compact", "vacuum"], 3, nightly=True))
def test_what_a_killed_load_left_goes_with_the_next_command(
    tmp_path: Path, root: Path, channels: Callable[..., Path], by: str
) -> None:
    """The half reject file and the work folder of a killed load go; those of a load that runs stay."""
    load(root, "channels", [channels(1, 0, "first.csv")])
    with _start(root, channels(9, 9, "killed.csv")) as killed, _start(root, channels(9, 9, "running.csv")) as running:
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.glob("*.part"))) == 2
        match by:
            case "load":
                load(root, "channels", [channels(2, 0, "next.csv")])
            case "compact":
                compact(root, today=date(2023, 7, 1))
            case _:
                vacuum(root, now=datetime.now(UTC))
        (part,) = tmp_path.glob("*.part")
        assert re.match(r"running\.csv\.[0-9a-f]{8}\.rejects\.csv\.", part.name)
        assert len(list((root / SPILL).iterdir())) == 1
        running.communicate()
        assert running.returncode == 0
    assert [_kept(made) for made in tmp_path.glob("running.csv.*.rejects.csv")] == [9]
    assert list(tmp_path.glob("*.part")) == []


def _start(root: Path, path: Path) -> forked.Popen:
    """A load that has written its bad rows, and waits to be told to go on."""
    words = ["-c", SLOW, str(root), str(path)]
    process = forked.Popen(words, stdin=forked.PIPE, stdout=forked.PIPE, loads=forked.COMMANDS)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_folder_of_a_load_that_was_killed_before_it_locked_it_goes(root: Path) -> None:
    """No other process sees a folder that is about to be locked."""
    (root / SPILL / f"{PREFIX}killed").mkdir(parents=True)
    with open_work_folder(root) as folder:
        assert [path.name for path in (root / SPILL).iterdir()] == [folder.name]


def test_what_a_killed_load_left_is_deleted_and_nothing_else(root: Path, tmp_path: Path) -> None:
    """Names may have ends of lines in them, and on a full disk the last one may be cut."""
    dead, others = root / SPILL / f"{PREFIX}killed", [tmp_path / "a", tmp_path / "plays.csv"]
    part = tmp_path / "a\nb\rc.part"
    dead.mkdir(parents=True)
    for path in (part, *others):
        path.touch()
    claim_file(dead, part)
    (list_file,) = dead.iterdir()
    with list_file.open("ab") as cut:
        cut.write(os.fsencode(others[1]))
    with open_work_folder(root):
        assert not part.exists()
        assert all(path.exists() for path in others)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_deletes_what_a_killed_load_of_the_services_user_left(root: Path, tmp_path: Path) -> None:
    """Its folder and the files that it claimed, though root's own commands never left them."""
    dead, part = root / SPILL / f"{PREFIX}killed", tmp_path / "bad.csv.part"
    dead.mkdir(parents=True)
    part.touch()
    claim_file(dead, part)
    for path in (root / SPILL, dead, *dead.iterdir(), part):
        os.chown(path, 4321, 4322)
    vacuum(root, now=datetime.now(UTC))
    assert not any((root / SPILL).iterdir())
    assert not part.exists()
