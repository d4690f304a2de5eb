"""Which libraries each command and each process may load: what is imported is most of what a start costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.cli.main import CLIENT_COMMANDS, SERVER_COMMANDS
from reelport.testing import Vendor

Loaded = Callable[[str], set[str]]

# What takes longer than a hundredth of a second to import.
TRACKED = {
    *(
        "alembic",
        "asyncio",
        "cyclopts",
        "deltalake",
        "dlt",
        "duckdb",
        "graphql",
        "httpx2",
        "keyring",
        "obstore",
        "opentelemetry",
    ),
    *("numpy", "pandas", "polars", "prometheus_client", "psycopg", "pyarrow", "pydantic", "rich", "sqlalchemy"),
    *("sqlglot", "starlette", "structlog", "uvicorn", "resvg_py", "webauthn"),
}
HELP = {"cyclopts", "rich"}
STATE = {"cyclopts", "sqlalchemy", "asyncio"}  # SQLAlchemy imports asyncio
READ = {"cyclopts", "deltalake"}
ROWS = READ | {"pyarrow"}
SERVICE = STATE | {"structlog", "rich"}  # structlog imports rich

COMMANDS = {
    **{f"{name} --help": HELP for name in ("", *CLIENT_COMMANDS, *SERVER_COMMANDS)},
    "--version": HELP,
    "org list": STATE,
    "org add other": STATE,
    "key list": STATE,
    "key create --org acme --permissions create_reports": STATE,
    "key revoke nobody": STATE,
    "channel list --org acme": STATE | READ,
    "channel remove --org acme --id c9": STATE,
    "org max-key-age acme 90": STATE,
    "user list": STATE,
    "key rename nobody other": STATE,
    "key rotate nobody": STATE,
    "audit": STATE,
    "queue list --all": STATE,
    "queue show nobody": STATE,
    "queue cancel nobody": STATE,
    "tables": READ,
    "load list": READ,
    "serve --host 203.0.113.1": STATE
    | {"structlog"},  # an address of another machine: it ends before the workers start
    "channel add --org acme --id c1 --slug one": STATE | ROWS | {"duckdb"},  # it loads a row
    "channel add --org acme --id c0 --slug zero": STATE | READ,  # a known one
    "key create --org acme --permissions create_reports --channels zero": STATE | READ,
    "key list --json": STATE | READ,  # a key limited to channels is shown with their slugs
    "channel list --org acme --json": STATE | READ,
}
API_PROCESS = "reelport.server.api_process 999"  # one that ends at a socket that it has not inherited
WORKER = "reelport.server.queue.worker_main nobody --isolated"  # one that ends when no suspect is due
MODULES = {
    WORKER: STATE | {"structlog", "duckdb"},
    API_PROCESS: STATE | {"structlog", "deltalake", "graphql", "prometheus_client", "starlette", "uvicorn"},
    "reelport.server.serve": SERVICE,  # until the workers start
    "reelport.server.web_server": SERVICE | {"deltalake", "graphql", "prometheus_client", "starlette", "uvicorn"},
    "reelport.server.queue.worker": SERVICE | {"duckdb"},
    "reelport.testing.service": STATE,
}

# Run before all others.
SETUP = ("org add acme", "channel add --org acme --id c0 --slug zero")

# Each in a process of its own, forked from one that has the command line's own libraries.
_RUN = """
import contextlib, importlib, json, os, runpy, sys
from reelport.cli.main import main

def run(words):
    if words[0].startswith("reelport.") and words[1:]:
        sys.argv = words
        os.dup2(os.pipe()[0], 0)  # a worker ends with its standard input, which nobody closes here
        with contextlib.suppress(OSError):
            runpy.run_module(words[0], run_name="__main__")
    elif words[0].startswith("reelport."):
        importlib.import_module(words[0])
    else:
        with contextlib.suppress(SystemExit):
            sys.argv = ["reelport", *words]
            main()

