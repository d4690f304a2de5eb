"""The command of assistants where it can't run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WITHOUT = "import sys; sys.modules['mcp'] = None\nfrom reelport.cli.main import main; main()"


def test_without_its_library_the_command_names_the_extra_to_install(tmp_path: Path) -> None:
    """Python's own sign for a library that isn't there; the client's other commands need none of it."""
    user = {"REELPORT_HOME": str(tmp_path), "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": "s"}
    words = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run([*words, "mcp"], env=user, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'reelport[mcp]'" in done.stderr
    assert subprocess.run([*words, "fields", "list"], env=user, capture_output=True, check=True).stdout


def test_without_a_key_the_command_ends_before_it_serves(tmp_path: Path) -> None:
    """The program that starts it sees the reason at once, and no answer of the protocol."""
    words = [sys.executable, "-m", "reelport", "mcp"]
    user = {"REELPORT_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(words, env=user, input="", capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (4, "")
    assert "REELPORT_API_KEY" in done.stderr
