"""The command line itself: unknown words, wrong arguments, help, what a shell completes, the demo's last lines."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starlette.testclient import TestClient
from tests.cases import thin_out

from reelport import AsyncClient, Client, ReportQuery, UsageError
from reelport.cli.demo import tell_of_studio
from reelport.cli.main import CLIENT_COMMANDS, SERVER_COMMANDS, main
from reelport.cli.output.listing import quote_command
from reelport.cli.output.table_view import print_table
from reelport.cli.service_commands.sandbox import make_world
from reelport.client.results.tables import Table
from reelport.facts.layout import check_layout
from reelport.server.app import create_app
from reelport.server.settings import read_settings
from reelport.sync import sync_run
from reelport.testing import Service, Vendor

BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """The status that a command line leaves with, and what it prints."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["feilds"], "fields"),
        (["reprot", "run"], "report"),
        (["CHECK"], "check"),
        (["x" * 5000], "--help"),
        (["\x00\udcff"], "--help"),
        (["fields", "explian", "VIEWS"], "explain"),
        (["auth", "logn"], "login"),
        (["check", "--jsn"], "--json"),
    ],
)
def test_an_unknown_word_gets_the_nearest(capsys: pytest.CaptureFixture[str], words: list[str], near: str) -> None:
    """Status 2, sentences on stderr with what was probably meant, nothing on stdout."""
    status, out, err = ended(capsys, *words)
    assert (status, out) == (2, "")
    assert near in err
    assert all(line.startswith("reelport: ") for line in err.splitlines())


def test_the_help_names_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Partner's and platform's commands stand in groups of their own, each with what it does."""
    status, out, _ = ended(capsys, "--help")
    assert status == 0
    assert all(re.search(rf"^. {name} ", out, re.MULTILINE) for name in CLIENT_COMMANDS | SERVER_COMMANDS)
    assert out.index("For a partner") < out.index("For a platform")
    code = (
        "import sys; from reelport.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    ours = {module for module in loaded if module.startswith("reelport.cli.")}
    assert ours <= {"reelport.cli.main", "reelport.cli.stop_signals"}
    assert not {"httpx2", "keyring", "duckdb", "rich.progress"} & set(loaded)
    # Each is read and run before the first word is printed: this is what the help costs.
    assert len(loaded) < 350


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion script for bash."""
    path = tmp_path_factory.mktemp("bash") / "reelport"
    done = subprocess.run(
        [sys.executable, "-m", "reelport", "completion", "bash"], capture_output=True, text=True, check=True
    )
    path.write_text(done.stdout)
    return path


@pytest.mark.parametrize(
    ("words", "completed"),
    thin_out(
        [
            (["fi"], ["fields"]),
            (["fields", ""], ["list", "explain"]),
            (["report", "run", "--met"], ["--metrics"]),
            (["auth", "login", "--store", ""], ["keyring", "file"]),
        ],
        2,
    ),
)
def test_bash_completes_commands_options_and_words(script: Path, words: list[str], completed: list[str]) -> None:
    """A word of a command, of an option, and of those that an option takes."""
    line = f'source {script}; COMP_WORDS=(reelport "$@"); COMP_CWORD=$#; _reelport; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["/bin/bash", "-c", line, "bash", *words],
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == completed