for words in json.loads(sys.argv[1]):
    if not os.fork():
        said = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        run(words)
        loaded = {name.split(".")[0] for name, module in sys.modules.items() if module}
        os.write(said, (" ".join(loaded) + "\\n").encode())
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The tracked libraries that a command or a module has loaded at its end, of those that tests ask for."""
    wanted = {text for item in request.session.items if item.path == request.path for text in _params(item)}
    asked = [text for text in (*COMMANDS, *MODULES) if text in wanted]
    data = tmp_path_factory.mktemp("data")
    words = [text.split() for text in (*SETUP, *asked)]
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(words)],
        check=True,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin", "REELPORT_DATA": str(data), "REELPORT_HOME": str(data / "home")},
        text=True,
    )
    found = dict(zip(asked, ran.stdout.splitlines()[len(SETUP) :], strict=True))
    return lambda text: TRACKED & set(found[text].split())


def _params(item: pytest.Item) -> Iterable[object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params.values() if callspec else ()


@pytest.mark.parametrize(
    "words",
    [
        *thin_out((words for words in COMMANDS if words.endswith("--help")), 7, nightly=True),
        *thin_out((words for words in COMMANDS if not words.endswith("--help")), 7),
    ],
)
def test_a_command_loads_only_what_it_needs(loaded: Loaded, words: str) -> None:
    """The table says which; nothing of the service for a partner, no engine where nothing is computed."""
    assert loaded(words) <= COMMANDS[words]


@pytest.mark.parametrize("module", thin_out(MODULES, 2))
def test_a_process_of_the_service_loads_only_what_it_needs(loaded: Loaded, module: str) -> None:
    """A worker has no web framework and no Delta library, the API no engine, neither of them pyarrow."""
    assert loaded(module) <= MODULES[module]


_WEEK = ["--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-10-01", "--end", "2026-10-07"]
_CALL = """
import sys
from reelport.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code, *sys.modules, file=sys.stderr)
"""


def modules_after(vendor: Vendor, folder: Path, *words: str) -> set[str]:
    """The modules that a command has loaded at its end, with its output in a pipe."""
    key = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    ran = subprocess.run(
        [sys.executable, "-c", _CALL, *words],
        env={"PATH": "/usr/bin", "REELPORT_HOME": str(folder / "home")} | key,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    status, *modules = ran.stderr.splitlines()[-1].split()
    assert status == "0"
    return set(modules)


def test_a_report_in_a_pipe_draws_nothing_and_merges_nothing(tmp_path: Path) -> None:
    """Neither charts nor tables of a terminal, nor what a range of several windows needs, are loaded."""
    with Vendor() as vendor:
        loaded = modules_after(vendor, tmp_path, "report", "run", *_WEEK)
    assert "httpx2" in loaded
    assert not {"rich", "asyncio", "duckdb", "numpy", "pyarrow"} & loaded
    assert not {each for each in loaded if each.startswith(("reelport.charts", "reelport.cli.output.chart"))}
    assert not {f"reelport.client.ranges.{each}" for each in ("run", "merge")} & loaded
    assert not {"tomllib", "reelport.client.results.tables", "reelport.client.results.typed_rows"} & loaded


def test_a_plan_loads_no_client(tmp_path: Path) -> None:
    """It calls nothing, so it loads nothing that could: half of the modules that a report needs."""
    with Vendor() as vendor:
        loaded = modules_after(vendor, tmp_path, "plan", *_WEEK)
    assert not {"httpx2", "rich", "ssl", "http.client", "asyncio", "statistics"} & loaded
    assert not {each for each in loaded if each.startswith(("reelport.client.flows", "reelport.client.drivers"))}


@pytest.mark.parametrize("words", [("fields", "list", "metrics"), ("fields", "explain", "NOTHING_LIKE_IT")])
def test_a_partners_command_ends_without_taking_python_apart(words: tuple[str, ...]) -> None:
    """All that it said is there, its status too, and what would run at Python's own end doesn't."""
    code = "import atexit; atexit.register(print, 'taken apart')\nfrom reelport.__main__ import run; run()"
    ends = [
        subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, check=False)
        for start in (["-c", code], ["-c", "from reelport.cli.main import main; main()"])
    ]
    assert ends[0].stdout or ends[0].stderr
    assert (ends[0].returncode, ends[0].stdout, ends[0].stderr) == (ends[1].returncode, ends[1].stdout, ends[1].stderr)
