"""Generates the reference page of all settings of the service from their table."""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from reelport.server.settings import Form, Secret, Settings, describe_bounds, variable_name
from reelport.wording import format_markdown_table

READERS = {"service": "service", "worker": "workers", "command": "commands"}
"""Who may read a setting: the name in its declaration, and on the page."""
_UNITS = {"seconds": "seconds", "hours": "hours", "days": "days", "bytes": "bytes", "rate": "bytes a second"}
"""Units of numbers, by the end of a setting's name."""
_GENERATED = "<!-- Made by `make docs` from the table of settings: change `server/settings.py`, not this page. -->"
_INTRODUCTION = """\
Each setting is an environment variable and an option of `reelport serve`: `REELPORT_WORKER_MEMORY` is
`--worker-memory`. `reelport worker` has options for the settings that workers read. An option overrides the variable,
and the variable overrides the default. An empty variable counts as not set. If values are wrong, the process does not
start, and one message lists all wrong values.

**Read by** names the processes: the *service* (`reelport serve` and its API processes), *workers*,
*commands* such as `load`, `key` and `backup`, or *all* of these. `serve` passes its settings to the processes that it
starts. Processes on other machines need the same values.

Other pages have the `AWS_…` variables of [an object store](../operate/object-store.md), the `OTEL_…` variables of
[traces](../operate/monitoring.md#traces), and [the client's settings](client.md).
"""


def format_settings_page() -> str:
    """Format the page as Markdown."""
    kinds, section = get_type_hints(Settings), ""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for field in fields(Settings):
        section = field.metadata["section"] or section
        default = "" if field.default in {None, ""} else f"`{field.default}`"
        named = [name for reader, name in READERS.items() if field.metadata[reader]]
        readers = "all" if len(named) == len(READERS) else ", ".join(named)
        kind = _describe_kind(field, kinds[field.name])
        cells = (f"`{variable_name(field.name)}`", kind, default, readers, str(field.metadata["description"]))
        sections.setdefault(section, []).append(cells)
    head = ("variable", "takes", "default", "read by", "meaning")
    body = "\n\n".join(f"## {section}\n\n{format_markdown_table(head, rows)}" for section, rows in sections.items())
    return f"{_GENERATED}\n\n# Settings of the service\n\n{_INTRODUCTION}\n{body}\n"


def _describe_kind(field: Field[Any], kind: object) -> str:
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is int or kind is float:
        unit = _UNITS.get(field.name.rpartition("_")[2], "a number")
        bounds = describe_bounds(field.metadata).replace(" of at", ", at").replace(" above", ", above")
        if unit == "a number" and bounds:
            return bounds.lstrip(", ")
        return f"whole {unit}{bounds}" if kind is int and unit not in {"a number", "bytes"} else f"{unit}{bounds}"
    if kind is Path:
        return "a path"
    if kind is Secret:
        return f"a text of at least {field.metadata['min_length']} characters"
    form: Form | None = field.metadata["form"]
    return "a text" if form is None else form.words.partition(": ")[0]
