"""The page on crashes: what it shows at a prompt is typed, and ends as the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reelport.testing import Vendor

from .terminal import bare, on_terminal, piped, surroundings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "survive-a-crash.md"

WIDTH = 120
"""Of a terminal that has room for the columns that the page shows."""

pytestmark = pytest.mark.long


def read_prompt(number: int) -> tuple[list[list[str]], str]:
    """The commands of one of the page's prompts, each as the words behind `reelport`, and all that it shows."""
    text = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)[number]
    return [shlex.split(line) for line in re.findall(r"^\$ reelport (.+)$", text, re.MULTILINE)], text


def test_a_wait_that_is_interrupted_ends_as_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same last lines and status; the same command again takes the report up, and leaves the file."""
    (words,), text = read_prompt(0)
    monkeypatch.chdir(tmp_path)
    with Vendor(makes_in=3600) as vendor:
        here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))
        status, drawn = on_terminal(here, *words, keys=(0.2, b"\x03"), at="IN_PROGRESS", columns=300)
        said, _, number = text.partition("^C\n")[2].partition("$ echo $?\n")
        assert (bare(drawn)[-2:], f"{status}\n") == (said.splitlines(), number)
        vendor.makes_in = 0
        assert piped(here, *words).status == 0
        assert len(vendor.asks) == 1
    assert (tmp_path / "october.csv").is_file()


def test_an_ask_of_which_nobody_knows_is_listed_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page shows it: the list has its columns, and what is forgotten is asked for at once."""
    ((words,), _), ((listing, forgetting), text) = read_prompt(0), read_prompt(1)
    monkeypatch.chdir(tmp_path)
    with Vendor(loses_ask="after") as vendor:
        here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))
        assert piped(here, *words).status == 6
        header, line = bare(on_terminal(here, *listing, columns=WIDTH)[1])
        assert header.split() == text.splitlines()[1].split()
        assert re.search(r"^1 +unknown +until \d\d:\d\d UTC .* 2026-10-01\.\.2026-10-31 VIEWS by DAY$", line)
        assert piped(here, *(line.split()[0] if word == "3" else word for word in forgetting)).status == 0
        assert piped(here, *words).status == 0
        assert len(vendor.asks) == 2
