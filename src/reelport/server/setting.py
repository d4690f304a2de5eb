"""Declares one setting of the service, and parses values of it.

Written by hand: importing a settings library would take as long as a short command runs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from reelport.errors import UsageError
from reelport.local_path import refuse_address
from reelport.server.masking import hide_passwords

_SHOWN = 80
"""Characters of a wrong value that the error quotes."""
DATA_ADVICE = (
    "The data directory is a folder. REELPORT_DATABASE_URL takes the address of a PostgreSQL for the state, "
    "REELPORT_FACTS_URL and REELPORT_FILES_URL take s3:// for tables and report files."
)
"""What goes elsewhere in place of the data directory, for whoever gives an address for it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that its `repr` hides, so that no log and no traceback shows it."""

    text: str = dataclasses.field(repr=False)


def setting(
    default: Any,  # noqa: ANN401 - of the setting's own type
    *,
    description: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    min_length: int = 0,
    pattern: str = "",
    form: str = "",
    shown: bool = True,
    section: str = "",
    service: bool = True,
    worker: bool = False,
    command: bool = False,
) -> Any:  # noqa: ANN401 - a field of any type
    """Declare a setting: its default, its description, and the values it takes.

    `form` says in words what `pattern` requires. `shown=False` keeps the setting out of `repr`, and its value out of
    errors. `service`, `worker`, `command`: the API, workers and commands read it. The reference page begins a `section`
    with it.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "min_length": min_length}
    rules = {**bounds, "pattern": pattern, "form": form, "shown": shown}
    told = {"description": description, "section": section}
    readers = {"service": service, "worker": worker, "command": command}
    return dataclasses.field(default=default, repr=shown, metadata={**told, **readers, **rules})


def parse_value(kind: object, rules: Mapping[str, Any], given: object) -> object:
    """Parse a given value to the type of its setting; ValueError says what the setting takes."""
    if isinstance(kind, UnionType):  # `X | None`: None is never given
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return _parse_choice(get_args(kind), given)
    if kind is int or kind is float:
        return _parse_number(kind is int, rules, given)
    if kind is Path:
        return _parse_path(str(given))
    if kind is Secret:
        return _parse_secret(rules, given)
    text = str(given)
    if rules["pattern"] and not re.fullmatch(rules["pattern"], text):
        given_text = f", and not {hide_passwords(text)[:_SHOWN]!r}" if rules["shown"] else ""
        raise ValueError(f"It is {rules['form']}{given_text}.")
    return text


def _parse_choice(choices: tuple[str, ...], given: object) -> str:
    if given not in choices:
        raise ValueError(f"It is {' or '.join(map(repr, choices))}, and not {str(given)[:_SHOWN]!r}.")
    return str(given)


def _parse_path(given: str) -> Path:
    if not given:
        raise ValueError("It is a path, and not empty: that would be the current folder.")
    try:
        refuse_address(given, DATA_ADVICE)
        return Path(given).expanduser().absolute()
    except UsageError as error:
        raise ValueError(str(error)) from None
    except RuntimeError:
        raise ValueError(f"It is a path, and {given[:_SHOWN]!r} begins with the home of a user who has none.") from None


def _parse_number(whole: bool, rules: Mapping[str, Any], given: object) -> float:
    wrong = f"It is a {'whole ' if whole else ''}number{describe_bounds(rules)}, and not {str(given)[:_SHOWN]!r}."
    if isinstance(given, bool) or (whole and isinstance(given, float)):
        raise ValueError(wrong)
    try:
        value = int(str(given)) if whole else float(str(given))
    except ValueError:
        raise ValueError(wrong) from None
    least, above, most = (rules[name] for name in ("ge", "gt", "le"))
    fits = (least is None or value >= least) and (above is None or value > above) and (most is None or value <= most)
    if not fits or not math.isfinite(value):
        raise ValueError(wrong)
    return value


def describe_bounds(rules: Mapping[str, Any]) -> str:
    """Describe the bounds of a number, as the rest of "a number"; empty without any."""
    match rules:
        case {"ge": float() | int() as least, "le": float() | int() as most}:
            return f" from {least} to {most}"
        case {"ge": float() | int() as least}:
            return f" of at least {least}"
        case {"gt": float() | int() as above}:
            return f" above {above}"
        case {"le": float() | int() as most}:
            return f" of at most {most}"
    return ""


def _parse_secret(rules: Mapping[str, Any], given: object) -> Secret:
    """Parse a secret; its error never quotes the value."""
    secret = given if isinstance(given, Secret) else Secret(str(given))
    if len(secret.text) < rules["min_length"]:
        raise ValueError(f"It has at least {rules['min_length']} characters, and not {len(secret.text)}.")
    return secret
