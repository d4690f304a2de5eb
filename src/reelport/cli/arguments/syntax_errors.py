"""Describe why a command line can't be parsed: the first problem, with what was probably meant."""

from __future__ import annotations

import shlex
from datetime import date, datetime
from typing import TYPE_CHECKING

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from reelport.check import nearest

if TYPE_CHECKING:
    from cyclopts import Argument

_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    date: "a day as YYYY-MM-DD",
    datetime: "a moment as YYYY-MM-DDTHH:MM:SS",
}
"""What an option takes, by its type, where cyclopts would name the type."""


def describe_syntax_error(error: CycloptsError) -> str:
    """Describe the error in a sentence; cyclopts' own where that needs no knowledge of Python."""
    command = shlex.join(["reelport", *(error.command_chain or ())])
    match error:
        case MissingArgumentError(argument=argument) if argument is not None:
            value = "" if argument.field_info.is_positional else "a value for "
            what = f": {argument.parameter.help.rstrip('.')}" if argument.parameter.help else ""
            _, meant, near = str(error).partition(" Did you mean ")
            return f"`{command}` needs {value}{_name(argument)}{what}.{meant}{near} See `{command} --help`."
        case UnknownOptionError(token=token):
            word = (token.keyword or token.value).partition("=")[0]
            if word == "-":
                return "'-' would be standard input, which isn't read here: write it to a file, and name that."
            near_option = _nearest_option(word, error)
            advice = f"did you mean {near_option}?" if near_option else f"see `{command} --help`."
            return f"There is no option {word}: {advice}"
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"{first!r} is one word too many: what holds blanks needs quotes, and a list has commas alone."
        case CoercionError(token=token, argument=argument, target_type=kind) if token and argument and kind in _KINDS:
            return f"{token.keyword or _name(argument)} takes {_KINDS[kind]}, and not {token.value[:80]!r}."
    return str(error)


def _name(argument: Argument) -> str:
    """Format an argument's name: `--option`, or the upper-case word of a positional argument."""
    return argument.name.lstrip("-").upper() if argument.field_info.is_positional else argument.name


def _nearest_option(word: str, error: UnknownOptionError) -> str | None:
    """Return the option that was probably meant. Names are compared without their hyphens."""
    known = {name for argument in error.argument_collection if argument.parse for name in argument.names}
    near = nearest(word.lstrip("-"), sorted(name.removeprefix("--") for name in known if name.startswith("--")))
    return None if near is None else f"--{near}"
