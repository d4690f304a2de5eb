"""`make node`: install the locked programs of npm into .node, where tests find them (140 MB)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKED = ROOT / "supply_chain" / "node"
"""`package.json`, its lock with the hash of every package, and npm's settings."""
HOME = ROOT / ".node"


def is_installed(home: Path = HOME) -> bool:
    """Whether the folder holds what the lock says now."""
    installed = home / "package-lock.json"
    return installed.is_file() and installed.read_bytes() == (LOCKED / "package-lock.json").read_bytes()


def install(home: Path) -> None:
    """Install to `home`, which is whole or not there. No package's own scripts are run."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".node-") as text:
        part = Path(text) / "home"
        shutil.copytree(LOCKED, part)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--loglevel=error"], cwd=part, check=True)  # noqa: S607 - on PATH
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)


if __name__ == "__main__" and not is_installed():
    install(HOME)
