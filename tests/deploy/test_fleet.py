"""The fleet and the containers for trying: parts end with all that they started, and a drill tells what went wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from deploy.containers.images import name_stand_in
from deploy.containers.machine import hold_lock, require_ports
from deploy.containers.podman import has_image, podman
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


ROOT = Path(__file__).parents[2]
STAND_IN = """#!/bin/sh
sleep 600 &
echo $! > {0}/began
wait
"""
STOPPED = """#!/bin/sh
echo '{"Status": "exited", "Pid": 0, "ExitCode": 1}'
"""
SILENT = """#!/bin/sh
echo "$1" >> {0}/asked
case $1 in image) exit 1 ;; manifest) exec sleep 600 ;; esac
"""
KILL = "from deploy.containers.project import Container; Container('nginx', 'id').kill()"


def put_podman(folder: Path, text: str) -> str:
    """Write a program named podman; the PATH that finds it first."""
    program = folder / "podman"
    program.write_text(text)
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_one_drill_runs_at_a_time(tmp_path: Path) -> None:
    """A second one would take the first one's containers for its own, and delete them."""
    lock = tmp_path / "lock"
    with hold_lock(lock), pytest.raises(FleetError, match="Another drill runs"), hold_lock(lock):
        pass
    with hold_lock(lock):
        pass


def test_a_program_that_was_given_the_lock_keeps_others_away(tmp_path: Path) -> None:
    """Of tests that were killed, it removes the containers still."""
    lock = tmp_path / "lock"
    with hold_lock(lock) as number:
        program = subprocess.Popen(["/usr/bin/env", "sleep", "600"], pass_fds=(number,))
    with program:
        try:
            with pytest.raises(FleetError, match="Another drill runs"), hold_lock(lock):
                pass
        finally:
            program.kill()
    with hold_lock(lock):
        pass


def test_a_stand_in_is_made_anew_when_its_recipe_is_another(tmp_path: Path) -> None:
    """An image that is there is taken by its name: of an older recipe it would be run for ever."""
    (tmp_path / "bin").mkdir()
    for name in ("Containerfile", "bin/start"):
        (tmp_path / name).write_text(name)
    names = [name_stand_in("nginx", "base", tmp_path), name_stand_in("nginx", "another base", tmp_path)]
    for name in ("Containerfile", "bin/start", "bin/new"):
        (tmp_path / name).write_text("changed")
        names.append(name_stand_in("nginx", "base", tmp_path))
    assert len(set(names)) == len(names)
    assert name_stand_in("nginx", "base", tmp_path) == names[-1]
    assert names[0].startswith("localhost/reelport-stand-in-nginx:")


def test_a_taken_port_is_named_before_anything_is_made() -> None:
    """Podman-compose passes over a container that doesn't start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FleetError, match=f"Port {port} can't be had"):
            require_ports([port])
    require_ports([port])


def test_what_podman_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`podman compose` is another program: left alone it would start containers after all were deleted."""
    monkeypatch.setenv("PATH", put_podman(tmp_path, STAND_IN.format(tmp_path)))
    with pytest.raises(FleetError, match="took longer than 2 seconds"):
        podman("compose", "up", seconds=2)
    # On a busy machine it may have been stopped before it started anything.
    started = (tmp_path / "began").read_text().split() if (tmp_path / "began").exists() else []
    assert until(lambda: not any(is_alive(int(pid)) for pid in started))


def test_a_silent_registry_isnt_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be for minutes, for each image: to fetch one may take so long."""
    monkeypatch.setenv("PATH", put_podman(tmp_path, SILENT.format(tmp_path)))
    assert not has_image("docker.io/library/nginx:1.28-alpine", ask_seconds=2)
    assert "pull" not in (tmp_path / "asked").read_text().split()


def test_a_registry_that_tells_nothing_of_an_image_may_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only silence is a reason to take a stand-in."""
    refuses = "#!/bin/sh\ncase $1 in image|manifest) exit 1 ;; esac\n"
    monkeypatch.setenv("PATH", put_podman(tmp_path, refuses))
    assert has_image("docker.io/library/nginx:1.28-alpine")


def test_a_container_that_doesnt_run_isnt_killed(tmp_path: Path) -> None:
    """Its process has the number 0, by which `kill` means the drill with all around it."""
    environment = os.environ | {"PATH": put_podman(tmp_path, STOPPED)}
    words = [sys.executable, "-c", KILL]
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (done.returncode, "nginx doesn't run" in done.stderr) == (1, True)
