"""The tests' PostgreSQL goes with the tests, whatever ends them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import until
from tests.postgresql import find_program

_STARTED = """
import sys
from tests.postgresql import PostgresServer
server = PostgresServer()
server.create()
server.start()
print(server.execute("SHOW data_directory")[0][0], flush=True)
sys.stdin.read()
"""


def test_a_server_ends_with_tests_that_are_killed() -> None:
    """It and its folder are gone: else each killed run would leave one behind."""
    if find_program("initdb") is None:
        pytest.skip("PostgreSQL is not installed: there is no initdb")
    with subprocess.Popen(
        [sys.executable, "-c", _STARTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as tests:
        assert tests.stdout is not None
        data = Path(tests.stdout.readline().strip())
        server = int((data / "postmaster.pid").read_text().split()[0])
        tests.kill()
    assert until(lambda: not data.parent.exists())
    assert until(lambda: not _runs_in(server, data))


def _runs_in(pid: int, folder: Path) -> bool:
    """Whether this process still is the server of the folder."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()).startswith(str(folder))
    except OSError:
        return False
