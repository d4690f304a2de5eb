"""The programs of npm for tests, where they are installed."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_MADE = runpy.run_path(str(Path(__file__).parents[1] / "supply_chain" / "node.py"))
HOME: Path = _MADE["HOME"]


def run_node(*words: str | Path, **environment: str) -> str:
    """Run Node.js among the packages and give what it prints; skip the test without them."""
    return _run([_find_node(), *map(str, words)], environment, HOME)


def run_program(name: str, folder: Path, *words: str, **environment: str) -> str:
    """Run an installed program in a folder, from which the packages can be imported."""
    link_packages(folder)
    return _run([_find_node(), str(folder / "node_modules" / ".bin" / name), *words], environment, folder)


def start_node(folder: Path, script: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Start Node.js with a copy of a script in a folder, from which it imports the packages; by pipes, in text."""
    link_packages(folder)
    copied = shutil.copy(script, folder)
    return subprocess.Popen(
        [_find_node(), copied, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def link_packages(folder: Path) -> None:
    """Let programs in a folder use the packages; skip the test without them."""
    _find_node()
    if not (modules := folder / "node_modules").exists():
        modules.symlink_to(HOME / "node_modules")


def _find_node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    if not _MADE["is_installed"]():
        pytest.skip("the programs of npm are not here: make node")
    return node


def _run(words: list[str], environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
