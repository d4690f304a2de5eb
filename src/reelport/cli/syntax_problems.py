"""Find every problem of a command line that can't be parsed, not only the first.

Cyclopts stops at the first problem. So the problem is removed from the words, or a valid value is put in its place, and
they are parsed again until nothing is wrong with them any more.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from reelport.catalog import Metric
from reelport.check import nearest
from reelport.wording import format_list

if TYPE_CHECKING:
    from cyclopts import Argument

_MOST = 50
"""The most problems reported for one command line."""

_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    date: "a day as YYYY-MM-DD",
    datetime: "a moment as YYYY-MM-DDTHH:MM:SS",
}
"""What an option takes, by its type, where that isn't text."""

_VALID: dict[object, str] = {int: "1", float: "1", date: "2026-01-01", datetime: "2026-01-01T00:00:00"}
_NAMED = {"--metrics": next(iter(Metric)).name, "--start": "1d", "--end": "1d"}
_ANY = "x"

_LACKING = re.compile(r'^Command "(.+?)" parameter ')
"""The prefix by which cyclopts names the command in an error."""


@dataclass(slots=True)
class _Reading:
    """The words as repaired so far, the problems found, and the arguments that were missing."""

    words: list[str]
    problems: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)
    """Options whose values were put right: what they were meant to be is not known."""
    orphans: int = 0
    """How many words follow options that don't exist: perhaps their values."""

    def format_lines(self, command: str) -> list[str]:
        """Give the problems, one line each; all missing arguments share one line."""
        if not self.lacking:
            return self.problems
        every = all(name.startswith("-") for name in self.lacking)
        value = ", with a value" if len(self.lacking) == 1 else ", each with a value"
        value = value if every else ""
        return [f"`{command}` needs {format_list(self.lacking)}{value}. See `{command} --help`.", *self.problems]


