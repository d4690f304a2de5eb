"""How much of a limit is left, as headers and `/v1/limits` tell it.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Unit(StrEnum):
    """What a quota counts, in the words of the draft's registry."""

    REQUESTS = "requests"
    CONCURRENT = "concurrent-requests"
    BYTES = "content-bytes"


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit by the name of its policy, and what is left of it; None if that isn't known.

    A `window` (seconds) is the time in which a whole quota comes back, and `reset` the time in which no more than what
    is left can be used. Without them, what is left comes back as soon as something ends.
    """

    policy: str
    quota: int
    left: int | None
    unit: Unit = Unit.CONCURRENT
    window: int | None = None
    reset: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Write the keys of `/v1/limits`."""
        return {
            "policy": self.policy,
            "quota": self.quota,
            "left": self.left,
            "unit": self.unit.value,
            "windowSeconds": self.window,
            "resetSeconds": self.reset,
        }


def format_headers(quotas: Iterable[Quota]) -> dict[str, str]:
    """Format `RateLimit-Policy` and `RateLimit` as structured fields; empty without quotas."""
    policies, limits = [], []
    for each in quotas:
        unit = "" if each.unit is Unit.REQUESTS else f';qu="{each.unit}"'
        window = "" if each.window is None else f";w={each.window}"
        policies.append(f'"{each.policy}";q={each.quota}{unit}{window}')
        if each.left is not None:
            reset = "" if each.reset is None else f";t={each.reset}"
            limits.append(f'"{each.policy}";r={each.left}{reset}')
    headers = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}
    return {name: value for name, value in headers.items() if value}
