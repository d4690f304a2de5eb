"""What ends a drill of containers before it hurts others: refusals, and programs that are stopped as a whole."""

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
from deploy.fleet.part import FleetError
from tests.deploy.programs import is_alive
from tests.patience import until

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
