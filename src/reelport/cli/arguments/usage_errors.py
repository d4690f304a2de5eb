"""Explain a wrong command line: unparsed words, addresses as paths, several errors."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from reelport.errors import AccessError, QueryRefused, ReelportError, UsageError
from reelport.local_path import refuse_address
from reelport.similar_names import nearest

if TYPE_CHECKING:
    from cyclopts import Argument


def refuse_together(*checks: Callable[[], object], beside: Sequence[Callable[[], object]] = ()) -> None:
    """Run the checks; raise one error unchanged, several as one UsageError with all lines.

    Checks in `beside` run only where another has failed: they cost more, and the command makes them later anyway.
    """
    errors = [error for check in checks if (error := find_error(check)) is not None]
    if errors:
        errors += [error for check in beside if (error := find_error(check)) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UsageError("\n".join(dict.fromkeys(line for error in errors for line in str(error).splitlines())))


def find_error(check: Callable[[], object]) -> ReelportError | None:
    """Run a check; return its UsageError, AccessError or QueryRefused, if any."""
    try:
        check()
    except (UsageError, AccessError, QueryRefused) as error:
        return error
    return None


# What an option takes, by its type, where cyclopts would name the type.
_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    date: "a day as YYYY-MM-DD",
    datetime: "a moment as YYYY-MM-DDTHH:MM:SS",
}


def describe_syntax_error(error: CycloptsError) -> str:
    """Describe the error in a sentence; cyclopts' own where that needs no knowledge of Python."""
    command = shlex.join(["reelport", *(error.command_chain or ())])
    match error:
        case MissingArgumentError(argument=argument) if argument is not None:
            value = "" if argument.field_info.is_positional else "a value for "
            what = f": {argument.parameter.help.rstrip('.')}" if argument.parameter.help else ""
            _, meant, near = str(error).partition(" Did you mean ")
            return f"`{command}` needs {value}{_format_argument(argument)}{what}.{meant}{near} See `{command} --help`."
        case UnknownOptionError(token=token):
            word = (token.keyword or token.value).partition("=")[0]
            if word == "-":
                return "'-' would be standard input, which isn't read here: write it to a file, and name that."
            known = {name for argument in error.argument_collection if argument.parse for name in argument.names}
            options = sorted(name.removeprefix("--") for name in known if name.startswith("--"))
            near_option = nearest(word.lstrip("-"), options)  # without hyphens, which make all names alike
            advice = f"did you mean --{near_option}?" if near_option else f"see `{command} --help`."
            return f"There is no option {word}: {advice}"
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"{first!r} is one word too many: what holds blanks needs quotes, and a list has commas alone."
        case CoercionError(token=token, argument=argument, target_type=kind) if token and argument and kind in _KINDS:
            return f"{token.keyword or _format_argument(argument)} takes {_KINDS[kind]}, and not {token.value[:80]!r}."
    return str(error)


def _format_argument(argument: Argument) -> str:
    """Format an argument's name: `--option`, or the upper-case word of a positional argument."""
    return argument.name.lstrip("-").upper() if argument.field_info.is_positional else argument.name


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
    from reelport.server.settings import DATA_ADVICE

    return DATA_ADVICE


def _find_paths(values: object) -> Iterator[Path]:
    if isinstance(values, Path):
        yield values
    elif dataclasses.is_dataclass(values):
        for field in dataclasses.fields(values):
            yield from _find_paths(getattr(values, field.name))
    elif not isinstance(values, str | bytes | Mapping) and hasattr(values, "__iter__"):
        for value in values:
            yield from _find_paths(value)
