"""What Reelport is built on: pinned by hash, licensed in the open, looked up in a database of advisories."""

from __future__ import annotations

import csv
import json
import re
import runpy
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cases import thin_out

ROOT = Path(__file__).parents[1]
SUPPLY_CHAIN = ROOT / "supply_chain"
PINNED = re.compile(r"^[a-z-]+==[0-9.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+\Z", re.MULTILINE)


@pytest.fixture(scope="module")
def lock() -> list[dict[str, Any]]:
    """The packages of the lock file."""
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    return packages


@contextmanager
def advisory_database(status: int, vulnerable: str = "") -> Iterator[str]:
    """A database in the form of OSV's on a free port, with one advisory for one package; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            self.answer({"results": [found(query["package"]["name"]) for query in asked]})

        def do_GET(self) -> None:
            self.answer({"id": "TEST-1", "modified": "2026-01-01T00:00:00Z", "summary": "It forgets its keys"})

        def answer(self, content: Mapping[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    def found(name: str) -> dict[str, Any]:
        return {"vulns": [{"id": "TEST-1", "modified": "2026-01-01T00:00:00Z"}]} if name == vulnerable else {}

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def check_advisories(url: str) -> subprocess.CompletedProcess[str]:
    """Run `make advisories` against another database."""
    words = [sys.executable, str(SUPPLY_CHAIN / "advisories.py"), "--service-url", url]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_lock_without_advisories_passes_in_silence() -> None:
    """Nothing is said when the database was asked and knows nothing."""
    with advisory_database(200) as url:
        done = check_advisories(url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_advisory_fails_the_check_and_names_its_package() -> None:
    """A locked package with an advisory ends the check with what is known of it."""
    with advisory_database(200, vulnerable="starlette") as url:
        done = check_advisories(url)
    assert done.returncode == 1
    assert "starlette" in done.stderr
    assert "It forgets its keys" in done.stderr


@pytest.mark.parametrize("status", thin_out([403, 503], 2))
def test_a_database_that_cannot_be_had_is_told_and_lets_pass(status: int) -> None:
    """A closed network fails no check, but nobody is told that all is well."""
    with advisory_database(status) as url:
        done = check_advisories(url)
    assert done.returncode == 0
    assert "NOT CHECKED" in done.stderr


def test_the_installer_is_pinned_by_hash() -> None:
    """`make setup` begins with one version of uv, each of whose files has its hash."""
    lines = (SUPPLY_CHAIN / "uv.txt").read_text("utf-8").splitlines(keepends=True)
    assert PINNED.match("".join(line for line in lines if not line.startswith("#")))
    assert "--require-hashes -r supply_chain/uv.txt" in (ROOT / "Makefile").read_text("utf-8")


def test_the_build_backend_is_the_locked_one(lock: list[dict[str, Any]]) -> None:
    """What builds the package has one version, whose files' hashes stand in the lock."""
    system = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    locked = {f"{package['name']}=={package['version']}": package for package in lock}
    assert system["requires"] == [name for name in locked if name.startswith("hatchling==")]
    assert all(wheel["hash"] for name in system["requires"] for wheel in locked[name]["wheels"])
    assert "--no-build-isolation -e ." in (ROOT / "Makefile").read_text("utf-8")


def test_the_programs_of_npm_are_pinned_by_hash() -> None:
    """Each package of their lock has its hash, and none the address of a registry: the machine's is used."""
    text = (SUPPLY_CHAIN / "node" / "package-lock.json").read_text("utf-8")
    packages: dict[str, dict[str, Any]] = json.loads(text)["packages"]
    asked = json.loads((SUPPLY_CHAIN / "node" / "package.json").read_text("utf-8"))["dependencies"]
    assert packages.pop("")["dependencies"] == asked
    assert all(version[0].isdigit() for version in asked.values())
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


def test_the_copies_of_graphiql_are_the_pinned_files() -> None:
    """Nothing was changed in what a browser is given, and the licence of each package is beside it."""
    made = runpy.run_path(str(SUPPLY_CHAIN / "graphiql.py"))
    assert list(made["find_faults"](made["TARGET"])) == []
    licences = (made["TARGET"] / made["LICENCES"]).read_text("utf-8")
    for copy in made["COPIES"]:
        assert f"{copy.package}\n\nMIT License\n" in licences


def test_the_list_of_licences_tells_the_lock(lock: list[dict[str, Any]]) -> None:
    """`make licences` has been run after the last change of the lock: every package, version and purpose."""
    packages = runpy.run_path(str(SUPPLY_CHAIN / "licences.py"))["read_lock"](ROOT / "uv.lock")
    with (SUPPLY_CHAIN / "licences.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    told = [(package.name, ", ".join(package.versions), ", ".join(package.purposes)) for package in packages]
    assert [(name, versions, purposes) for name, versions, _, purposes in rows] == told
    assert all(licence for _, _, licence, _ in rows)
    assert {name for name, *_ in rows} == {package["name"] for package in lock} - {"reelport"}
