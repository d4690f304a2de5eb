"""The operator's commands, called as from a shell, and what they say when something is in the way."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cyclopts import App
from tests.callers import identify
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Run
from tests.migrated import begin_state
from tests.patience import until

from reelport.cli.main import APP
from reelport.facts.layout import check_layout
from reelport.query import ReportQuery
from reelport.report_details import FailureReason
from reelport.server import credentials
from reelport.server.access import channel_registry
from reelport.server.access.callers import Caller
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import backlog, jobs
from reelport.server.reports.ask import ask_report
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, connected
from reelport.server.state.revisions import REVISION


def caller_of(run: Run, data: Path) -> Caller:
    """Who a new key of a new organization `demo` stands for."""
    begin_state(read_settings(data=data))
    run("org", "add", "demo")
    run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "demo-news")
    _, out, _ = run("key", "create", "--org", "demo", "--permissions", "create_reports", "--json")
    key, settings = json.loads(out), read_settings(data=data)
    with connected(settings) as db:
        return identify(db, credentials.load_service_secret(settings), key["id"], key["secret"])


def test_key_is_made_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    """From an empty directory to a key and its end; the secret is printed once and never again."""
    assert run("org", "add", "demo")[0] == 0
    assert run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "demo-news", "--name", "News")[0] == 0
    assert run("channel", "add", "--org", "demo", "--id", "c2", "--slug", "demo-sports", "--account", "a1")[0] == 0
    scopes = ["--permissions", "create_reports,access_ads", "--permissions", "manage_reports"]
    status, out, err = run("key", "create", "--org", "demo", *scopes, "--channels", "demo-news", "--json")
    key = json.loads(out)
    assert (status, err, set(key)) == (0, "", {"id", "secret"})
    status, out, _ = run("key", "list", "--org", "demo")
    assert key["id"] in out
    assert "demo-news" in out
    assert key["secret"] not in out
    assert run("key", "revoke", key["id"])[0] == 0
    assert json.loads(run("key", "list", "--json")[1])[0]["revoked"]
    assert json.loads(run("org", "list", "--json")[1])[0].items() > {("organization", "demo"), ("channels", 2)}
    assert [each.slug for each in channel_registry.list_channels(read_settings(data=tmp_path / "data"))] == [
        "demo-news",
        "demo-sports",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    thin_out(
        [
            ("org list", "reelport org add"),
            ("key list", "reelport key create --org NAME"),
            ("queue list", "No report waits or runs"),
            ("queue list --all", "There is no report yet."),
            ("load list", "Nothing is loaded into any table"),
            ("load list --table plays", "Nothing is loaded into plays"),
            ("payees", "has no earnings of these days"),
        ],
        3,
    ),
)
def test_an_empty_list_is_a_sentence(run: Run, tmp_path: Path, words: str, says: str) -> None:
    """On stderr, for stdout is data; as JSON it is an empty list, and nothing is said."""
    check_layout(tmp_path / "data")
    status, out, err = run(*words.split())
    assert (status, out, len(err.splitlines())) == (0, "", 1)
    assert says in err
    assert run(*words.split(), "--json") == (0, "[]\n", "")


@pytest.mark.parametrize(
    "words",
    [
        *("tables", "load list", "load undo b", "payees", "compact", "vacuum", "verify", "doctor"),
        *("org list", "channel list --org demo", "channel add --org demo --id c1 --slug a"),
        *("key list", "key create --org demo --permissions create_reports", "key revoke k"),
        *("queue list", "queue show r", "queue cancel r"),
    ],
)
def test_a_mistyped_data_directory_is_told_and_not_made(run: Run, tmp_path: Path, words: str) -> None:
    """A command that could find nothing in a new data directory makes none, and none of a folder of another kind."""
    (tmp_path / "other").mkdir()
    for name, says in (("mistyped", "isn't there"), ("other", "layout.json")):
        status, _, err = run(*words.split(), data=tmp_path / name)
        assert (status != 0, says in err, str(tmp_path / name) in err) == (True, True, True)
    assert [path.name for path in tmp_path.rglob("*")] == ["other"]


def test_what_an_organization_lacks_is_said_with_its_name(run: Run, tmp_path: Path) -> None:
    """Tables without rows are still listed, and a sentence says that there are none."""
    run("org", "add", "demo")
    assert "demo may read no channel yet" in run("channel", "list", "--org", "demo")[2]
    assert "reelport key create --org demo" in run("key", "list", "--org", "demo")[2]
    _, out, err = run("tables")
    assert (len(out.splitlines()), str(tmp_path / "data") in err) == (10, True)


def test_channel_is_renamed_but_no_slug_is_anothers(run: Run, tmp_path: Path) -> None:
    """A channel keeps its id and may change its slug; two channels never share one."""
    run("org", "add", "demo")
    for slug in ("old", "new", "new"):
        assert run("channel", "add", "--org", "demo", "--id", "c1", "--slug", slug)[0] == 0
    status, _, err = run("channel", "add", "--org", "demo", "--id", "c2", "--slug", "new")
    assert (status, "another channel's" in err) == (2, True)
    assert [each.slug for each in channel_registry.list_channels(read_settings(data=tmp_path / "data"))] == ["new"]


def test_what_is_not_said_of_a_channel_stays(run: Run, tmp_path: Path) -> None:
    """A new slug costs a channel neither its name nor its account; either of them is changed by itself."""
    run("org", "add", "demo")
    add, seen = ("channel", "add", "--org", "demo", "--id", "c1", "--slug"), []
    for words in ("one --name One --account a1", "uno", "uno --name Uno", "uno --account a2"):
        assert run(*add, *words.split())[0] == 0
        seen += [
            (each.slug, each.name, each.account_id)
            for each in channel_registry.list_channels(read_settings(data=tmp_path / "data"))
        ]
    assert seen == [("one", "One", "a1"), ("uno", "One", "a1"), ("uno", "Uno", "a1"), ("uno", "Uno", "a2")]


def test_a_key_is_limited_by_no_name_that_may_mean_two_channels(run: Run) -> None:
    """A slug that is another channel's id stands for neither of them; each can be named by what is its own."""
    run("org", "add", "demo")
    for id_, slug in (("c1", "one"), ("c2", "c1")):
        run("channel", "add", "--org", "demo", "--id", id_, "--slug", slug)
    create = ("key", "create", "--org", "demo", "--permissions", "create_reports", "--channels")
    assert run(*create, "c1")[::2] == (2, "reelport: 'c1' may mean c1 or c2: name each channel by what is its own.\n")
    assert [run(*create, name)[0] for name in ("one", "c2")] == [0, 0]
    assert [key["channels"] for key in json.loads(run("key", "list", "--json")[1])] == [["one"], ["c1"]]