def find_problems(app: App, words: Sequence[str]) -> list[str]:
    """Return every problem of a command line; an empty list where it can be parsed."""
    from reelport.cli.value_problems import find_value_problems

    reading = _Reading(list(words))
    command = "reelport"
    for _ in range(_MOST):
        try:
            function, bound, _ignored = app.parse_args(reading.words, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            command = shlex.join(["reelport", *(error.command_chain or ())])
            if not _repair(reading, error):
                return reading.format_lines(command)
        else:
            if reading.problems or reading.lacking:
                lacking, corrected = frozenset(reading.lacking), frozenset(reading.corrected)
                reading.problems += find_value_problems(words[0], function, bound, lacking, corrected)
            break
    return reading.format_lines(command)


def _repair(reading: _Reading, error: CycloptsError) -> bool:
    """Record a problem and repair the words. False where they can't be: the search ends."""
    match error:
        case MissingArgumentError(argument=argument) if argument is not None and _takes_one(argument):
            reading.lacking.append(_format_name(argument))
            _supply(reading.words, argument)
        case UnknownOptionError():
            _replace_unknown(reading, error)
        case UnusedCliTokensError(unused_tokens=[first, *rest]):
            surplus = 1 + len(rest)
            if surplus > reading.orphans:
                reading.problems.append(_format_surplus(first))
            for token in (first, *rest):
                _drop_last(reading.words, token)
        case CoercionError(token=token, argument=argument) if token is not None and argument is not None:
            reading.problems.append(describe(error))
            reading.corrected.append(argument.name)
            return _replace_invalid(reading.words, token.keyword, token.value, argument)
        case RepeatArgumentError(token=token):
            reading.problems.append(f"{token.keyword} is given more than once.")
            return _drop_option(reading.words, str(token.keyword))
        case _:
            reading.problems.append(describe(error))
            return False
    return True


def describe(error: CycloptsError) -> str:
    """Describe a problem of the words, with a suggestion where there is one."""
    chain = error.command_chain or ()
    match error:
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return _format_surplus(first)
        case CoercionError(token=token, target_type=kind) if token is not None and kind in _KINDS:
            name = token.keyword or (error.argument.name.lstrip("-").upper() if error.argument else "This")
            return f"{name} takes {_KINDS[kind]}, and not {token.value[:80]!r}."
        case UnknownOptionError(token=token) if (word := token.keyword or token.value).startswith("--"):
            name, near = word.partition("=")[0], _find_near(error)
            advice = f"did you mean {near}?" if near else f"see `{shlex.join(['reelport', *chain, '--help'])}`."
            return f"There is no option {name}: {advice}"
    return _LACKING.sub("", str(error))


def _format_surplus(word: str) -> str:
    return f"{word!r} is one word too many: what holds blanks needs quotes, and a list has commas alone."


def _takes_one(argument: Argument) -> bool:
    return int(argument.token_count()[0]) == 1


def _format_name(argument: Argument) -> str:
    """Format an argument's name: `--option`, or the upper-case word of a positional argument."""
    return argument.name.lstrip("-").upper() if argument.field_info.is_positional else argument.name


def _supply(words: list[str], argument: Argument) -> None:
    """Add a missing argument's value: behind its option where that stands, else at the end."""
    value = _make_value(argument)
    place = next((number for number, word in enumerate(words) if word in argument.names), None)
    if place is not None:
        words.insert(place + 1, value)
    elif not argument.field_info.is_positional:
        words.insert(_find_end(words), f"{argument.name}={value}")
    else:
        words.append(value)


def _replace_unknown(reading: _Reading, error: UnknownOptionError) -> None:
    """Replace an option that doesn't exist by the nearest one that does, or remove it."""
    word = error.token.keyword or error.token.value
    name, equals, value = word.partition("=")
    reading.problems.append(describe(error))
    near = _find_near(error)
    place = next((number for number, each in enumerate(reading.words) if each.partition("=")[0] == name), None)
    if place is None:
        return
    if near in reading.lacking:
        reading.lacking.remove(near)
        reading.words[:] = [each for each in reading.words if not each.startswith(f"{near}=")]
    if near and not any(each.partition("=")[0] == near for each in reading.words):
        reading.words[place] = near + reading.words[place].removeprefix(name)
        return
    after = reading.words[place + 1] if place + 1 < len(reading.words) else "-"
    reading.orphans += not (equals or value or after.startswith("-"))
    del reading.words[place]


def _find_near(error: UnknownOptionError) -> str | None:
    """Return the option that was probably meant. Names are compared without their hyphens."""
    known = {each for argument in error.argument_collection if argument.parse for each in argument.names}
    bare = (error.token.keyword or error.token.value).partition("=")[0].lstrip("-")
    near = nearest(bare, sorted(each.removeprefix("--") for each in known if each.startswith("--")))
    return None if near is None else f"--{near}"


def _replace_invalid(words: list[str], keyword: str | None, value: str, argument: Argument) -> bool:
    """Replace an invalid value by a valid one. Returns False where none is known."""
    valid = _make_value(argument)
    for place, word in enumerate(words):
        if word == value and (keyword is None or words[place - 1] == keyword):
            words[place] = valid
            return value != valid
        if keyword is not None and word in {f"{keyword}={value}", f"{keyword}{value}"}:
            words[place] = f"{keyword}={valid}"
            return value != valid
    return False


def _make_value(argument: Argument) -> str:
    """Return some value that the argument takes."""
    return next(_list_values(argument.hint), _NAMED.get(argument.name, _ANY))


def _list_values(hint: Any) -> Iterator[str]:  # noqa: ANN401 - whatever stands as a type
    if hint in _VALID:
        yield _VALID[hint]
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield next(iter(hint.__members__)).lower().replace("_", "-")
    for each in get_args(hint):
        if isinstance(each, str):
            yield each
        yield from _list_values(each)


def _find_end(words: Sequence[str]) -> int:
    """Return the place up to which options may be inserted."""
    return words.index("--") if "--" in words else len(words)


def _drop_last(words: list[str], word: str) -> None:
    """Remove the last occurrence of a word."""
    for place in range(len(words) - 1, -1, -1):
        if words[place] == word:
            del words[place]
            return


def _drop_option(words: list[str], option: str) -> bool:
    """Remove an option's last occurrence, with its value. False where it isn't there."""
    for place in range(len(words) - 1, -1, -1):
        name, equals, _ = words[place].partition("=")
        if name == option:
            after = words[place + 1 : place + 2]
            del words[place : place + (1 if equals or (after and after[0].startswith("-")) else 2)]
            return True
    return False
