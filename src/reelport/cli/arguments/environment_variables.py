"""Find REELPORT_… variables that no setting has, each with the nearest that exists.

The known names come from the settings of client and service. The service doesn't start with a mistyped variable: it
would use the default, and nobody would notice. A variable that is near to no known one is only warned of: another
version may know it, and Kubernetes sets REELPORT_SERVICE_HOST and its like by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from reelport import killpoints
from reelport.errors import UsageError

PREFIX = "REELPORT_"
REJECT_ROWS_VARIABLE = "REELPORT_REJECT_ROWS"
REJECT_BYTES_VARIABLE = "REELPORT_REJECT_BYTES"


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that no setting has, and the one that was probably meant."""

    name: str
    near: str | None

    def __str__(self) -> str:
        advice = f"did you mean {self.near}?" if self.near else "it changes nothing."
        return f"{self.name} is no setting: {advice}"


def find_unknown_variables(
    environment: Mapping[str, str] = os.environ, *, of_service: bool = False
) -> tuple[UnknownVariable, ...]:
    """Return the REELPORT_… variables that nothing reads, sorted by name.

    `of_service` looks among the service's names first: the client's are loaded only for what isn't there.
    """
    ours = {name for name in environment if name.startswith(PREFIX)}
    known = {REJECT_ROWS_VARIABLE, REJECT_BYTES_VARIABLE} | killpoints.TEST_VARIABLES
    sides = (_name_client_variables, _name_service_variables)
    for names in reversed(sides) if of_service else sides:
        if ours <= known:
            return ()
        known |= names()
    return tuple(UnknownVariable(name, _nearest_name(name, known)) for name in sorted(ours - known))


def refuse_mistyped_variables() -> None:
    """Raise UsageError with each unknown variable that is near to a known one."""
    if lines := [str(each) for each in find_unknown_variables(of_service=True) if each.near]:
        raise UsageError("\n".join(lines))


def _name_client_variables() -> frozenset[str]:
    from reelport.client.settings.profiles import CLIENT_VARIABLES

    return CLIENT_VARIABLES


def _name_service_variables() -> frozenset[str]:
    from reelport.server import settings

    return frozenset(map(settings.variable_name, settings.setting_names()))


def _nearest_name(name: str, known: set[str]) -> str | None:
    """Return the variable probably meant. Names are compared without their common prefix."""
    from reelport.check import nearest

    others = sorted(each.removeprefix(PREFIX) for each in known - killpoints.TEST_VARIABLES)
    near = nearest(name.removeprefix(PREFIX), others)
    return None if near is None else f"{PREFIX}{near}"