@pytest.mark.parametrize("word", thin_out(["a\nb", " a", "", "x" * 1001, "a\x1b[31m"], 2))
def test_a_channel_has_words_that_can_be_shown(run: Run, word: str) -> None:
    """An id, a slug or a name that breaks a line, has blanks around it or never ends is refused by what it is."""
    run("org", "add", "demo")
    status, out, err = run("channel", "add", "--org", "demo", "--id", word, "--slug", word, "--name", word)
    assert (status, out) == (2, "")
    assert [line.split()[3] for line in err.splitlines()] == ["id", "slug", "name"]


def test_wrong_words_are_all_told_with_the_nearest_right_ones(run: Run) -> None:
    """Every wrong permission and channel is one line on stderr; nothing is printed on stdout, nothing is made."""
    run("org", "add", "demo")
    run("channel", "add", "--org", "demo", "--id", "c1", "--slug", "demo-news")
    wrong = ["--permissions", "create_report,zzz", "--channels", "demo-nws,c9"]
    status, out, err = run("key", "create", "--org", "demo", *wrong)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 4
    assert "Did you mean create_reports?" in err
    assert "Did you mean demo-news?" in err
    said = run("key", "create", "--org", "dmo", "--permissions", "create_report")[2]
    assert ["Did you mean demo?" in said, "Did you mean create_reports?" in said] == [True, True]
    assert len(run("channel", "add", "--org", "dmo", "--id", "a b", "--slug", "x,y")[2].splitlines()) == 3
    assert json.loads(run("key", "list", "--json")[1]) == []


