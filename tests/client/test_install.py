"""What a partner gets who installs the client alone: how much, and how fast it is there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from reelport.wording import advise_extra

ROOT = Path(__file__).parents[2]
PACKAGES, MEGABYTES, MODULES = 30, 60, 20
ALONE = {"CONDA_PREFIX", "PYTHONPATH", "PYTHONSTARTUP", "COVERAGE_PROCESS_START"}

# The libraries of the service, and those that a client loads only for who asks for them.
HEAVY = {
    *("alembic", "cyclopts", "deltalake", "dlt", "duckdb", "graphql", "httpx2", "keyring", "pandas"),
    *("polars", "prometheus_client", "psycopg", "pyarrow", "pydantic", "rich", "sqlalchemy", "sqlglot", "starlette"),
    *("structlog", "uvicorn", "resvg_py"),
}


@pytest.fixture(scope="module")
def locked() -> dict[str, Any]:
    """The packages of the lock file by name."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return {package["name"]: package for package in lock["package"]}


@pytest.fixture(scope="module")
def base(locked: dict[str, Any]) -> frozenset[str]:
    """The names of all that `pip install reelport` brings, on whatever system: markers only make it fewer."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    todo: list[tuple[str, tuple[str, ...]]] = [("reelport", ())]
    while todo:
        name, extras = todo.pop()
        found.add((name, extras))
        package = locked[name]
        needed = package.get("dependencies", []) + [
            one for extra in extras for one in package.get("optional-dependencies", {}).get(extra, [])
        ]
        todo += {(one["name"], tuple(one.get("extra", ()))) for one in needed} - found
    return frozenset(name for name, _ in found)


def test_the_client_brings_few_packages(base: frozenset[str]) -> None:
    """Fewer than 30 packages, ours included, and none of the service's or of an extra."""
    assert {"reelport", "httpx2"} <= base
    assert len(base) < PACKAGES
    assert not base & {"duckdb", "starlette", "pyarrow", "pandas", "sqlalchemy", "keyring", "dlt", "pydantic"}


def test_the_client_takes_little_room(base: frozenset[str]) -> None:
    """All of it is below 60 MB on disk, compiled files included."""
    sizes = {name: size_of(name) for name in base}
    assert sum(size is not None for size in sizes.values()) > len(base) / 2, "the base is installed here"
    assert sum(size or 0 for size in sizes.values()) < MEGABYTES << 20, sizes


@pytest.mark.long
def test_an_extra_is_added_where_no_index_has_reelport() -> None:
    """As messages say it: pip keeps the Reelport that is there, and has to find what the extra needs alone."""
    pip, words = [sys.executable, "-m", "pip"], shlex.split(advise_extra("arrow,duckdb").partition(" in the ")[0])
    assert words[:2] == ["pip", "install"]
    command = [*pip, "install", "--no-index", "--dry-run", "--disable-pip-version-check", *words[2:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, "Would install" in done.stdout) == (0, False), done.stderr
    assert "duckdb" in done.stdout


def test_type_checkers_read_its_hints() -> None:
    """Without the marker they take all of it for untyped, and a program that is held to types can't use it."""
    assert files("reelport").joinpath("py.typed").is_file()


def size_of(name: str) -> int | None:
    """The bytes of an installed package's files; None when this system needs it not."""
    if name == "reelport":
        return sum(path.stat().st_size for path in (ROOT / "src" / "reelport").rglob("*") if path.is_file())
    try:
        there = distribution(name).files or []
    except PackageNotFoundError:
        return None
    places = (Path(str(file.locate())) for file in there)
    return sum(place.stat().st_size for place in places if place.is_file())


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ALONE}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_the_client_is_there_at_once() -> None:
    """`import reelport` loads hardly a module beside those that the interpreter has loaded by itself."""
    code = "import sys; before = set(sys.modules); import reelport; print(*set(sys.modules) - before)"
    assert len(python(code).split()) < MODULES


@pytest.mark.parametrize(
    "code",
    [
        "import reelport",
        "import reelport; reelport.ReportQuery.of(['VIEWS'], [], *[__import__('datetime').date.min] * 2)",
    ],
)
def test_the_client_loads_nothing_that_it_does_not_need(code: str) -> None:
    """Neither the service's libraries, nor those of results, nor even the network's before a client is made."""
    loaded = python(f"{code}; import sys; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & HEAVY


@pytest.mark.parametrize(
    ("use", "libraries"), [("client.close()", set()), ("client.with_options(patience=1e-9).probe()", {"httpx2"})]
)
def test_a_client_loads_the_network_alone_once_it_is_used(use: str, libraries: set[str]) -> None:
    """Its HTTP library comes with the first request, and none of the others."""
    code = (
        "import contextlib, reelport, sys\n"
        "client = reelport.Client('http://127.0.0.1:9', 'key', 'secret', ledger=False)\n"
        f"with contextlib.suppress(reelport.Unreachable): {use}\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert set(python(code).split()) & HEAVY == libraries
