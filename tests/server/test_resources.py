"""What a container allows is what workers take; and a sandbox has organizations that read their sample facts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.patience import until
from tests.sandboxes import END, ROWS, START, begin_sandbox, sample_channels

from reelport.errors import UsageError
from reelport.server.access import organizations
from reelport.server.api_memory import BODIES_BYTES, UNSENT_BYTES, count_api_bytes
from reelport.server.queue.worker_memory import find_fitting_memory
from reelport.server.resources import count_cores, find_memory_limit
from reelport.server.sample_organizations import fill
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect

ALL = len(os.sched_getaffinity(0))
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
UNLIMITED_IN_VERSION_1 = "9223372036854771712"


def write(root: Path, files: dict[str, str]) -> None:
    """Make files with what they hold."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("membership", "files", "cores", "memory"),
    [
        ("0::/", {"cpu.max": "50000 100000", "memory.max": "1073741824"}, 1, 1 << 30),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, ALL, None),
        ("0::/", {"cpu.max": "100001 100000"}, min(2, ALL), None),
        ("0::/pod/me", {"memory.max": "max", "pod/memory.max": "512", "pod/me/memory.max": "1024"}, ALL, 512),
        ("0::/pod/me", {"pod/cpu.max": "20000 100000", "pod/me/cpu.max": "max 100000"}, 1, None),
        # The path is the host's, of which the container sees its own part alone.
        ("0::/docker/abc", {"cpu.max": "50000 100000", "memory.max": "4096"}, 1, 4096),
        (
            "4:memory:/\n3:cpu,cpuacct:/\n0::/",
            {
                "memory/memory.limit_in_bytes": "2048",
                "cpu/cpu.cfs_quota_us": "50000",
                "cpu/cpu.cfs_period_us": "100000",
            },
            1,
            2048,
        ),
        (
            "4:memory:/box\n1:cpu:/box",
            {
                "memory/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1,
                "memory/box/memory.limit_in_bytes": UNLIMITED_IN_VERSION_1,
                "cpu/box/cpu.cfs_quota_us": "-1",
                "cpu/box/cpu.cfs_period_us": "100000",
            },
            ALL,
            None,
        ),
        ("", {}, ALL, None),
    ],
)
def test_the_least_limit_counts(
    membership: str, files: dict[str, str], cores: int, memory: int | None, tmp_path: Path
) -> None:
    """Of the group or of one that it lies in, in both versions; where nothing is limited the machine is."""
    write(tmp_path, {"membership": membership or "0::/", **{f"groups/{name}": text for name, text in files.items()}})
    places = (tmp_path / "membership", tmp_path / "groups")
    assert (count_cores(*places), find_memory_limit(*places)) == (cores, memory)


@pytest.mark.parametrize(
    ("limit", "workers", "fitting"),
    [
        (None, 1, None),
        (8 << 30, 1, None),
        (2_000_000_000, 1, 1_300_000_000),
        (2_000_000_000, 2, 650_000_000),
        (2_000_000_000, 0, 1_300_000_000),
        (100_000_000, 1, 256_000_000),
    ],
)
def test_workers_share_what_the_api_leaves(
    limit: int | None, workers: int, fitting: int | None, tmp_path: Path
) -> None:
    """What is set stays where it fits; a group that is too small for any report is no reason to give nothing."""
    settings = read_settings(
        data=tmp_path,
        worker_memory="2GB",
        processes=2,
        explore_memory=f"{(350_000_000 - UNSENT_BYTES - BODIES_BYTES) / 1000}KB",
    )
    assert find_fitting_memory(settings, workers, limit, count_api_bytes(settings)) == fitting
    if limit == 2_000_000_000:
        assert find_fitting_memory(settings, workers, limit) == (1_000_000_000 if workers == 2 else None)


_LESS = "workers get less memory"


def removed(group: Path) -> bool:
    """Whether a group could be removed: none of its processes is left."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


@pytest.fixture
def held() -> Iterator[list[str]]:
    """The words before a command that hold it in a control group of one core and 1 GiB."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():  # version 2: one folder for all
        limits = [("", "cpu.max", "100000 100000"), ("", "memory.max", str(1 << 30))]
    else:
        limits = [("cpu", "cpu.cfs_quota_us", "100000"), ("memory", "memory.limit_in_bytes", str(1 << 30))]
    made: list[Path] = []
    try:
        for controller, name, value in limits:
            folder = root / controller / f"reelport-test-{os.getpid()}"
            folder.mkdir(exist_ok=True)
            made.append(folder)
            (folder / name).write_text(value)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    else:
        enter = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in dict.fromkeys(made))
        yield ["/bin/sh", "-c", f'{enter}exec "$@"', "sh"]
    finally:
        for folder in dict.fromkeys(made):
            assert until(partial(removed, folder))


def test_the_doctor_tells_what_a_real_group_leaves(held: list[str], tmp_path: Path) -> None:
    """One thread for one core, and what the API leaves of 1 GiB."""
    words = [*held, sys.executable, "-m", "reelport", "doctor", "--data", str(tmp_path)]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert "DuckDB makes a report with 394.0 MB of memory and 1 thread." in done.stdout
    assert "2GB are set: the control group allows all processes 1.1 GB." in done.stdout


@pytest.mark.long
def test_workers_of_a_real_group_get_less_and_start(held: list[str], tmp_path: Path) -> None:
    """The log says how much, and a worker takes it as its setting."""
    words = [*held, sys.executable, "-m", "reelport", "serve", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(json.loads(line))
            if said[-1]["event"] == "worker started":
                break
        process.terminate()
        process.stderr.read()
    (less,) = (line for line in said if line["event"] == _LESS)
    assert (less["set"], less["given"], less["workers"]) == ("2GB", "394.0 MB", 1)
    assert said[-1]["event"] == "worker started"


@pytest.mark.long
def test_an_api_alone_in_a_real_group_says_nothing_of_workers(held: list[str], tmp_path: Path) -> None:
    """Its workers run elsewhere, in groups of their own."""
    words = [*held, sys.executable, "-m", "reelport", "serve", "--port", "0", "--workers", "0", "--data", str(tmp_path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        events = []
        for line in process.stderr:
            events.append(json.loads(line)["event"])
            if events[-1] == "listening":
                break
        process.terminate()
        process.stderr.read()
    assert "listening" in events
    assert _LESS not in events


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(data=tmp_path / "data")


def readable(settings: Settings) -> dict[str, frozenset[str]]:
    db = connect(settings)
    try:
        return {
            found.name: organizations.list_readable_channels(db, found.id)
            for found in organizations.list_organizations(db)
        }
    finally:
        db.dispose()


def test_organizations_may_read_their_sample_channels(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`demo` and `rival` read exactly their own channels, and no other organization is there."""
    begin_sandbox(settings, tmp_path_factory)
    assert readable(settings) == {name: frozenset(ids) for name, ids in sample_channels().items()}


@pytest.mark.long
def test_a_sandbox_that_is_filled_again_stays_as_it_is(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same facts, which `tests/facts/sample` holds to a second call too, and the same organizations."""
    begin_sandbox(settings, tmp_path_factory)
    assert not fill(settings, START, END, ROWS).changed
    assert readable(settings) == {name: frozenset(ids) for name, ids in sample_channels().items()}


def test_a_refused_sample_gives_nobody_access(settings: Settings) -> None:
    """When the sample is refused, no organization is made."""
    with pytest.raises(UsageError):
        fill(settings, END, START, ROWS)
    assert readable(settings) == {}
