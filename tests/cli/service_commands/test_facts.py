"""The commands for facts as a shell sees them: data on stdout, all else on stderr, an exit status that tells."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Run
from tests.forked import COMMANDS, PIPE

PROGRESS = re.compile(r" \(\d+ s\)$")
"""The end of a line that tells of a load's progress: there are some where it takes seconds."""


def test_the_life_of_a_load(tmp_path: Path, run: Run) -> None:
    """Load, load again, look, restate, undo: each command says in a line what it did."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-02,c1,1,1\n2023-07-03,c1,1,x\n")
    status, out, _ = run("load", "earnings", path)
    assert status == 0
    assert out.startswith("earnings: 2 rows loaded, 2 days from 2023-07-01 to 2023-07-02 (batch ")
    (made,) = tmp_path.glob("e.csv.*.rejects.csv")
    assert f"1 row rejected, see {made}" in out
    again = run("load", "earnings", path)[1]
    assert "nothing changed" in again
    assert "1 row rejected, when it was loaded" in again
    status, _, err = run("load", "earnings", path, "--strict")
    assert (status, "without 1 row that it rejected" in err) == (1, True)
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-02,c1,5,5\n")
    assert run("load", "earnings", path, "--replace-days", "2023-07-01:2023-07-02")[0] == 0
    listed = json.loads(run("load", "list", "--json")[1])
    assert [(one["rows"], one["undone"], one["replaced"]) for one in listed] == [
        (2, False, None),
        (1, False, ["2023-07-01", "2023-07-02"]),
    ]
    assert "1 row removed, 2 rows restored" in run("load", "undo", listed[1]["batch"][:8], "--yes")[1]
    assert "when" in run("load", "list")[1].splitlines()[0]
    report = {one["table"]: one for one in json.loads(run("tables", "--json")[1])}
    assert (report["earnings"]["rows"], report["earnings"]["complete_to"]) == (2, "2023-07-02")
    assert "2023-07 merged, 2 files into 1" in run("compact")[1]
    assert run("vacuum")[1] == "earnings: 0 files deleted, 0 bytes\n"


@pytest.fixture
def undoable(tmp_path: Path, run: Run) -> str:
    """The batch of a replacement of two days that held three rows."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-02,c1,1,1\n2023-07-02,c2,1,1\n")
    assert run("load", "earnings", path)[0] == 0
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-02,c1,5,5\n")
    done = run("load", "earnings", path, "--replace-days", "2023-07-01:2023-07-02", "--json")[1]
    return str(json.loads(done)["batch"])


def test_an_undo_shows_its_days_and_is_refused_without_a_terminal(run: Run, undoable: str) -> None:
    """A program that doesn't say --yes gets the days and the sentence, and nothing is changed."""
    status, out, err = run("load", "undo", undoable[:8])
    assert (status, err) == (
        2,
        "reelport: nothing was changed: there is no terminal to ask at; add --yes to do it without asking\n",
    )
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["day", "rows", "removed", "rows", "restored"],
        ["2023-07-01", "0", "1"],
        ["2023-07-02", "1", "2"],
        ["total", "1", "3"],
    ]
    assert "1 row removed, 3 rows restored" in run("load", "undo", undoable, "--yes")[1]


def test_an_undo_tells_a_program_what_it_did(run: Run, undoable: str) -> None:
    """Its result is one object; a program that doesn't say --yes reads none, and people the days beside it."""
    status, out, err = run("load", "undo", undoable, "--json")
    assert (status, out) == (2, "")
    assert "rows restored" in err
    done = json.loads(run("load", "undo", undoable, "--json", "--yes")[1])
    assert (done["table"], done["batch"], done["removed"], done["restored"]) == ("earnings", undoable, 1, 3)
    assert done["days"][1] == {"day": "2023-07-02", "removed": 1, "restored": 2}


def test_the_least_hours_of_a_vacuum_are_told(run: Run, undoable: str) -> None:
    """By its help, and by what refuses fewer."""
    assert undoable
    assert "at least 72" in " ".join(run("vacuum", "--help")[1].split())
    assert "at least 72" in run("vacuum", "--hours", "71")[2]