def test_queue_is_listed_shown_and_cancelled(run: Run, tmp_path: Path) -> None:
    """A report is found by its name and by its token; cancelled it has failed and says why."""
    data = tmp_path / "data"
    caller = caller_of(run, data)
    db = connect(read_settings(data=data))
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
    asked = ask_report(db, read_settings(data=data), caller, query, datetime.now(UTC))
    db.dispose()
    (row,) = json.loads(run("queue", "list", "--json")[1])
    assert (row["report"], row["state"], row["place"]) == (asked.id, "queued", 1)
    shown = json.loads(run("queue", "show", asked.token, "--json")[1])
    assert shown["query"]["metrics"] == ["VIEWS"]
    assert "token" not in shown
    assert run("queue", "cancel", asked.id)[0] == 0
    shown = json.loads(run("queue", "show", asked.id, "--json")[1])
    reason = FailureReason.CANCELLED
    assert (shown["state"], shown["reason"]) == ("cancelled", backlog.CANCELLED)
    assert shown["failure"] == {"code": reason.value, "message": backlog.CANCELLED, "advice": reason.advice}
    assert reason.advice in run("queue", "show", asked.id)[1]
    status, _, err = run("queue", "cancel", asked.token)
    assert (status, "ended already" in err) == (2, True)
    assert run("queue", "list")[1] == ""
    assert asked.id in run("queue", "list", "--all")[1]
    assert run("queue", "show", "nobody")[0] == 2


def test_verify_finds_files_that_are_not_as_recorded(run: Run, tmp_path: Path) -> None:
    """A file that is gone, cut, changed or nobody's is told; untouched ones are not."""
    data = tmp_path / "data"
    caller, settings = caller_of(run, data), read_settings(data=data)
    db = connect(settings)
    settings.files_root.mkdir()
    names = []
    for day in range(1, 5):
        on = date(2026, 1, day)
        ask_report(db, settings, caller, ReportQuery.of(["VIEWS"], ["DAY"], on, on), datetime.now(UTC))
        claim = jobs.claim(db, "worker", running=2, lease_seconds=9)
        assert claim is not None
        names.append(f"{claim.report_id}-1.csv")
        (settings.files_root / names[-1]).write_bytes(b"day\n")
        digest = hashlib.sha256(b"day\n").hexdigest()
        jobs.finish(db, claim, FileRecord(names[-1], 0, 4, digest), datetime.now(UTC))
    db.dispose()
    assert run("verify")[0] == 0
    (settings.files_root / names[0]).unlink()
    (settings.files_root / names[1]).write_bytes(b"da")
    (settings.files_root / names[2]).write_bytes(b"dax\n")
    (settings.files_root / "nobody-1.csv").touch()
    status, _, err = run("verify")
    assert status == 1
    assert [word for word in ("gone", "2 bytes", "changed", "no report") if word not in err] == []
    assert names[3] not in err
    assert run("doctor")[0] == 1


def test_verify_tells_of_files_in_no_commit_and_is_content(run: Run, tmp_path: Path) -> None:
    """What a killed command left is told with its reasons, and nothing is wrong with it."""
    (tmp_path / "channels.csv").write_text("id,slug\nc1,demo-news\n")
    assert run("load", "channels", str(tmp_path / "channels.csv"))[0] == 0
    (read_settings(data=tmp_path / "data").facts_root / "channels" / "left.parquet").touch()
    status, out, _ = run("verify")
    assert status == 0
    assert "channels: 1 file in no commit, such as left.parquet" in out


def test_doctor_finds_a_sound_directory_sound(run: Run) -> None:
    """After the first command everything is well; in an empty place it says what is missing."""
    assert run("doctor")[0] == 1
    run("org", "add", "demo")
    assert until(lambda: run("doctor")[0] == 0), run("doctor")  # a disk that others keep busy is a fault, too
    found = json.loads(run("doctor", "--json")[1])
    assert {each["subject"] for each in found} >= {"data directory", "disk", "secret", "database", "engine"}


