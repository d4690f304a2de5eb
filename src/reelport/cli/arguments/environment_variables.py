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


def find_unknown_variables(environment: Mapping[str, str] = os.environ) -> tuple[UnknownVariable, ...]:
    """Return the REELPORT_… variables that nothing reads, sorted by name."""
    ours = {name for name in environment if name.startswith(PREFIX)}
    known = {REJECT_ROWS_VARIABLE, REJECT_BYTES_VARIABLE} | killpoints.TEST_VARIABLES
    if ours <= known:
        return ()
    from reelport.client.settings.profiles import CLIENT_VARIABLES

    if ours <= (known := known | CLIENT_VARIABLES):
        return ()
    from reelport.server import settings
    from reelport.similar_names import nearest

    known |= set(map(settings.variable_name, settings.setting_names()))
    # Compared without their common prefix, which makes all names alike.
    others = sorted(name.removeprefix(PREFIX) for name in known - killpoints.TEST_VARIABLES)
    near = {name: nearest(name.removeprefix(PREFIX), others) for name in sorted(ours - known)}
    return tuple(UnknownVariable(name, other and f"{PREFIX}{other}") for name, other in near.items())


def refuse_mistyped_variables() -> None:
    """Raise UsageError with each unknown variable that is near to a known one."""
    if lines := [str(each) for each in find_unknown_variables() if each.near]:
        raise UsageError("\n".join(lines))