@pytest.mark.parametrize(("answer", "undone"), thin_out([(b"yes\n", True), (b"\n", False), (b"n\n", False)], 3))
def test_an_undo_asks_at_a_terminal(tmp_path: Path, run: Run, undoable: str, answer: bytes, undone: bool) -> None:
    """Only a yes takes the load back."""
    words = ["-m", "reelport", "load", "undo", undoable, "--data", str(tmp_path / "data")]
    ours, theirs = os.openpty()
    os.write(ours, answer)
    with forked.Popen(words, stdin=theirs, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as command:
        said = command.communicate()[1]
    os.close(ours)
    os.close(theirs)
    assert f"Undo batch {undoable} of earnings? [y/N]" in said
    assert ("Nothing was changed." in said) is not undone
    assert command.returncode == 0
    assert json.loads(run("load", "list", "--json")[1])[1]["undone"] is undone


def test_a_load_of_many_files_says_how_many_it_had(tmp_path: Path, run: Run) -> None:
    """The list and the undo name the first three, and count the others."""
    header = "day,owner_channel_id,eur,usd"
    paths = [tmp_path / f"e{number}.csv" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_text(f"{header}\n2023-07-01,c{number},1,1\n")
    batch = json.loads(run("load", "earnings", *paths, "--json")[1])["batch"]
    assert run("load", "list")[1].rstrip().endswith("e0.csv e1.csv e2.csv and 2 more")
    assert "e2.csv and 2 more" in run("load", "undo", batch, "--yes")[1].splitlines()[0]


def test_what_a_load_leaves_out_is_told(tmp_path: Path, run: Run) -> None:
    """Days that were replaced since the batch was first loaded are named, with the way to have them."""
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-02,c1,1,1\n")
    other.write_text("day,owner_channel_id,eur,usd\n2023-07-02,c1,5,5\n")
    batch = json.loads(run("load", "earnings", path, "--json")[1])["batch"]
    told = run("load", "earnings", other, "--replace-days", "2023-07-02:2023-07-02", "--json")[1]
    run("load", "undo", batch, "--yes")
    assert run("load", "earnings", path)[1].splitlines() == [
        f"earnings: 1 row loaded, 1 day from 2023-07-01 to 2023-07-01 (batch {batch})",
        (
            "earnings: 1 row left out, as their days were replaced after this batch was first loaded: "
            f"2023-07-02 (1, replaced by batch {json.loads(told)['batch']}). "
            "To have them, load them with --replace-days, or undo the replacement first."
        ),
    ]
    assert "1 day left out" in run("load", "list")[1]


def test_bad_input_ends_in_clean_lines_and_status_1(tmp_path: Path, run: Run) -> None:
    """Every problem is a line on stderr, nothing is on stdout, and there is no traceback."""
    path = tmp_path / "c.csv"
    path.write_text("Slug;id\n")
    status, out, err = run("load", "channels", path)
    assert (status, out) == (1, "")
    assert err.startswith(f"reelport: {path}: its columns are separated by semicolons; CSV here means commas. ")


@pytest.mark.parametrize(
    ("name", "mark", "packing"),
    thin_out([("my export.csv", ";", None), ("e.csv", "\t", None), ("e.csv.gz", ";", "gzip")], 3),
)
def test_other_separators_are_refused_with_a_command_that_converts(
    tmp_path: Path, run: Run, name: str, mark: str, packing: str | None
) -> None:
    """The command, run as it stands, makes a file that loads; commas and quotes inside of fields stay in them."""
    path = tmp_path / name
    text = mark.join(("id", "slug", "name")) + "\n" + mark.join(("c1", "a", f'"one, ""two""{mark} three"')) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if packing else text.encode())
    status, _, err = run("load", "channels", path)
    command = err.strip().partition("This converts it: ")[2]
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=300)
    made = path.with_name(f"{name.split('.', maxsplit=1)[0]}.commas.csv")
    assert (status, run("load", "channels", made)[0]) == (1, 0)
    assert made.read_text().splitlines()[1] == f'c1,a,"one, ""two""{mark} three"'


def test_a_file_in_latin_1_is_said_to_be_no_utf_8(tmp_path: Path, run: Run) -> None:
    """A suggestion that can read no row names the first broken line and the command that converts the file."""
    path = tmp_path / "e.csv"
    path.write_bytes("day,channel,title\n2023-07-01,c1,été\n2023-07-02,c1,été\n".encode("latin-1"))
    status, _, err = run("load", "earnings", path, "--suggest-map")
    assert (status, "line 2: it is not UTF-8 (byte 0xe9 at 15)" in err, "iconv -f ISO-8859-1" in err) == (1, True, True)
    path.write_bytes("day,chaîne\n2023-07-01,c1\n".encode("latin-1"))
    assert "iconv -f ISO-8859-1" in run("load", "earnings", path)[2]