def test_doctor_finds_an_open_secret(run: Run, tmp_path: Path) -> None:
    """A secret that others can read is a fault, and the cure is named."""
    caller_of(run, tmp_path / "data")
    (tmp_path / "data" / "secret.key").chmod(0o644)
    status, _, err = run("doctor")
    assert (status, "chmod 600" in err) == (1, True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody can write into, root included."""
    bind = ["/usr/bin/env", "mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, check=False, capture_output=True).returncode != 0:
        pytest.skip("a folder can be made read-only for root by root alone")
    try:
        subprocess.run(["/usr/bin/env", "mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "words", thin_out(["org add other", "serve --port 0", "serve --port 0 --workers 0", "worker"], 2)
)
def test_read_only_directory_is_told(run: Run, tmp_path: Path, words: str) -> None:
    """Over a directory that can't be written every command that writes ends with one clear line."""
    caller_of(run, tmp_path / "data")
    with read_only(tmp_path / "data"):
        assert run("key", "list")[0] == 0
        status, _, err = run(*words.split())
    assert (status, len(err.splitlines())) == (1, 1)
    assert err.startswith("reelport: ")
    assert "read-only" in err or "readonly" in err


def test_newer_state_database_is_told_alike_by_serve_and_doctor(run: Run, tmp_path: Path) -> None:
    """No command brings a database back: Reelport is what has to be updated."""
    run("org", "add", "demo")
    with closing(sqlite3.connect(tmp_path / "data" / "state.db")) as state, state:
        state.execute("UPDATE alembic_version SET version_num = '9999'")
    state.close()
    said = [run(*words)[::2] for words in (("serve", "--port", "0"), ("doctor",))]
    sentence = f"The state database is at revision 9999, this version of Reelport knows {REVISION}: update Reelport."
    assert said == [(1, f"reelport: {sentence}\n"), (1, f"reelport: database: {sentence}\n")]


def test_new_directory_in_a_read_only_place_is_told(run: Run, tmp_path: Path) -> None:
    """A data directory that can't be made is one clear line."""
    with read_only(tmp_path):
        status, _, err = run("org", "add", "demo")
    assert (status, len(err.splitlines())) == (1, 1)
    assert str(tmp_path) in err


def test_newer_data_directory_is_refused_by_every_command(run: Run, tmp_path: Path) -> None:
    """A directory of a later version is left as it is."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "layout.json").write_text(json.dumps({"layout": 99}))
    for words in ("org list", "tables", "serve --port 0", "worker", "queue list", "verify", "doctor"):
        status, out, err = run(*words.split())
        assert (status, "newer version" in err) == (1, True), words
        assert not out or words == "doctor", words  # it tells what else it found
    assert [path.name for path in data.iterdir()] == ["layout.json"]


def test_settings_of_serve_are_refused_by_name(run: Run) -> None:
    """A setting out of its bounds is told by the name that it is set by."""
    status, _, err = run("serve", "--port", "99999")
    assert (status, "port" in err) == (2, True)
    said = "REELPORT_WORKER_MEMORY (--worker-memory): It is a number and a unit, such as 2GB, and not 'lots'."
    assert run("serve", "--worker-memory", "lots") == (2, "", f"reelport: {said}\n")


def test_wrong_settings_are_told_all_at_once_by_their_names(tmp_path: Path) -> None:
    """Every wrong flag is one line with its flag and its variable, and no library speaks of itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "reelport", "serve", "--port", "x", "--log-level", "foo", "--data", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2
    assert [line.split(":")[1].strip() for line in ended.stderr.splitlines()] == [
        "REELPORT_PORT (--port)",
        "REELPORT_LOG_LEVEL (--log-level)",
    ]


def list_bare(app: App, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The arguments and options below a command that say nothing of what they take."""
    arguments = app.assemble_argument_collection(parse_docstring=True) if app.default_command is not None else ()
    bare = [(*words, each.name) for each in arguments if each.show and not each.parameter.help]
    below = {name for name in app if not name.startswith("-")}
    return bare + [found for name in sorted(below) for found in list_bare(app[name], (*words, name))]


def test_every_option_of_every_command_is_explained() -> None:
    """Positional arguments too."""
    assert list_bare(APP) == []
