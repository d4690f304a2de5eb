"""Output that isn't taken whole: by a reader that goes early, as `head` does, or by a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.testing import Vendor

from .terminal import surroundings

pytestmark = pytest.mark.long

CLOSED = 141
HEADER = b"day,video_title,views\n"
ASK = "report run --metrics VIEWS --dimensions DAY,VIDEO_TITLE --start 2026-01-01 --end 2026-01-07 --quiet"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a partner whose report is longer than a pipe holds."""
    rows = HEADER + b"2026-01-01,a title,1\n" * 20_000
    with Vendor(csv=lambda _: rows) as vendor:
        yield surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))


def ended(here: Mapping[str, str], words: str, *, reads: int) -> tuple[int, bytes]:
    """The status and the last words of a command whose reader takes some bytes of its output, and goes."""
    reader, writer = os.pipe()
    if not reads:
        os.close(reader)
    command = [sys.executable, "-m", "reelport", *words.split()]
    with subprocess.Popen(command, env=here, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        if reads:
            assert os.read(reader, reads)
            os.close(reader)
        _, said = process.communicate(timeout=300)
    return process.returncode, said


@pytest.mark.parametrize("words", thin_out(["--help", "fields list", f"{ASK} --format table", "jobs list --json"], 2))
def test_a_reader_who_has_gone_is_no_error(here: dict[str, str], words: str) -> None:
    """Of help, of lists, of a table."""
    assert ended(here, words, reads=0) == (CLOSED, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("form", thin_out(["csv", "csv --excel-safe", "ndjson"], 2))
def test_a_report_that_was_not_taken_whole_is_not_done(here: dict[str, str], form: str, unbuffered: str) -> None:
    """Where Python buffers nothing, too: the system's write takes a part then, and says how much alone."""
    words = f"{ASK} --format {form}"
    assert ended(here | {"PYTHONUNBUFFERED": unbuffered}, words, reads=len(HEADER)) == (CLOSED, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", thin_out([f"{ASK} --format json", "--help", "fields list", "--version"], 4))
def test_a_full_disk_is_told_in_a_line(here: dict[str, str], words: str, unbuffered: str) -> None:
    """Nothing of Python's own end beside it, which would be status 120."""
    command = [sys.executable, "-m", "reelport", *words.split()]
    with Path("/dev/full").open("wb") as full:
        outside = here | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, env=outside, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    told = done.stderr.splitlines()
    assert (done.returncode, told[0]) == (1, "reelport: stdout takes no more: No space left on device.")
    assert all(line.startswith("reelport: To continue: ") for line in told[1:])
