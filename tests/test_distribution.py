"""What is published: the same bytes each time, whole, of pinned and openly licensed parts, looked up for flaws."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import subprocess
import sys
import threading
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.cases import thin_out

ROOT = Path(__file__).parents[1]
DIST: dict[str, Any] = runpy.run_path(str(ROOT / "supply_chain" / "distribution.py"))
MOMENT = 1_700_000_000
IMPORT_ALL = """
import importlib, pkgutil, reelport
for module in pkgutil.walk_packages(reelport.__path__, "reelport."):
    if module.name.split(".")[1] in {"engine", "facts", "server", "storage"} and ".migrations." not in module.name:
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            # What only some operators need is an extra of its own: an object store, Spark, traces.
            if missing.name.split(".")[0] not in {"grpc", "obstore", "opentelemetry", "pyspark", "sqlglot"}:
                raise
print(reelport.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a class of a script
    """The two files of one build."""
    return DIST["build"](tmp_path_factory.mktemp("dist"), MOMENT)


@pytest.mark.long
def test_a_second_build_has_the_same_bytes(built: Any, tmp_path: Path) -> None:  # noqa: ANN401 - see above
    """Whoever builds a release again can compare it with the one that was published."""
    again = DIST["build"](tmp_path, MOMENT)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_both_files_hold_all_sources_and_nothing_else(built: Any) -> None:  # noqa: ANN401 - see above
    """SQL, the schema, templates, styles and migrations are in the wheel, and no file of whoever built it."""
    assert list(DIST["find_faults"](built)) == []
    with zipfile.ZipFile(built.wheel) as wheel:
        kinds = {Path(name).suffix for name in wheel.namelist()}
    assert {".py", ".sql", ".graphql", ".html", ".css", ".js", ".svg"} <= kinds


@dataclass(frozen=True)
class Place:
    """An environment that holds the wheel and what it asks for."""

    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of it, beside nothing of the environment that runs the tests."""
        command = [str(self.folder / "bin" / words[0]), *words[1:]]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "REELPORT_HOME": str(self.folder / "home")}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="module", params=thin_out(["", "server"], 2))
def place(request: pytest.FixtureRequest, built: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Place]:  # noqa: ANN401 - see above
    """An environment without extras, and one with the service's."""
    folder = tmp_path_factory.mktemp("place") / "env"
    venv.create(folder, symlinks=True)
    uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
    install = [str(uv), "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--python", str(python)]
    subprocess.run([*install, str(built.wheel)], check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for found in find_requirements(built.wheel, request.param):
        for name in top_level_names(found):
            if not (site / name).exists():
                (site / name).symlink_to(str(found.locate_file(name)))
    return request.param, Place(folder)


def find_requirements(wheel: Path, extra: str) -> Iterator[Distribution]:
    """All that a wheel asks for with an extra, directly or not; each in a version that suits."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist") or []
    todo = [(Requirement(line), extra) for line in asked]
    known: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted, of_extra = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in known or (wanted.marker and not wanted.marker.evaluate({"extra": of_extra})):
            continue
        known.add(key)
        found = installed(wanted)
        yield found
        todo += [(Requirement(line), each) for line in found.requires or [] for each in ("", *wanted.extras)]


def installed(wanted: Requirement) -> Distribution:
    """What this environment holds of a requirement."""
    try:
        found = distribution(wanted.name)
    except PackageNotFoundError:
        pytest.fail(f"{wanted} is asked for, and not in the lock")
    assert wanted.specifier.contains(found.version, prereleases=True), f"{wanted}, and {found.version} is here"
    return found


def top_level_names(found: Distribution) -> set[str]:
    """The folders and files that a distribution has in site-packages."""
    names = {Path(str(file)).parts[0] for file in found.files or []}
    return names - {"..", "__pycache__"}


def test_the_wheel_says_its_version(place: tuple[str, Place]) -> None:
    """The command is there, and tells the version of pyproject.toml."""
    done = place[1].run("reelport", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, DIST["read_version"]())


def test_the_wheel_does_what_its_extra_is_for(place: tuple[str, Place]) -> None:
    """With the service's, all of it loads; without, the client works, and other commands say what to install."""
    extra, env = place
    if extra:
        done = env.run("python", "-c", IMPORT_ALL)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).is_relative_to(env.folder)
        assert env.run("reelport", "org", "add", "acme", "--data", "d").returncode == 0
        return
    assert "VIEWS" in env.run("reelport", "fields", "list").stdout
    done = env.run("reelport", "org", "list", "--data", "d")
    assert (done.returncode, "pip install 'reelport[server]'" in done.stderr) == (2, True)


SECTION = "\n## 1.2.0 - 2026-12-01\n\n- Added.\n"


@pytest.mark.parametrize(
    ("tags", "changes", "right", "said"),
    [
        ((), "", True, "no release: the commit has no tag v1.2.0"),
        (("nightly",), "", True, "no release"),
        (("v1.2.1",), "", False, "The commit is tagged v1.2.1, and pyproject.toml says 1.2.0."),
        (("v1.2.0",), "# Changelog\n\n## Unreleased\n", False, "CHANGELOG.md has no section '## 1.2.0 - DATE'."),
        (("v1.2.0",), f"# Changelog\n\n## Unreleased\n\n- Mended.\n{SECTION}", False, "changes below '## Unreleased'"),
        (("v1.2.0",), f"# Changelog\n\n## Unreleased\n{SECTION}", True, "1.2.0, the release"),
        (("v1.2.0",), f"# Changelog\n{SECTION}", True, "1.2.0, the release"),
    ],
)
def test_a_tag_that_contradicts_the_version_ends_the_build(
    tags: tuple[str, ...], changes: str, right: bool, said: str
) -> None:
    """Tag, version and changelog are one release, or the build says which of them isn't."""
    found, sentence = DIST["describe_release"]("1.2.0", tags, changes)
    assert (found, said in sentence) == (right, True)


def test_no_index_is_written_into_what_is_published(built: Any) -> None:  # noqa: ANN401 - see above
    """Where the builder's packages come from is the builder's own affair."""
    named = [os.environ[name] for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX") if os.environ.get(name)]
    with zipfile.ZipFile(built.wheel) as wheel:
        texts = [wheel.read(name) for name in wheel.namelist()]
    assert not [address for address in named for text in texts if address.encode() in text]


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
