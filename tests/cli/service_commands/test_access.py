"""`org`, `channel` and `key`, called as from a shell: what they take, print and end, and what they refuse."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import forked
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Run
from tests.forked import COMMANDS, PIPE
from tests.migrated import begin_state

from reelport.facts.log.snapshot import newest_versions
from reelport.server.access import channel_registry, organizations
from reelport.server.access.channel_registry import Channel
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, connected, writing
from reelport.server.state.tables import KEYS


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """Runs one command over a data directory in which `demo` and `rival` are: its exit status, stdout and stderr."""
    begin_state(read_settings(data=tmp_path / "data"))
    for name in ("demo", "rival"):
        assert run("org", "add", name)[0] == 0
    return run


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


@pytest.mark.long
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


SCOPES = ("--permissions", "create_reports")


def create(run: Run, *words: str) -> dict[str, str]:
    """A new key of `demo`, as the command prints it."""
    status, out, err = run("key", "create", "--org", "demo", *SCOPES, "--json", *words)
    assert (status, err) == (0, "")
    made: dict[str, str] = json.loads(out)
    return made


def listed(run: Run) -> list[dict[str, Any]]:
    """The keys, as the command lists them."""
    rows: list[dict[str, Any]] = json.loads(run("key", "list", "--org", "demo", "--json")[1])
    return rows


def test_a_key_has_a_name_a_maker_and_an_expiry(run: Run) -> None:
    """The list says all of it, and marks what nobody used."""
    create(run, "--name", "Nightly export", "--expires", "10")
    (row,) = listed(run)
    assert (row["name"], row["created_by"], row["last_used"]) == ("Nightly export", "command line", None)
    left = datetime.fromisoformat(row["expires"]) - datetime.now(UTC)
    assert timedelta(days=9) < left <= timedelta(days=10)
    assert row["marks"] == ["expires in 9 days", "never used"]
    out = run("key", "list")[1]
    assert "Nightly export" in out
    assert "expires in 9 days,never used" in out


def test_three_wrong_things_of_a_key_are_told_at_once(run: Run) -> None:
    """Of the organization, the permission and the expiry none hides another; nothing is made."""
    words = ("--permissions", "create_report", "--expires", "soon", "--channels", "news")
    status, _, err = run("key", "create", "--org", "deno", *words)
    assert status == 2
    for part in ("no organization 'deno'. Did you mean demo?", "create_reports?", "'soon' is no expiry"):
        assert part in err
    status, _, err = run("key", "create", "--org", "demo", *words)
    for part in ("demo has no channel 'news'", "create_reports?", "'soon' is no expiry"):
        assert part in err
    assert listed(run) == []


def test_a_key_is_renamed_by_command(run: Run) -> None:
    """What it was called is said."""
    key = create(run, "--name", "One")
    status, out, _ = run("key", "rename", key["id"], "Two", "--json")
    assert (status, json.loads(out)) == (0, {"id": key["id"], "name": "Two", "was": "One"})
    assert listed(run)[0]["name"] == "Two"


def test_a_rotation_prints_the_second_secret_once_and_can_be_cancelled(run: Run) -> None:
    """Its words for people go to stderr; another rotation meanwhile is refused."""
    key = create(run)
    status, out, err = run("key", "rotate", key["id"], "--grace", "48", "--json")
    rotated = json.loads(out)
    assert (status, rotated["id"], rotated["grace_hours"]) == (0, key["id"], 48)
    assert rotated["secret"] not in {key["secret"], ""}
    assert "valid until the first use of the new secret, and for 48 hours after it" in err
    assert "second secret unused" in listed(run)[0]["marks"]
    assert rotated["secret"] not in run("key", "list", "--json")[1]
    status, _, err = run("key", "rotate", key["id"])
    assert (status, "has a second secret already" in err) == (2, True)
    assert run("key", "rotate", key["id"], "--cancel", "--grace", "3")[0] == 2
    assert run("key", "rotate", key["id"], "--cancel")[0] == 0
    assert "second secret unused" not in listed(run)[0]["marks"]
    status, _, err = run("key", "rotate", key["id"], "--cancel")
    assert (status, "nothing to take back" in err) == (2, True)


def test_a_cancelled_rotation_stays_so_where_nobody_reads_of_it(run: Run, tmp_path: Path) -> None:
    """It is told once it is done: a print that fails takes nothing back, in Python without buffers neither."""
    key = create(run)
    run("key", "rotate", key["id"])
    words = [sys.executable, "-m", "reelport", "key", "rotate", key["id"], "--cancel", "--data", str(tmp_path / "data")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=full, stderr=PIPE, check=False)
    assert (done.returncode, b"stdout takes no more" in done.stderr) == (1, True)
    assert "second secret unused" not in listed(run)[0]["marks"]


def test_an_organizations_keys_get_a_longest_life(run: Run) -> None:
    """It shows in the lists, refuses later expiries, and `none` ends it."""
    create(run)
    assert run("org", "max-key-age", "demo", "90")[0] == 0
    assert json.loads(run("org", "list", "--json")[1])[0]["max_key_days"] == 90
    assert listed(run)[0]["expires"] is not None
    status, _, err = run("key", "create", "--org", "demo", *SCOPES, "--expires", "91")
    assert (status, "Keys of demo live 90 days at most" in err) == (2, True)
    assert run("org", "max-key-age", "demo", "none")[0] == 0
    assert listed(run)[0]["expires"] is None
    for wrong in ("soon", "0", "99999999", "-1", "", "9" * 5000):
        assert run("org", "max-key-age", "demo", wrong)[0] == 2, wrong


def test_a_longest_life_that_ends_keys_is_asked_about(run: Run, tmp_path: Path) -> None:
    """Without a terminal it is refused, and `--yes` does it; which keys ended is said."""
    key = create(run)
    with connected(read_settings(data=tmp_path / "data")) as db, writing(db) as connection:
        connection.execute(KEYS.update().values(created_at=datetime.now(UTC) - timedelta(days=40)))
    status, _, err = run("org", "max-key-age", "demo", "30")
    assert (status, f"1 key would expire at once: {key['id']}." in err) == (2, True)
    assert json.loads(run("org", "list", "--json")[1])[0]["max_key_days"] is None
    status, out, _ = run("org", "max-key-age", "demo", "30", "--yes", "--json")
    assert (status, json.loads(out)["expired_keys"]) == (0, [key["id"]])
    assert listed(run)[0]["marks"][0] == "expired"


def test_the_end_of_a_key_is_asked_for_at_a_terminal_alone(run: Run, tmp_path: Path) -> None:
    """Any other answer than yes changes nothing; `--yes`, and a program without a terminal, are not asked.

    Nor is anybody about a key that isn't there.
    """
    first, second, third = (create(run)["id"] for _ in range(3))
    words = ["-m", "reelport", "key", "revoke", first, "--data", str(tmp_path / "data")]

    def call(typed: str, *words: str) -> tuple[int | None, str]:
        ours, theirs = pty.openpty()
        os.write(ours, f"{typed}\n".encode())
        with forked.Popen(words, stdin=theirs, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as command:
            said = command.communicate()[1]
        os.close(theirs)
        os.close(ours)
        return command.returncode, said

    for typed, is_over in (("n", False), ("y", True)):
        status, said = call(typed, *words)
        assert status == 0
        assert f"End the key {first}, its tokens and its links, for good? [y/N] " in said
        assert ("Nothing was changed." in said) == (not is_over)
        assert [row["id"] for row in listed(run) if row["revoked"]] == [first] * is_over
    status, said = call("y", *(word if word != first else "nope" for word in words))
    assert (status, said.startswith("reelport: There is no key 'nope'.")) == (2, True)
    assert [run("key", "revoke", *rest)[0] for rest in ((second,), (third, "--yes"))] == [0, 0]
    assert all(row["revoked"] for row in listed(run))
