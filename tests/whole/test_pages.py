"""What pages show can be read by what it is written for, and names commands and imports that there are.

That all of it runs as written, in its order, is tried by tests of each page.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from supply_chain.pages import find_unknown_commands

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(sh|toml|python)(?: test=[\w-]+)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_of_a_page_can_be_read(page: Path) -> None:
    """Python compiles and finds what it imports of ours, a shell can read its lines, TOML is TOML."""
    assert find_unknown_commands(page.read_text("utf-8")) == []
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        match language:
            case "python":
                assert [name for name in ours(text) if not is_there(name)] == []
            case "sh":
                assert subprocess.run(["/bin/bash", "-n"], input=text, text=True, check=False).returncode == 0, text
            case _:
                assert tomllib.loads(text)


def ours(program: str) -> Iterator[str]:
    """What a program imports of ours, by its whole name."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "reelport":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_there(name: str) -> bool:
    """Whether a module or a package has what is imported from it."""
    module, _, inside = name.rpartition(".")
    return hasattr(import_module(module), inside) or find_spec(name) is not None
