"""`org`, `channel` and `key`, called as from a shell: what they take, what they end, and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.forked import COMMANDS, PIPE
from tests.migrated import begin_state

from reelport.cli.main import main
from reelport.facts.log.snapshot import newest_versions
from reelport.server.access import channel_registry, organizations
from reelport.server.access.channel_registry import Channel
from reelport.server.settings import read_settings
from reelport.server.state.database import connect

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command over a data directory in which `demo` and `rival` are: its exit status, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--data", str(tmp_path / "data")])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    begin_state(read_settings(data=tmp_path / "data"))
    for name in ("demo", "rival"):
        assert call("org", "add", name)[0] == 0
    return call


def known(tmp_path: Path) -> tuple[Channel, ...]:
    """The channels of the tables."""
    return channel_registry.list_channels(read_settings(data=tmp_path / "data"))


def reads(run: Run, organization: str) -> list[str]:
    """The ids of the channels that an organization may read."""
    return [row["id"] for row in json.loads(run("channel", "list", "--org", organization, "--json")[1])]


def add_from(run: Run, tmp_path: Path, text: str | bytes, organization: str = "demo") -> tuple[int, str, str]:
    """Add the channels of a file."""
    file = tmp_path / "channels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return run("channel", "add", "--org", organization, "--from", str(file))


def test_many_channels_are_added_and_changed_from_a_file(run: Run, tmp_path: Path) -> None:
    """Columns in any order, a byte order mark, quotes; an empty cell leaves what is there; slugs may be swapped."""
    assert (
        add_from(run, tmp_path, '\ufeffSlug,id,name,account\r\none,c1,"One, the first",a1\r\n\r\ntwo,c2,,\r\n')[0] == 0
    )
    assert known(tmp_path) == (Channel("c1", "one", "One, the first", "a1"), Channel("c2", "two"))
    status, out, _ = add_from(run, tmp_path, "id,slug,name\nc1,two,\nc2,one,Two\nc3,three,動画\n")
    assert (status, "3" in out) == (0, True)
    assert known(tmp_path) == (
        Channel("c2", "one", "Two"),
        Channel("c3", "three", "動画"),
        Channel("c1", "two", "One, the first", "a1"),
    )
    assert reads(run, "demo") == ["c1", "c2", "c3"]


def test_the_same_file_again_writes_nothing(run: Run, tmp_path: Path) -> None:
    """Neither tables nor access change."""
    add_from(run, tmp_path, "id,slug\nc1,one\n")
    version = newest_versions(tmp_path / "data" / "facts")
    assert add_from(run, tmp_path, "id,slug\nc1,one\n")[0] == 0
    assert newest_versions(tmp_path / "data" / "facts") == version


def test_of_a_file_with_faults_nothing_is_added_and_each_is_told(run: Run, tmp_path: Path) -> None:
    """Every line that is wrong, by its number, also where a cell holds a line break."""
    run("channel", "add", "--org", "rival", "--id", "r1", "--slug", "rival-news")
    text = (
        'id,slug,name\nc1,one,"two\nlines"\nc2,rival-news,\nc3,three\n"c,4",four,\nc 5,five,\n,six,\n'
        "c7,one-seven,\nc7,two-seven,\nc8,same,\nc9,same,\n"
    )
    status, _, err = add_from(run, tmp_path, text)
    assert status == 2
    for line, what in (
        (2, "name"),
        (4, "another channel's"),
        (5, "cells"),
        (6, "id"),
        (7, "id"),
        (8, "id"),
        (10, "named before, in line 9"),
        (11, "given to 'c9' too, in line 12"),
        (12, "given to 'c8' too, in line 11"),
    ):
        assert any(f"line {line}: " in said and what in said for said in err.splitlines()), (line, err)
    assert "line 9: " not in err
    numbers = [int(number) for number in re.findall(r"line (\d+): ", err)]
    assert numbers == sorted(numbers)
    assert reads(run, "demo") == []
    assert [each.id for each in known(tmp_path)] == ["r1"]


def test_a_rename_says_what_the_channel_was_called(run: Run, tmp_path: Path) -> None:
    """It counts for every partner that reads the channel: by options and by a file, for people and for programs."""
    run("channel", "add", "--org", "rival", "--id", "c1", "--slug", "one")
    out = run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "uno")[1]
    assert ["was", "one"] in [line.split() for line in out.splitlines()]
    assert "was" not in run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "uno")[1]
    assert "uno" in run("channel", "list", "--org", "rival")[1]
    assert "eins (was uno)" in add_from(run, tmp_path, "id,slug\nc1,eins\nc2,two\n")[1]
    told = run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "one", "--json")[1]
    assert json.loads(told)["was"] == "eins"


def test_a_list_may_come_by_standard_input(run: Run, tmp_path: Path) -> None:
    """`--from -` reads it."""
    words = ["-m", "reelport", "channel", "add", "--org", "demo", "--from", "-", "--data", str(tmp_path / "data")]
    with forked.Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as command:
        assert command.stdin is not None
        command.stdin.write("id,slug\nc1,one\n")
        said = command.communicate()[1]
    assert (command.returncode, said) == (0, "")
    assert reads(run, "demo") == ["c1"]


def test_a_list_without_channels_is_remarked(run: Run, tmp_path: Path) -> None:
    """A header alone changes nothing, and that is said."""
    status, _, err = add_from(run, tmp_path, "id,slug\n")
    assert (status, "no channel below the header" in err) == (0, True)


@pytest.mark.parametrize(
    ("text", "says"),
    thin_out(
        [
            ("", "'id'"),
            ("id,slug,colour\n", "'colour'"),
            ("id,slug,id\n", "more than once"),
            ("c1,one\n", "no column 'slug'"),
            (b"id,slug\n\xff,x\n", "UTF-8"),
            ('id,slug\n"c1,x\n', "isn't CSV"),
            ("id,slug\nc1,\0\n", "slug"),
        ],
        3,
    ),
)
def test_a_file_that_is_no_list_of_channels_is_refused(run: Run, tmp_path: Path, text: str | bytes, says: str) -> None:
    """With what is wrong with its header or its text."""
    status, _, err = add_from(run, tmp_path, text)
    assert (status, says in err) == (2, True), err


def test_how_channels_are_named_is_said(run: Run, tmp_path: Path) -> None:
    """By --id and --slug or by a file that is there, and not by both."""
    file = tmp_path / "none.csv"
    assert "--from" in run("channel", "add", "--org", "demo", "--id", "c1")[2]
    assert "leave out" in run("channel", "add", "--org", "demo", "--id", "c1", "--from", str(file))[2]
    status, _, err = run("channel", "add", "--org", "demo", "--from", str(file))
    assert (status, str(file) in err) == (1, True)


@pytest.mark.parametrize(
    "word", thin_out(["", " ", "c 1", "c,1", "c\t1", "c\n1", " c1", "c\u00a01", "c\x7f", "x" * 1001], 4)
)
def test_ids_that_a_list_could_not_hold_are_refused(run: Run, tmp_path: Path, word: str) -> None:
    """Of a channel, its slug and its account: a sentence, and nothing is made."""
    for words in (
        ["--id", word, "--slug", "s"],
        ["--id", "c", "--slug", word],
        ["--id", "c", "--slug", "s", "--account", word],
    ):
        status, _, err = run("channel", "add", "--org", "demo", *words)
        assert (status, "no blank or comma" in err) == (2, True)
    assert known(tmp_path) == ()


def test_an_id_from_before_is_still_read_renamed_and_removed(run: Run, tmp_path: Path) -> None:
    """A state may hold ids with commas and blanks: they are listed, and every command takes them whole."""
    settings = read_settings(data=tmp_path / "data")
    db = connect(settings)
    run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "one")
    organizations.allow_channels(db, organizations.get_organization(db, "demo").id, ["c,2 x", "c3"])
    db.dispose()
    assert reads(run, "demo") == ["c,2 x", "c1", "c3"]
    assert run("channel", "remove", "--org", "demo", "--id", "c,2 x", "--id", "c3,c1")[0] == 0
    assert reads(run, "demo") == []


def test_removal_says_what_it_ended(run: Run) -> None:
    """As lines and as JSON; a channel that isn't read is named with the nearest one."""
    run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "one")
    run("channel", "add", "--org", "demo", "--id", "c2", "--slug", "two")
    key = ("key", "create", "--org", "demo", "--permissions", "create_reports", "--json")
    alone = json.loads(run(*key, "--channels", "one")[1])["id"]
    status, _, err = run("channel", "remove", "--org", "demo", "--id", "c12")
    assert (status, "Did you mean" in err) == (2, True)
    ended = json.loads(run("channel", "remove", "--org", "demo", "--id", "c1", "--json")[1])
    assert (ended["organization"], ended["channels"], ended["keys"]) == ("demo", 1, [alone])
    assert (ended["narrowed_keys"], ended["finished_reports"]) == ([], 0)
    assert reads(run, "demo") == ["c2"]


