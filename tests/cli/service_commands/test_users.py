"""`user`, public keys and `audit`, called as from a shell."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Commands

from reelport.server.access import audit_log
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, writing
from reelport.server.state.tables import AUTHENTICATORS, RECOVERY_CODES, USERS

PASSWORD = "correct horse battery"  # noqa: S105 - of a test


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """Commands over a data directory with two organizations."""
    return Commands(tmp_path, "demo", "rival")


def add(run: Commands, *words: str, stdin: str = PASSWORD + "\n") -> tuple[int, str, str]:
    return run("user", "add", "--org", "demo", "--email", "ann@demo.example", "--password-stdin", *words, stdin=stdin)


def test_a_user_is_added_listed_changed_and_removed(run: Commands) -> None:
    """Each command says what it did, as text and as JSON; nothing prints the password."""
    assert run("user", "list", "--org", "demo")[2] == "demo has no user yet: `reelport user add --org demo` adds one.\n"
    status, out, err = add(run, "--role", "owner", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["role"] == "owner"
    listed = json.loads(run("user", "list", "--json")[1])
    assert [(row["user"], row["organization"], row["role"]) for row in listed] == [
        ("ann@demo.example", "demo", "owner")
    ]
    assert PASSWORD not in out + str(listed)
    assert run("user", "password", "ann@demo.example", "--password-stdin", stdin="another long one\r\n")[0] == 0
    assert run("user", "remove", "ANN@demo.example")[0] == 0
    assert json.loads(run("user", "list", "--json")[1]) == []


def test_second_factors_are_shown_and_reset(run: Commands, tmp_path: Path) -> None:
    """For somebody who lost telephone and recovery codes; without any, nothing is changed and nothing logged."""
    assert add(run)[0] == 0
    assert json.loads(run("user", "factors", "ann@demo.example", "--json")[1])["authenticator"] is None
    db = connect(read_settings(data=tmp_path / "data"))
    with writing(db) as connection:
        user = connection.execute(USERS.select()).one().id
        row = {"user_id": user, "seed": "00", "created_at": datetime.now(UTC), "last_step": 0}
        connection.execute(AUTHENTICATORS.insert().values(**row))
        connection.execute(RECOVERY_CODES.insert().values(code_hash="h", user_id=user, created_at=row["created_at"]))
    shown = json.loads(run("user", "factors", "Ann@demo.example", "--json")[1])
    assert (shown["authenticator"] is not None, shown["recovery_codes"]) == (True, 1)
    for _ in range(2):
        shown = json.loads(run("user", "factors", "ann@demo.example", "--reset", "--json")[1])
        assert (shown["authenticator"], shown["recovery_codes"]) == (None, 0)
    assert len(audit_log.list_actions(db, action=audit_log.Action.FACTORS_RESET)) == 1
    assert "Did you mean ann@demo.example?" in run("user", "factors", "ann@demo.exampel", "--reset")[2]
    db.dispose()


def test_an_operator_is_given_rights_beyond_the_role(run: Commands) -> None:
    """To look, and to see the platform's numbers; and loses them again. People of an organization never have them."""
    assert add(run)[0] == 0
    given = ("--role", "operator", "--email", "olga@platform.example", "--password-stdin")
    assert run("user", "add", *given, stdin=f"{PASSWORD}\n")[0] == 0
    for allowed in ("yes", "no"):
        assert run("user", "may-look", "olga@platform.example", allowed)[0] == 0
        listed = {row["user"]: row["may_look"] for row in json.loads(run("user", "list", "--json")[1])}
        assert listed == {"ann@demo.example": None, "olga@platform.example": allowed == "yes"}
    for allowed in ("yes", "without-revenue", "no"):
        assert run("user", "may-see-platform", "olga@platform.example", allowed)[0] == 0
        listed = {row["user"]: row["may_see_platform"] for row in json.loads(run("user", "list", "--json")[1])}
        assert listed == {"ann@demo.example": None, "olga@platform.example": allowed}
    for command in ("may-look", "may-see-platform"):
        assert "ann@demo.example is no operator" in run("user", command, "ann@demo.example", "yes")[2]
    assert "Did you mean olga@platform.example?" in run("user", "may-look", "olga@platfrom.example", "yes")[2]


def test_a_wrong_command_says_what_to_change(run: Commands) -> None:
    """Without a terminal, with a short password, for an unknown user: a sentence, and nothing is changed."""
    status, _, err = run("user", "add", "--org", "demo", "--email", "ann@demo.example")
    assert (status, err) == (
        2,
        "reelport: There is no terminal to ask for the password: pipe it in, with --password-stdin.\n",
    )
    assert "The first line of standard input is empty" in add(run, stdin="")[2]
    assert "12 to 1,000 characters, and not 5" in add(run, stdin="short\n")[2]
    assert "There is no user 'ann@demo.example'." in run("user", "remove", "ann@demo.example")[2]
    assert json.loads(run("user", "list", "--json")[1]) == []