def test_a_loaded_batch_is_undone_before_it_is_loaded_leniently(tmp_path: Path, run: Run) -> None:
    """A load that changes nothing, and its dry run, name the command that lets it be loaded on other terms."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,visitor_country,eur,usd\n2023-07-01,c1,FR,1,1\n2023-07-01,c1,zz,1,1\n")
    status, out, _ = run("load", "earnings", path)
    assert (status, "1 row rejected" in out) == (0, True)
    assert "first run: reelport load undo " in run("load", "earnings", path, "--lenient", "--dry-run")[1]
    command = run("load", "earnings", path, "--lenient")[1].partition("first run: reelport ")[2].splitlines()[0]
    assert run(*command.split(), "--yes")[0] == 0
    assert "earnings: 2 rows loaded" in run("load", "earnings", path, "--lenient")[1]


def test_a_wrong_load_tells_all_that_is_wrong(run: Run) -> None:
    """The table, the files, the days and the limit are told at once."""
    status, _, err = run("load", "play", "--replace-days", "foo", "--max-bad", "x")
    assert status == 2
    for problem in (
        "no table 'play': did you mean plays?",
        "no file was given",
        "--replace-days takes",
        "the most bad rows",
    ):
        assert problem in err


@pytest.mark.parametrize(
    "words",
    thin_out(
        [
            (("load", "chanels", "x.csv"),),
            (("load", "channels"),),
            (("load", "channels", "--suggest-map"),),
            (("load", "earnings", "x.csv", "--replace-days", "july"),),
            (("load", "earnings", "x.csv", "--replace-days", "2023-07-01:"),),
            (("load", "earnings", "x.csv", "--replace-days", "2023-07-02:2023-07-01"),),
            (("load", "channels", __file__, "--suggest-map", "--map", __file__),),
            (("load", "channels", __file__, "--force"),),
            (("load", "undo", "none"),),
            (("load", "undo", ""),),
            (("load", "channels", __file__, "--memory", "much"),),
            (("load", "channels", __file__, "--max-bad", "much"),),
            (("load", "channels", __file__, "--rejects", __file__),),
            (("compact", "--settled-after", "1.5"),),
            (("sample", "--start", "2026-01-01", "--end", "2026-01-01", "--rows", "1.5"),),
            (("vacuum", "--hours", "1"),),
            (("load", "earnings", "x.csv", "--sloppy"),),
        ],
        4,
    ),
)
def test_a_wrong_command_is_a_usage_error(tmp_path: Path, run: Run, words: tuple[str, ...]) -> None:
    """A wrong name, option or value is exit status 2 and one clean line."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,a\n")
    assert run("load", "channels", path)[0] == 0
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("reelport: ")
    assert "Traceback" not in err


def test_a_file_of_an_earlier_batch_is_refused_and_loaded_by_again(tmp_path: Path, run: Run) -> None:
    """The load and its dry run say which batch has it, and end with 1."""
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for number, path in enumerate(paths):
        path.write_text(f"day,owner_channel_id,eur,usd\n2023-07-01,c1,{number},1\n")
    assert run("load", "earnings", *paths)[0] == 0
    for words in (["--dry-run"], []):
        status, _, err = run("load", "earnings", paths[0], *words)
        assert status == 1
        assert "a.csv was loaded before, in batch " in err
    assert "1 row would be loaded" in run("load", "earnings", paths[0], "--again", "--dry-run")[1]
    assert "1 row loaded" in run("load", "earnings", paths[0], "--again")[1]


def test_a_batch_is_not_loaded_twice_by_again(tmp_path: Path, run: Run) -> None:
    """The load and its dry run say what `--again` is for, and which commands make the rows count twice."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n")
    assert run("load", "earnings", path)[0] == 0
    for words in (["--dry-run"], []):
        status, out, _ = run("load", "earnings", path, "--again", *words)
        assert (status, "--lenient" in out) == (0, False)
        assert "--again adds files that another batch holds, and never just the same files twice" in out
        assert "name each file twice in the load that follows, with --again" in out
    undo = out.partition("first run: reelport ")[2].splitlines()[0]
    assert run(*undo.split(), "--yes")[0] == 0
    assert "earnings: 2 rows loaded" in run("load", "earnings", path, path, "--again")[1]


def test_a_full_reject_file_is_told(tmp_path: Path, run: Run) -> None:
    """The summary says how many bad rows are kept, and which options keep more."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,a\nc2,\nc3,\n")
    told = run("load", "channels", path, "--reject-rows", "1")[1].splitlines()[1]
    assert told.startswith("channels: 2 rows rejected, the first 1 are in ")
    assert told.endswith(".rejects.csv, which is full (--reject-rows, --reject-bytes)")
    assert "2 rows rejected, none of them kept" in run("load", "channels", path, "--reject-rows", "0")[1]


