"""The operator's pages on traces and Spark: the wheel is installed by pip as they say, and does what they set.

Nothing is fetched: what the wheel asks for is there before, as links out of the environment that runs the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from deploy.fleet.spark_cluster import SparkCluster
from tests.operate_pages import read_marked
from tests.patience import PATIENCE, free_port, until
from tests.server.traces.collector import collecting
from tests.test_distribution import DIST, MOMENT, find_requirements, top_level_names

pytestmark = pytest.mark.long

PLACE = "environment"


def read_commands(page: str) -> list[str]:
    """The commands of a page that are marked for it, in their order."""
    return read_marked(PLACE, page)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel that was built in it."""
    folder = tmp_path_factory.mktemp("checkout")
    DIST["build"](folder / "dist", MOMENT)
    return folder


@pytest.fixture
def environment(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """An environment with pip, and with what the wheel asks for with the service's extra and another one."""
    venv.create(tmp_path / "env", symlinks=True, with_pip=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (wheel,) = (folder / "dist").glob("*.whl")
    for extra in ("server", request.param):
        for found in find_requirements(wheel, extra):
            for name in top_level_names(found):
                if not (site / name).exists():
                    (site / name).symlink_to(str(found.locate_file(name)))
    path = os.pathsep.join((str(tmp_path / "env" / "bin"), "/usr/bin:/bin"))
    offline = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ours = {"REELPORT_DATA": str(tmp_path / "data"), "REELPORT_PORT": str(free_port())}
    return {"PATH": path, "HOME": str(tmp_path), **ours, **offline}


def run(folder: Path, environment: dict[str, str], *lines: str) -> str:
    """Run lines in one shell; give what they printed."""
    words = ["/bin/bash", "-eu", "-c", "\n".join(lines)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(folder: Path, environment: dict[str, str], *lines: str) -> Iterator[str]:
    """A service after these lines of its shell; its address."""
    words = ["/bin/bash", "-eu", "-c", "\n".join([*lines, "exec reelport serve --workers 0"])]
    process = subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{environment['REELPORT_PORT']}"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def is_answered(url: str) -> bool:
    """Whether a request without a key is refused, as it should be."""
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/graphql", b"{}"), timeout=PATIENCE).close()
    except HTTPError as refused:
        return refused.code in {400, 401}
    except URLError:
        return False
    return True


@pytest.mark.parametrize("environment", ["traces"], indirect=True)
def test_traces_are_sent_as_the_page_sets_them(folder: Path, environment: dict[str, str]) -> None:
    """The request's span arrives at the collector that the variable names."""
    install, export = read_commands("monitoring")
    run(folder, environment, install)
    with collecting() as collector:
        export = export.replace("http://collector.internal:4318", collector.url)
        with serving(folder, environment, export) as url:
            assert until(lambda: is_answered(url))
            assert until(lambda: collector.named("POST /graphql"))


@pytest.mark.parametrize("environment", ["spark"], indirect=True)
def test_a_spark_is_set_as_the_page_sets_it(folder: Path, environment: dict[str, str], spark: SparkCluster) -> None:
    """The doctor has a file of the facts read there."""
    install, export, look = read_commands("spark")
    run(folder, environment, install, "reelport sample --start 2026-09-01 --end 2026-09-01 --rows 100")
    export = export.replace("sc://spark.internal:15002", spark.address)
    said = run(folder, environment, export, f"until {look}; do sleep 1; done")
    assert re.search(r"^yes\s+spark\s", said, re.MULTILINE)
