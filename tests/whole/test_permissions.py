"""Who may read a data directory: its owner alone or its group too, whatever mask the processes were started with."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.fact_rows import make_plays

from reelport.cli.main import main
from reelport.facts.log.commits import CHECKPOINT_EVERY
from reelport.server.doctor.checks import run_checks
from reelport.server.settings import Settings, read_settings
from reelport.testing import Service

from .partner import Partner


@pytest.fixture
def _open_mask() -> Iterator[None]:
    """The mask of a shell that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(data: Path) -> dict[str, int]:
    """The permissions of a data directory and of all in it, by the path within it."""
    found = {}
    for folder, _, files in os.walk(data):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            with suppress(FileNotFoundError):  # what a running service has removed since the listing
                found[str(path.relative_to(data))] = stat.S_IMODE(path.stat().st_mode)
    return found


def told(settings: Settings) -> list[tuple[bool, str]]:
    """What doctor says of who may read."""
    return [(found.well, found.sentence) for found in run_checks(settings) if found.subject == "permissions"]


@pytest.mark.usefixtures("_open_mask")
def test_what_commands_write_is_for_their_owner_alone(tmp_path: Path) -> None:
    """State, secret, tables and their logs."""
    (tmp_path / "channels.csv").write_text("id,slug\nc1,demo-news\n")
    data = tmp_path / "data"
    for words in (
        "org add demo",
        "key create --org demo --permissions create_reports",
        f"load channels {tmp_path / 'channels.csv'}",
    ):
        with pytest.raises(SystemExit, match=r"^0$"):
            main([*words.split(), "--data", str(data)])
    found = modes(data)
    assert {"state.db", "secret.key", "facts/channels/_delta_log"} <= {*found}
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


@pytest.mark.long
@pytest.mark.usefixtures("_open_mask")
@pytest.mark.parametrize(
    ("readable_by", "denied", "folder", "file"),
    thin_out([("owner", 0o077, 0o700, 0o600), ("group", 0o027, 0o750, 0o640)], 2, nightly=True),
)
def test_all_that_is_written_is_for_those_who_may_read_it(
    tmp_path: Path, readable_by: str, denied: int, folder: int, file: int
) -> None:
    """Tables with their logs and checkpoints, state, finished files, spill and what processes know each other by."""
    (tmp_path / "open").mkdir()
    with_setting = Service(tmp_path / "open" / "data", readable_by=readable_by, sweep_seconds=0.5)
    data, environment = with_setting.data, {**os.environ, **with_setting.settings.environment()}
    sample = ["sample", "--start", "2026-01-01", "--end", "2026-01-02", "--rows", "300"]
    for words in (sample, ["compact"], ["key", "create", "--org", "rival", "--permissions", "create_reports"]):
        subprocess.run([sys.executable, "-m", "reelport", *words], env=environment, check=True, capture_output=True)
    with with_setting as service:
        partner = Partner(service, service.key("demo"))
        partner.fetch(partner.ask())
        while_it_runs = modes(data)
        assert told(service.settings)[0][0], "what a running service wrote is neither too open nor too closed"
    assert {name: oct(mode) for name, mode in while_it_runs.items() if mode & denied} == {}
    assert {name for name in ("state.db", "secret.key", "files", "spill", "workers") if name in while_it_runs} >= {
        "state.db",
        "files",
        "spill",
        "workers",
    }
    tables = {name: mode for name, mode in while_it_runs.items() if name.partition("/")[0] in {"facts", "files", "."}}
    assert any(name.endswith(".csv") for name in tables)
    assert {mode for name, mode in tables.items() if (data / name).is_dir()} == {folder}
    assert {mode for name, mode in tables.items() if (data / name).is_file()} == {file}