@pytest.mark.parametrize("shell", thin_out(["zsh", "fish"], 2))
def test_other_shells_have_scripts_too(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """With every command."""
    status, out, _ = ended(capsys, "completion", shell)
    assert status == 0
    assert all(re.search(rf"\b{name}\b", out) for name in CLIENT_COMMANDS | SERVER_COMMANDS)


# Each command in a process of its own, forked from one that has the command line and lacks the service's libraries.
_WITHOUT_LIBRARIES = """
import json, os, sys
sys.modules.update(dict.fromkeys(["sqlalchemy", "duckdb", "pyarrow", "deltalake", "keyring"]))
from reelport.cli.main import main

for number, words in enumerate(json.loads(sys.argv[1])):
    if not os.fork():
        for stream, end in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{end}", os.O_WRONLY | os.O_CREAT), stream)
        main(words)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.long
def test_without_the_services_libraries_a_partner_has_everything(tmp_path: Path) -> None:
    """A platform's command explains itself; run, it names the extra that it needs; completion leaves it out."""
    lines = ["serve --help", "serve", "org list", "tables", "completion fish", "auth login --key k"]
    words = json.dumps([line.split() for line in lines])
    check_layout(tmp_path / "reelport-data")
    ran = subprocess.run(
        [sys.executable, "-u", "-c", _WITHOUT_LIBRARIES, words], cwd=tmp_path, stdout=subprocess.PIPE, check=True
    )
    out, said = ([(tmp_path / f"{at}.{end}").read_text("utf-8") for at in range(len(lines))] for end in ("out", "err"))
    assert [int(status) for status in ran.stdout.split()] == [0, 2, 2, 2, 0, 4]
    assert said[0] == ""
    for at in range(1, 4):
        assert out[at] == ""
        assert "pip install 'reelport[server]'" in said[at]
    assert "fields" in out[4]
    assert "vacuum" not in out[4]
    assert "reelport[keyring]" in said[5]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("words", thin_out(["fields list", "jobs list --json"], 2))
def test_a_stdout_that_takes_no_more_ends_in_a_sentence(words: str) -> None:
    """However little there was to print; and a reader that has had enough ends a command without a word."""
    line = f"{sys.executable} -m reelport {words}"
    full = subprocess.run(["/bin/sh", "-c", f"{line} >/dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (1, "reelport: stdout takes no more: No space left on device.\n")
    enough = subprocess.run(["/bin/sh", "-c", f"{line} | true"], capture_output=True, text=True, check=False)
    assert enough.stderr == ""


@pytest.mark.parametrize("closed", thin_out([">&-", "2>&-", ">&- 2>&-"], 3))
def test_a_stream_that_is_closed_is_written_to_by_nobody(closed: str) -> None:
    """No traceback, and no sentence among the data in the place of an stderr that is none."""
    line = f"{sys.executable} -m reelport"
    done = subprocess.run(["/bin/sh", "-c", f"{line} fields list {closed}"], capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout[:4]) == ("", "kind" if closed == "2>&-" else "")
    done = subprocess.run(["/bin/sh", "-c", f"{line} nothing 2>&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.long
@pytest.mark.parametrize("coding", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_letter_that_an_output_lacks_is_a_question_mark(tmp_path: Path, coding: dict[str, str]) -> None:
    """In the locale C too, for which Python has a rule of its own; no command ends with a traceback."""
    command = [sys.executable, "-m", "reelport", "org"]
    data = {"REELPORT_DATA": str(tmp_path / "data")}
    utf8 = os.environ | data | {"PYTHONUTF8": "1"}
    subprocess.run([*command, "add", "動画 AG"], env=utf8, capture_output=True, check=True)
    done = subprocess.run([*command, "list"], env=os.environ | data | coding, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?? AG" in done.stdout


def test_a_word_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no UTF-8, in a name or in a file's; a program is told as of any mistake."""
    words = ["report", "run", "--metrics", "V\udcff", "--start", "2026-10-01", "--end", "2026-10-03"]
    assert ended(capsys, *words) == (2, "", "reelport: 'V\\udcff' is no text: the command line is read as UTF-8.\n")
    _, out, _ = ended(capsys, *words, "--json", "-o", "ü☃.csv")
    assert json.loads(out)["code"] == "usage"
    assert ended(capsys, "fields", "explain", "ü☃")[2].startswith("reelport: There is no metric")


def test_a_ledger_without_reports_is_said_to_be_empty(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On stderr, with the file that would hold them; as JSON it is an empty list."""
    monkeypatch.setenv("REELPORT_HOME", str(tmp_path / "home"))
    status, out, err = ended(capsys, "jobs", "list")
    assert (status, out) == (0, "")
    assert err.startswith("No report is remembered yet")
    assert str(tmp_path / "home" / "ledger.db") in err
    assert ended(capsys, "jobs", "list", "--json") == (0, "[]\n", "")


def test_a_plan_is_refused_in_options(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a report is: with what would work as the last line."""
    for name in ("URL", "API_KEY", "API_SECRET"):
        monkeypatch.setenv(f"REELPORT_{name}", "http://127.0.0.1:9")
    words = ["--metrics", "VIEWS", "--start", "2026-10-03", "--end", "2026-10-01"]
    status, out, err = ended(capsys, "plan", *words)
    assert (status, out) == (5, "")
    assert err.startswith("reelport: --end: ")
    assert err.endswith("This would work: --metrics VIEWS --start 2026-10-01 --end 2026-10-03\n")


def test_where_one_report_is_too_long_a_shorter_one_would_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`submit` asks for one report: its advice ends on the day that is said to be the last possible."""
    for name in ("URL", "API_KEY", "API_SECRET"):
        monkeypatch.setenv(f"REELPORT_{name}", "http://127.0.0.1:9")
    words = ["--metrics", "VEIWS", "--start", "2025-01-01", "--end", "2026-10-01"]
    status, _, err = ended(capsys, "report", "submit", *words)
    assert status == 5
    assert "end on 2025-06-29 at the latest" in err
    assert err.endswith("This would work: --metrics VIEWS --start 2025-01-01 --end 2025-06-29\n")


def test_every_public_name_is_there_and_costs_nothing_before() -> None:
    """`import reelport` loads none of its modules; each name, and each part, comes when it is used."""
    code = (
        "import sys, reelport\n"
        "before = [name for name in sys.modules if name.startswith('reelport.')]\n"
        "names = [name for name in reelport.__all__ if getattr(reelport, name) is None]\n"
        "print(before, names, reelport.check.problems.__name__, set(reelport.__all__) <= set(dir(reelport)))\n"
        "try: reelport.nothing\n"
        "except AttributeError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[] [] problems True\nmodule 'reelport' has no attribute 'nothing'\n"


def test_a_command_to_go_on_with_can_be_pasted() -> None:
    """Windows' own shell knows no single quotes."""
    words = ["reelport", "report", "run", "-o", "my views.csv"]
    assert quote_command(words, "linux") == "reelport report run -o 'my views.csv'"
    assert quote_command(words, "win32") == 'reelport report run -o "my views.csv"'


@pytest.mark.parametrize("query", [None, "VIEWS", {"metrics": ["VIEWS"]}, [], ReportQuery])
@pytest.mark.parametrize("method", ["run", "run_range", "submit", "plan"])
def test_what_is_no_query_is_refused(tmp_path: Path, method: str, query: object) -> None:
    """None, a text, what goes over the wire: the error says what a query is made by."""
    with Client("http://127.0.0.1:1", "key", "secret", ledger=tmp_path / "ledger.db") as client:
        to = [tmp_path / "views.csv"] if method.startswith("run") else []
        with pytest.raises(UsageError, match=r"ReportQuery\.of"):
            getattr(client.reports, method)(query, *to)


NO_DEADLINES = [0, -1, float("nan"), float("-inf"), 10**400, True, "5", b"5", None, timedelta(0), timedelta(days=-1)]


@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=lambda deadline: f"{deadline!r:.20}")
def test_a_deadline_that_is_none_is_refused(tmp_path: Path, deadline: float) -> None:
    """What is no time, or none that lies ahead, is no deadline for any method."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 7))
    with Client("http://127.0.0.1:1", "key", "secret", ledger=tmp_path / "ledger.db") as client:
        reports = client.reports
        calls: list[Callable[[], object]] = [
            lambda: reports.submit(query, deadline=deadline),
            lambda: reports.run(query, tmp_path / "views.csv", deadline=deadline),
            lambda: reports.run_range(query, tmp_path / "views.csv", deadline=deadline),
            lambda: reports.attach("R").wait(deadline=deadline),
            lambda: sync_run.run([], client, deadline=deadline),
            lambda: asyncio.run(_twin(query, tmp_path / "views.csv", deadline)),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="A deadline is a number of seconds above 0"):
                call()
        assert client.reports.plan(query).windows[0].token is None


async def _twin(query: ReportQuery, to: Path, deadline: float) -> None:
    async with AsyncClient("http://127.0.0.1:1", "key", "secret", ledger=False) as client:
        await client.reports.run(query, to, deadline=deadline)


@pytest.mark.parametrize("settings", [5, {"url": "http://127.0.0.1:1"}])
def test_what_is_no_settings_is_refused(settings: object) -> None:
    """A client is not made of any value."""
    made: Any = Client
    with pytest.raises(UsageError, match="Settings"):
        made(settings=settings, ledger=False)


@pytest.mark.parametrize("folder", ["\0", "~nobody-of-that-name/windows"])
def test_what_names_no_folder_is_refused(folder: str) -> None:
    """Windows that are kept apart need a folder that can be."""
    query: Any = None
    with Client("http://127.0.0.1:1", "key", "secret", ledger=False) as client, pytest.raises(UsageError):
        client.reports.run_range(query, folder, keep_windows=True)


def test_a_closed_client_asks_for_nothing(tmp_path: Path) -> None:
    """It says that it is closed, and leaves nothing behind that would keep another one from asking."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 7))
    with Vendor() as vendor:
        with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
            client.probe()
        with pytest.raises(UsageError, match="was closed"):
            client.reports.run(query, tmp_path / "views.csv")
        with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as another:
            assert another.reports.run(query, tmp_path / "views.csv").rows == 7


def test_a_closed_client_of_asyncio_asks_for_nothing() -> None:
    """The twin says the same."""

    async def go() -> None:
        async with AsyncClient("http://127.0.0.1:1", "key", "secret", ledger=False) as client:
            pass
        await client.probe()

    with pytest.raises(UsageError, match="was closed"):
        asyncio.run(go())


@pytest.mark.long
def test_the_demo_ends_by_saying_how_to_open_studio_and_sign_in(tmp_path: Path) -> None:
    """The program is there, and an API over the folder that is named lets in whom it names."""
    service, said = Service(tmp_path / "demo-output" / "service", workers=0), io.StringIO()
    console = Console(file=said, width=80)
    tell_of_studio(console, service.data, make_world(console, service, rows=100, days=1).password)
    found = re.search(
        r"(\S+) serve --data (\S+)\n +page +\S+/studio\n +e-mail +(\S+)\n +password (\S+)\n", said.getvalue()
    )
    assert found, said.getvalue()
    program, data, email, password = found.groups()
    assert Path(program).is_file()
    with TestClient(create_app(read_settings(data=Path(data), workers=0))) as browser:
        csrf = browser.get("/studio").text.partition('name="csrf" value="')[2].partition('"')[0]
        page = browser.post("/studio/sign-in", data={"csrf": csrf, "email": email, "password": password}).text
    assert "Sign out" in page


def test_a_table_leaves_the_width_of_its_console(tmp_path: Path) -> None:
    """The chart below it is drawn in that width, also where there is no terminal."""
    (tmp_path / "views.csv").write_text("day,views\n2026-07-01,3\n")
    console = Console(file=io.StringIO(), width=80)
    print_table(console, Table.of(tmp_path / "views.csv"), 1)
    assert console.width == 80
