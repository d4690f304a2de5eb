"""Checks the paths of a command line, whichever command and option they are for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from reelport.local_path import refuse_address

_ADVICE = {
    "load": "Files of this machine are loaded: fetch it first, such as by `aws s3 cp`, and load the copy.",
    "backup": "A backup goes into a folder of this machine: copy it to another place from there.",
    "restore": "A backup is restored from a folder of this machine: fetch it first.",
}
_OTHERWISE = "Name a file or a folder of this machine."


def refuse_addresses(command: str, arguments: Mapping[str, object]) -> None:
    """Raise UsageError if a parsed argument of this command is an address where a path belongs."""
    for name, value in arguments.items():
        for path in _find_paths(value):
            refuse_address(path, _find_advice(command, name))


def _find_advice(command: str, name: str) -> str:
    if name != "data":
        return _ADVICE.get(command, _OTHERWISE)
    from reelport.server.setting import DATA_ADVICE

    return DATA_ADVICE


def _find_paths(values: object) -> Iterator[Path]:
    """Yield the paths in a parsed argument, also in a group of options."""
    if isinstance(values, Path):
        yield values
    elif dataclasses.is_dataclass(values):
        for field in dataclasses.fields(values):
            yield from _find_paths(getattr(values, field.name))
    elif not isinstance(values, str | bytes | Mapping) and hasattr(values, "__iter__"):
        for value in values:
            yield from _find_paths(value)