@pytest.mark.long
@pytest.mark.usefixtures("_open_mask")
def test_a_program_that_loads_by_itself_writes_for_its_owner_alone(tmp_path: Path) -> None:
    """Also a checkpoint, which the library of the log writes; the program's own files are as its mask says."""
    service = Service(tmp_path / "data")
    rows = make_plays([(datetime(2026, 1, 1, tzinfo=UTC), 1)])
    for _ in range(CHECKPOINT_EVERY + 1):
        service.load("plays", rows)
    found = modes(service.data)
    assert any(name.endswith(".checkpoint.parquet") for name in found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    (tmp_path / "own").touch()
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o666
    service.stop()


def test_doctor_tells_what_is_open_and_its_command_mends_it(tmp_path: Path) -> None:
    """From an older version, or copied in by hand: how many, one of them, and one command, for owner and group."""
    for readable_by, wide in (("owner", 0o640), ("group", 0o644)):
        settings = read_settings(data=tmp_path / f"a {readable_by}", readable_by=readable_by)
        (settings.data / "facts" / "plays").mkdir(parents=True)
        (settings.data / "facts" / "plays" / "a.parquet").touch()
        subprocess.run(["/bin/chmod", "-R", "755", str(settings.data)], check=True)
        (settings.data / "facts" / "plays" / "a.parquet").chmod(wide)
        ((well, sentence),) = told(settings)
        assert (well, "4 files and folders" in sentence) == (False, True)
        subprocess.run(["/bin/sh", "-c", sentence.rpartition(": ")[2]], check=True)
        ((well, sentence),) = told(settings)
        assert (well, readable_by in sentence) == (True, True)


def test_doctor_tells_what_its_group_cannot_read_and_its_command_mends_it(tmp_path: Path) -> None:
    """Made for its owner and switched to its group: all that the group should read, and never the secret."""
    made = Service(tmp_path / "a place" / "data", readable_by="owner")
    made.organization("demo")
    made.key("demo")
    for folder in (made.data, made.data / "facts", made.data / "facts" / "plays"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    switched = read_settings(data=made.data, readable_by="group")
    ((well, sentence),) = told(switched)
    assert (well, "closed to its group" in sentence, "REELPORT_READABLE_BY" in sentence) == (False, True, True)
    subprocess.run(["/bin/sh", "-c", sentence.rpartition(": ")[2]], check=True)
    assert [well for well, _ in told(switched)] == [True]
    found = modes(made.data)
    assert (found["."], found["facts/plays"], found["state.db"]) == (0o750, 0o750, 0o640)
    assert found["secret.key"] == 0o600
    made.stop()


def test_doctor_names_the_setting_where_a_group_can_read(tmp_path: Path) -> None:
    """Looked at without the setting under which it was made, nobody is told to close it without a word of that."""
    for folder in (tmp_path / "data", tmp_path / "data" / "facts"):
        folder.mkdir()
        folder.chmod(0o750)
    ((well, sentence),) = told(read_settings(data=tmp_path / "data"))
    assert (well, "REELPORT_READABLE_BY=group" in sentence) == (False, True)
    assert [well for well, _ in told(read_settings(data=tmp_path / "data", readable_by="group"))] == [True]


def test_doctor_tells_what_its_own_user_cannot_use_and_its_command_mends_it(tmp_path: Path) -> None:
    """A state that can't be written, and folders in which the next load could make no file."""
    settings = read_settings(data=tmp_path / "data")
    (settings.facts_root / "plays").mkdir(parents=True)
    settings.state_file.touch()

    def access() -> list[tuple[bool, str]]:
        return [(found.well, found.sentence) for found in run_checks(settings) if found.subject == "access"]

    for path, mode in ((settings.state_file, 0o400), (settings.facts_root / "plays", 0o500)):
        assert [well for well, _ in access()] == [True]
        path.chmod(mode)
        ((well, sentence),) = access()
        assert (well, str(path) in sentence) == (False, True)
        subprocess.run(["/bin/sh", "-c", sentence.rpartition(": ")[2]], check=True)
    assert [well for well, _ in access()] == [True]