@pytest.mark.parametrize("days", thin_out(["2023-07-02", "2023-07-02:2023-07-02", "2023-07-02..2023-07-02"], 3))
def test_one_day_is_replaced(tmp_path: Path, run: Run, days: str) -> None:
    """A day alone is the day from itself to itself."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-02,c1,1,1\n")
    assert run("load", "earnings", path)[0] == 0
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-02,c1,5,5\n2023-07-02,c1,6,6\n")
    assert run("load", "earnings", path, "--replace-days", days)[0] == 0
    assert json.loads(run("load", "list", "--json")[1])[1]["replaced"] == ["2023-07-02", "2023-07-02"]
    assert json.loads(run("tables", "--json")[1])[2]["rows"] == 3


def test_a_file_of_another_shape_is_offered_a_mapping(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal ends with the command that writes one; what it writes is loaded as the command after it says."""
    monkeypatch.chdir(tmp_path)
    Path("my export.csv").write_text("date,channel,Revenue (EUR),revenue_usd\n2023-07-01,c1,1.5,2\n")
    status, _, err = run("load", "earnings", "my export.csv")
    offered = err.splitlines()[-1].partition("to start from: ")[2]
    assert (status, offered) == (1, "reelport load earnings 'my export.csv' --suggest-map")
    status, out, _ = run(*shlex.split(offered)[1:])
    assert (status, "4 columns of earnings found in the file" in out) == (0, True)
    told = out.splitlines()[-1].partition("Then try it: ")[2]
    assert run(*shlex.split(told)[1:])[1].endswith(
        "earnings: 1 row would be loaded, 1 day from 2023-07-01 to 2023-07-01\n"
    )
    status, _, err = run(*shlex.split(offered)[1:])
    assert (status, "earnings.map.sql is there already" in err) == (2, True)
    assert run(*shlex.split(offered)[1:], "-f")[0] == 0
    status, _, err = run("load", "plays", "my export.csv", "--map", "earnings.map.sql")
    assert (status, "--suggest-map" in err) == (1, False)


def test_rows_that_nobody_may_read_are_told_once(tmp_path: Path, run: Run) -> None:
    """Where there is a state, a load says how many rows are of channels that no organization may read."""
    path = tmp_path / "e.csv"
    path.write_text(
        "day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-01,c2,1,1\n2023-07-02,c3,1,1\n2023-07-02,c3,1,2\n"
    )
    assert "no organization" not in run("load", "earnings", path)[1]
    assert not (tmp_path / "data" / "state.db").exists()
    run("org", "add", "acme")
    run("channel", "add", "--org", "acme", "--id", "c1", "--slug", "one")
    path.write_text(path.read_text() + "2023-07-02,c1,1,3\n")
    told = run("load", "earnings", path)[1].splitlines()
    assert told[2:] == [
        (
            "earnings: 3 rows of 2 owner channels that no organization may read ('c3', 'c2'): if they are right, "
            "`reelport channel add` lets one read them"
        )
    ]
    assert len(run("load", "earnings", path)[1].splitlines()) == 1
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n")
    assert json.loads(run("load", "earnings", path, "--json")[1])["note"] is None
    assert len(run("load", "channels", _channels(tmp_path))[1].splitlines()) == 1


def _channels(tmp_path: Path) -> Path:
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc9,nine\n")
    return path


@pytest.mark.parametrize("state", ["damaged", "elsewhere"])
def test_a_state_that_cannot_be_asked_costs_the_load_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The rows have landed by then: the command says that the owners couldn't be looked up, and ends well."""
    path = tmp_path / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n")
    if state == "damaged":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "state.db").write_bytes(b"no database" * 500)
    else:
        monkeypatch.setenv("REELPORT_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/state")
    status, out, err = run("load", "earnings", path)
    assert status == 0, err
    assert not [line for line in err.splitlines() if not PROGRESS.search(line)]
    assert "earnings: 1 row loaded" in out
    assert "whether their owner channels may be read by anybody couldn't be looked up: " in out
    assert "secret" not in out