@pytest.mark.parametrize(("again", "status"), thin_out([("another password", 2), (PASSWORD, 0)], 2))
def test_a_password_is_asked_for_twice_at_a_terminal(run: Commands, tmp_path: Path, again: str, status: int) -> None:
    """It is not shown, and two that differ change nothing."""
    words = [sys.executable, "-m", "reelport", "user", "add", "--org", "demo", "--email", "ann@demo.example"]
    words += ["--data", str(tmp_path / "data")]
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as command:
        os.close(theirs)
        shown = ""
        for prompt, typed in (("Password: ", PASSWORD), ("Again: ", again)):
            shown += _read_until(ours, prompt)
            os.write(ours, f"{typed}\n".encode())
        shown += _read_until(ours, "")
        assert command.wait() == status, shown
    os.close(ours)
    assert ("differ" in shown) == (status == 2)
    assert PASSWORD not in shown
    assert len(json.loads(run("user", "list", "--json")[1])) == (status == 0)


def _read_until(terminal: int, prompt: str) -> str:
    """Read what a terminal shows until a prompt; without one, until its program ends."""
    shown = b""
    while not (prompt and shown.endswith(prompt.encode())):
        try:
            part = os.read(terminal, 1)
        except OSError:  # the other end is closed: how Linux ends a terminal
            break
        if not part:
            break
        shown += part
    return shown.decode()


@pytest.mark.long
def test_a_key_says_its_kind(run: Commands) -> None:
    """A key is private unless it is said otherwise."""
    for kind in ((), ("--kind", "public")):
        assert run("key", "create", "--org", "demo", "--permissions", "create_reports", *kind)[0] == 0
    assert [row["kind"] for row in json.loads(run("key", "list", "--json")[1])] == ["private", "public"]
    status, _, err = run("key", "create", "--org", "demo", "--permissions", "create_reports", "--kind", "secret")
    assert status == 2
    assert '"private", "public"' in err


def told(run: Commands, *words: str) -> list[str]:
    """Actions and subjects, the newest first."""
    status, out, _ = run("audit", "--json", *words)
    assert status == 0
    return [f"{row['action']}: {row['subject']}" for row in json.loads(out)]


def test_what_commands_do_is_told(run: Commands) -> None:
    """Each with the organization that it concerns; what removes an organization concerns the platform."""
    add = ("user", "add", "--org", "demo", "--email", "Ann@demo.example", "--password-stdin")
    assert run(*add, stdin=PASSWORD + "\n")[0] == 0
    assert run("user", "password", "ann@demo.example", "--password-stdin", stdin=PASSWORD + "\n")[0] == 0
    assert run("user", "remove", "ann@demo.example")[0] == 0
    assert run("org", "remove", "rival", "--yes")[0] == 0
    assert told(run, "--org", "demo") == [
        "removed a user: ann@demo.example",
        "changed a password: ann@demo.example",
        "added a user: ann@demo.example",
        "added an organization: demo",
    ]
    assert told(run, "--action", "removed an organization") == ["removed an organization: rival"]
    assert told(run, "--limit", "1") == ["removed an organization: rival"]
    assert told(run, "--person", "nobody") == []


def test_a_row_is_a_line_of_plain_words(run: Commands) -> None:
    """Time in UTC, organization, who, what, and from where; none is said where there is none."""
    status, out, _ = run("audit", "--org", "demo")
    assert status == 0
    head, line = out.splitlines()
    assert head.split("\t") == ["at", "organization", "who", "what", "from"]
    at, organization, _, what, address = line.split("\t")
    assert at.endswith("Z")
    assert (organization, what, address) == ("demo", "added an organization: demo", "command line")
    assert run("audit", "--person", "nobody")[1:] == ("", "The audit log has no such row.\n")


def test_a_day_to_begin_with_is_in_utc(run: Commands) -> None:
    """What was done before that day is left out."""
    assert len(told(run, "--since", "yesterday")) == 2
    assert told(run, "--since", "2999-01-01") == []


def test_everything_that_is_wrong_is_said_at_once(run: Commands) -> None:
    """Each option has its sentence, with the nearest that there is."""
    status, out, said = run("audit", "--since", "soon", "--action", "made a key", "--limit", "0")
    assert (status, out) == (2, "")
    assert "--since: 'soon' is no day" in said
    assert "nothing is called 'made a key'" in said
    assert "--limit takes a whole number of rows from 1 to 10,000, and not 0." in said
    assert "Did you mean demo?" in run("audit", "--org", "demos")[2]
