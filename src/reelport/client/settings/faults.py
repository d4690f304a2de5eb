"""Collect the errors of all settings while reading them, and raise them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from reelport.errors import AccessError, UsageError

T = TypeVar("T")


@dataclass(slots=True)
class Faults:
    """The errors of the settings read so far."""

    errors: list[UsageError | AccessError] = field(default_factory=list)

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Read a setting; on an error, note the error and return `instead`."""
        try:
            return read()
        except (UsageError, AccessError) as error:
            self.errors.append(error)
            return instead

    def refuse(self) -> None:
        """Raise the noted errors: one unchanged, several as a UsageError with a line each."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise UsageError("\n".join(map(str, self.errors)))
