"""All that is wrong with settings at once: each is read, and what was wrong with them is raised together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from reelport.errors import AccessError, UsageError

T = TypeVar("T")


@dataclass(slots=True)
class Faults:
    """What was wrong with settings that were read."""

    errors: list[UsageError | AccessError] = field(default_factory=list)

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Read a setting; one that can't be read is noted, and something in its place returned."""
        try:
            return read()
        except (UsageError, AccessError) as error:
            self.errors.append(error)
            return instead

    def refuse(self) -> None:
        """Raise what was wrong: one error as it is, several as one UsageError with a line each."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise UsageError("\n".join(map(str, self.errors)))
