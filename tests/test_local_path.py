"""Addresses of other places are refused wherever a path is taken, and never told whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

import pytest
from tests.cases import thin_out

from reelport.cli.main import main
from reelport.client.files.download_target import resolve_target
from reelport.client.ledger import resolve_ledger
from reelport.client.ranges.run import resolve_folder
from reelport.client.results.tables import Table
from reelport.client.settings.config import HOME, resolve_home
from reelport.errors import UsageError
from reelport.local_path import is_address, is_loopback, refuse_address
from reelport.server.settings import read_settings
from reelport.sync import spec_file

SECRET = "s3cr3t"  # noqa: S105 - of a test
ADDRESSES = (
    f"postgresql://ann:{SECRET}@db.example/x",
    "s3://bucket/prefix/x.csv",
    "file:///tmp/x.csv",
    f"jdbc:postgresql://db.example/x?password={SECRET}",
    "db.example:/srv/x.csv",
    "ann@db.example:/srv/x.csv",
    " GS://bucket",
)
PATHS = (
    "views.csv",
    "/tmp/views.csv",  # noqa: S108 - nothing is written
    "C:\\reports\\views.csv",
    "C:/reports/views.csv",
    "2026-11-30T12:00.csv",
    "views:of:all.csv",
    "reports/s3://bucket",
    "./s3://bucket",
    "",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_told_from_a_path(address: str) -> None:
    """By its scheme, or its host: as a text, and as what became of it where it was made a path."""
    for given in (address, Path(address), PureWindowsPath(address)):
        assert is_address(given)
        with pytest.raises(UsageError, match="is an address, and not a path of this machine") as refused:
            refuse_address(given, "Name a file.")
        assert SECRET not in str(refused.value)
        assert "bucket" not in str(refused.value)


@pytest.mark.parametrize("path", PATHS)
def test_odd_names_are_paths(path: str) -> None:
    """A drive of Windows, and a colon that no slash follows; whatever comes behind a folder."""
    assert not is_address(path)
    assert path.startswith("./") or not is_address(PureWindowsPath(path)), "pathlib drops what stands in front"
    refuse_address(path, "")


def test_a_url_of_a_file_is_told_to_be_written_as_a_path() -> None:
    with pytest.raises(UsageError, match="Write the path itself"):
        refuse_address("file:///srv/views.csv", "Name a file.")


def _read_sheet(address: str) -> None:
    sheet = Path("reelport.toml")
    sheet.write_text(
        f'[reports.views]\nmetrics = ["VIEWS"]\ndimensions = ["DAY"]\nstart = 2026-01-01\ndestination = "{address}"\n'
    )
    try:
        spec_file.read(sheet)
    finally:
        sheet.unlink()


def _write_parquet(address: str) -> None:
    Path("views.csv").write_text("day,views\n2026-01-01,1\n")
    try:
        Table.of("views.csv").parquet(address)
    finally:
        Path("views.csv").unlink()


TAKERS: dict[str, Callable[[str], object]] = {
    "a download": resolve_target,
    "a folder of windows": resolve_folder,
    "a table": Table.of,
    "a table's Parquet": _write_parquet,
    "a ledger": lambda address: resolve_ledger(address, {}, lambda: datetime.now(UTC)),
    "REELPORT_HOME": lambda address: resolve_home({HOME: address}),
    "a sync spec file": spec_file.read,
    "a destination": _read_sheet,
    "REELPORT_DATA": lambda address: read_settings(data=address),
    "REELPORT_FACTS_URL": lambda address: read_settings(facts_url=address.replace("s3:", "az:")),
    "REELPORT_FILES_URL": lambda address: read_settings(files_url=address.replace("s3:", "az:")),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_whatever_takes_a_path_takes_no_address(
    take: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made, no password is told, and what is supported is."""
    monkeypatch.chdir(tmp_path)
    for address in ADDRESSES:
        with pytest.raises(UsageError) as refused:
            take(address)
        assert SECRET not in str(refused.value)
        assert not list(tmp_path.iterdir())


RANGE = "--metrics VIEWS --dimensions DAY --start 2026-01-01 --end 2026-01-02"
COMMANDS = (
    "load plays {}",
    "load plays x.csv --map {}",
    "load plays x.csv --rejects {}",
    "load plays x.csv --data {}",
    "load plays x.csv --suggest-map --map {}",
    "tables --data {}",
    "serve --data {}",
    "serve --facts-url {}x",
    "worker --data {}",
    "backup {}",
    "restore {}",
    "verify-backup {}",
    "verify-backup x --scratch {}",
    "channel add --org demo --from {}",
    "state copy x {}",
    "sync init --file {}",
    "sync run --file {}",
    f"report run {RANGE} -o {{}}",
    f"report run {RANGE} -o {{}} --json",
    f"report run {RANGE} -o {{}} --keep-windows",
    f"report run {RANGE} --chart {{}}",
    "report download abc -o {}",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("address", thin_out(["mysql://ann:s3cr3t@db.example/x", "azure://ann:s3cr3t@bucket/x.csv"], 2))
def test_no_command_takes_an_address_for_a_path(
    command: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is refused as a usage error before anything is made, without the password that is in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELPORT_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as left:
        main(command.format(address).split())
    said = capsys.readouterr()
    assert left.value.code == 2
    assert SECRET not in said.out + said.err
    assert any(what in said.err for what in ("is an address", "It is s3://", "only postgresql://"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST.", "api.localhost", "127.0.0.1", "127.8.0.1", "::1")),
        *((host, False) for host in ("", "localhost.example", "notlocalhost", "10.0.0.1", "0.0.0.0", "128.0.0.1")),  # noqa: S104 - nothing listens
    ],
)
def test_this_machine_is_told_from_others(host: str, *, ours: bool) -> None:
    """By its own addresses and the one name that is never another's: requests there need no TLS."""
    assert is_loopback(host) is ours
