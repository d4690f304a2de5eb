"""The fleet for trying: a part ends with all that it started, and the drill tells what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deploy.fleet.drill import Findings
from deploy.fleet.part import FleetError, Part
from deploy.fleet.programs import make_gateway, make_nginx
from deploy.fleet.spark_cluster import SparkCluster
from tests.deploy.programs import find_tool, is_alive
from tests.patience import until

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def part(folder: Path, program: str) -> Part:
    """A part that is ready once it has printed something."""
    made = Part("part", [sys.executable, "-c", program], folder, lambda: made.log.stat().st_size > 0)
    return made


def test_a_killed_part_takes_with_it_what_it_started(tmp_path: Path) -> None:
    """As a machine that goes dark does; and it can be started again."""
    made = part(tmp_path, _PARENT)
    for _ in range(2):
        made.start()
        child = int(made.log.read_text().split()[-1])
        assert is_alive(child)
        made.kill()
        assert until(lambda child=child: not is_alive(child))  # type: ignore[misc]  # mypy has no type for such a lambda
        made.log.write_text("")


def test_a_part_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    """Whoever tries the fleet must see which part, and where it says why."""
    with pytest.raises(FleetError, match=rf"part ended with status 3; its log: {tmp_path}/part.log"):
        part(tmp_path, "import sys; sys.exit(3)").start()


def test_a_spark_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    """It isn't waited for: here Java finds no program to run."""
    find_tool("java", "openjdk-17-jre-headless")
    with pytest.raises(FleetError, match=r"master ended before it was ready: .*\.deploy\.master\.Master"):
        SparkCluster(tmp_path, tmp_path).start()


def test_nginx_takes_what_is_made_of_the_example(tmp_path: Path) -> None:
    """Both API processes are in it."""
    find_tool("nginx", "nginx")
    made, port, certificate = make_nginx(tmp_path, [20001, 20002])
    checked = subprocess.run([*made.command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    text = (tmp_path / "reelport.conf").read_text()
    assert [f"127.0.0.1:{each}" in text for each in (20001, 20002, port)] == [True, True, True]
    assert certificate.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_nginx_takes_the_way_to_the_object_store(tmp_path: Path) -> None:
    """It can be killed without what the stand-in behind it holds."""
    find_tool("nginx", "nginx")
    made, address = make_gateway(tmp_path, "http://127.0.0.1:20003")
    checked = subprocess.run([*made.command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    text = (tmp_path / f"{made.name}.conf").read_text()
    assert ("proxy_pass http://127.0.0.1:20003;" in text, address.removeprefix("http://") in text) == (True, True)


def test_a_drill_tells_what_was_lost_doubled_or_different() -> None:
    """Each in a sentence; a good one tells nothing."""
    good = Findings({("demo", 0): "a"}, [("demo", 0, "a")], asked=1, reports=2)
    assert not good.problems
    wrong = Findings({("demo", 0): "a"}, [("demo", 0, "b")], ["demo: refused"], asked=3, reports=5, jobs=1)
    assert wrong.problems == [
        "demo: refused",
        "1 files differ from those made before the kills",
        "3 reports were asked for, 1 fetched",
        "the state has 5 reports, not 4",
        "1 jobs are left in the queue",
    ]


@pytest.mark.skipif("REELPORT_FLEET" not in os.environ, reason="takes minutes: make fleet")
def test_the_fleet_loses_nothing() -> None:
    """The whole of it, as `make fleet` runs it."""
    done = subprocess.run([sys.executable, "-m", "deploy.fleet"], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
