"""The files that are published: the same bytes each time, whole, and enough where nothing else is installed.

Nothing is fetched: the environments hold the wheel, and links to what its metadata asks for, out of this environment.
`make dist` fetches that from the index instead.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesParser
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
            if missing.name.split(".")[0] not in {"grpc", "obstore", "opentelemetry", "pyspark"}:
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
