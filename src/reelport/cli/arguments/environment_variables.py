"""Variables of the environment that look like settings of ours and are none: told with the nearest that is one.

Which there are is read off the settings of both ends. A service is not begun with a mistyped one: the default would be
in force, and nobody would notice. One that is near to none is told and no more: another version may know it, and
Kubernetes sets REELPORT_SERVICE_HOST and its like by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reelport import killpoints
from reelport.errors import UsageError

PREFIX = "REELPORT_"
REJECT_ROWS_VARIABLE = "REELPORT_REJECT_ROWS"
REJECT_BYTES_VARIABLE = "REELPORT_REJECT_BYTES"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that no setting has, and the variable that was probably meant."""

    name: str
    near: str | None

    def __str__(self) -> str:
        advice = f"did you mean {self.near}?" if self.near else "it changes nothing."
        return f"{self.name} is no setting: {advice}"


def find_unknown(environment: Mapping[str, str] = os.environ) -> tuple[Unknown, ...]:
    """The variables that begin like ours and that nothing reads, in order of their names."""
    ours = {name for name in environment if name.startswith(PREFIX)}
    known: set[str] = set()
    for names in _known():
        known |= names
        if ours <= known:
            return ()
    return tuple(Unknown(name, _nearest(name, known)) for name in sorted(ours - known))


def refuse_mistyped() -> None:
    """Raise UsageError with each variable that is near to one that there is."""
    if lines := [str(each) for each in find_unknown() if each.near]:
        raise UsageError("\n".join(lines))


def _known() -> Iterator[frozenset[str]]:
    """The names that there are, those that cost least to know first."""
    yield frozenset({REJECT_ROWS_VARIABLE, REJECT_BYTES_VARIABLE}) | killpoints.TEST_VARIABLES
    from reelport.client.settings.profiles import CLIENT_VARIABLES

    yield CLIENT_VARIABLES
    from reelport.server import settings

    yield frozenset(map(settings.variable_name, settings.setting_names()))


def _nearest(name: str, known: set[str]) -> str | None:
    """The variable that was probably meant, judged by what is behind the prefix that all have."""
    from reelport.check import nearest

    near = nearest(
        name.removeprefix(PREFIX), sorted(each.removeprefix(PREFIX) for each in known - killpoints.TEST_VARIABLES)
    )
    return None if near is None else f"{PREFIX}{near}"