def test_an_organization_is_not_removed_without_consent(run: Run) -> None:
    """A program must say --yes; without it what would end is told and nothing does."""
    run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "one")
    run("key", "create", "--org", "demo", "--permissions", "create_reports")
    status, _, err = run("org", "remove", "demo")
    assert (status, "1 channel, 1 key with its tokens, 0 users, and 0 reports" in err, "--yes" in err) == (
        2,
        True,
        True,
    )
    assert reads(run, "demo") == ["c1"]
    status, out, _ = run("org", "remove", "demo", "--yes", "--json")
    assert (status, json.loads(out)["channels"]) == (0, 1)
    assert [row["organization"] for row in json.loads(run("org", "list", "--json")[1])] == ["rival"]
    status, _, err = run("org", "remove", "demo", "--yes")
    assert (status, "no organization 'demo'" in err) == (2, True)


def test_what_channel_add_entered_is_not_undone(run: Run, tmp_path: Path) -> None:
    """A channel that a partner may read keeps its slug and name; the refusal says which commands to use instead."""
    assert run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "one")[0] == 0
    batch = json.loads(run("load", "list", "--json")[1])[0]["batch"]
    status, out, err = run("load", "undo", batch[:9], "--yes")
    assert (status, out) == (2, "")
    assert "`reelport channel remove`" in err
    assert "`reelport channel add`" in err
    assert known(tmp_path) == (Channel("c1", "one"),)
