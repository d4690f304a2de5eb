"""The committed page of settings says what the service reads."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from supply_chain.settings_page import READERS, format_settings_page

from reelport.server.settings import Settings, setting_names, variable_name

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "src" / "reelport" / "server"
ROOMS = {
    "service": [
        *(SERVER / room for room in ("http", "graphql", "limits", "explore", "studio", "preview")),
        *(SERVER / f"{name}.py" for name in ("app", "web_server", "api_memory")),
    ],
    "worker": [SERVER / "queue"],
    "command": [ROOT / "src" / "reelport" / "cli" / "service_commands", SERVER / "backup", SERVER / "upgrade"],
}
"""Modules that only one kind of process runs; what the others read of settings tells nothing."""


def test_the_committed_page_is_the_one_made_now() -> None:
    """A page that was not made anew after a change of a setting is told; `make docs` makes it."""
    assert (ROOT / "docs" / "reference" / "settings.md").read_text() == format_settings_page()


def test_every_setting_has_one_row() -> None:
    """Each variable stands in one row, with who reads it and a meaning."""
    rows = [line.strip("| ").split(" | ") for line in format_settings_page().splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"`{variable_name(name)}`" for name in setting_names()]
    assert all(row[3] and row[4].endswith((".", ".)")) for row in rows)


def test_no_default_of_a_secret_is_shown() -> None:
    """A setting that hides its value has no default that the page could show."""
    assert all(not field.default for field in fields(Settings) if not field.metadata["shown"])


@pytest.mark.parametrize("reader", ROOMS)
def test_whoever_reads_a_setting_is_named_as_its_reader(reader: str) -> None:
    """What a room of one kind of process reads is told as read by that kind."""
    files = [file for room in ROOMS[reader] for file in ([room] if room.is_file() else sorted(room.rglob("*.py")))]
    read = set(re.findall(r"settings\.([a-z_]+)\b", "\n".join(file.read_text() for file in files)))
    named = {field.name for field in fields(Settings) if field.metadata[reader]}
    assert read & set(setting_names()) <= named
    assert read & named, "the rooms have moved"
    assert set(READERS) == set(ROOMS)
