"""The script that installs, in an empty root: as the image runs it, and as the operators' pages do.

Packages come from the index. Those that `make setup` fetched for this environment aren't fetched again, unless
`make install-check` asks for all of them.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.deploy.empty_root import TEMPORARY, EmptyRoot, Stage, make_empty_root, parse_containerfile
from tests.operate_pages import read_marked
from tests.patience import PATIENCE

pytestmark = [pytest.mark.long, pytest.mark.nightly]

ROOT = Path(__file__).parents[2]
PLACE = "empty-root"
SOURCE, CACHE, CERTIFICATES = Path("/source"), Path("/cache"), Path("/etc/certificates.pem")
INDEX = "https://pypi.org/simple"
INDEXES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
HOME = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


def commands(page: str) -> list[str]:
    """The commands of a page that are marked for it, in their order."""
    return read_marked(PLACE, page)


@pytest.fixture(scope="module")
def build() -> Stage:
    """The stage of the image that installs."""
    return parse_containerfile(ROOT / "deploy" / "container" / "Containerfile")[0]


@pytest.fixture(scope="module")
def root(build: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyRoot]:
    """An empty root with what the image is built of, and a network."""
    require_index()
    folder, python = tmp_path_factory.mktemp("root"), Path(sys.base_prefix)
    made = make_empty_root(folder, *([] if python.is_relative_to("/usr") else [python]))
    copy_tree(build, folder / SOURCE.relative_to("/"))
    shutil.copy(find_certificates(), folder / CERTIFICATES.relative_to("/"))
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", folder / "etc")
    cache = folder / "nothing" if os.environ.get("REELPORT_INSTALL") == "1" else find_cache()
    cache.mkdir(parents=True, exist_ok=True)
    yield replace(made, shared={cache: CACHE})
    for name in ("opt", "nothing"):  # half a gigabyte for each, which pytest would keep
        shutil.rmtree(folder / name, ignore_errors=True)


def require_index() -> None:
    """Skip where the index gives nothing: the installer itself is always fetched."""
    index = os.environ.get("PIP_INDEX_URL", INDEX)
    trusted = ssl.create_default_context(cafile=find_certificates())
    try:
        urllib.request.urlopen(f"{index.rstrip('/')}/uv/", timeout=PATIENCE, context=trusted).close()
    except OSError as error:
        pytest.skip(f"the package index {index} doesn't answer: {error}")


def find_certificates() -> str:
    """The authorities that this machine believes."""
    return os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")


def find_cache() -> Path:
    """Where this environment's packages were unpacked."""
    words = [str(Path(sys.prefix) / "bin" / "uv"), "cache", "dir"]
    return Path(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip())


def copy_tree(stage: Stage, to: Path) -> None:
    """Do what COPY does."""
    for source, target in stage.copied:
        place = to / target / source if target.endswith("/") else to / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)


def install(root: EmptyRoot, line: str, arguments: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a line that installs, in the source tree."""
    given = {**arguments, **{name: value for name, value in os.environ.items() if name in INDEXES}}
    trusted = {"PIP_CERT": str(CERTIFICATES), "SSL_CERT_FILE": str(CERTIFICATES)}
    path = {"PATH": f"{sys.base_prefix}/bin:{HOME['PATH']}", "HOME": HOME["HOME"]}
    fetched = {"UV_CACHE_DIR": str(CACHE), "UV_LINK_MODE": "copy", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = root.run(f"cd {SOURCE}\n{line}", {**path, **given, **trusted, **fetched}, private_network=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_are_installed_beside_each_other(build: Stage, root: EmptyRoot) -> None:
    """By the steps of the image's first stage, and as the page on upgrades says: both stay, and run by themselves.

    The page on installing has the same line with another directory.
    """
    (run,) = (text for name, text in build.steps if name == "RUN")
    install(root, run, build.arguments)
    (first,), (upgrade,) = commands("install"), commands("upgrade")
    (line, _, _), (same, _, newer) = first.rpartition(" "), upgrade.rpartition(" ")
    assert line == same
    install(root, upgrade)
    for place in ("/opt/reelport", newer):
        tried = root.run(f"{place}/bin/reelport doctor --data {TEMPORARY}/data", HOME)
        assert "DuckDB makes a report" in tried.stdout, tried.stderr
        (libraries,) = (root.folder / place[1:]).glob("lib/python*/site-packages")
        assert (libraries / "reelport").is_dir()
