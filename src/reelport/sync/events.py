"""What a sync tells while it goes on, beside what its client tells of each report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from reelport.client.events import Event, Warned
from reelport.client.ranges.windows import Window


@dataclass(frozen=True, slots=True)
class Planned:
    """The windows of a spec that are to be read; none when its copy is up to date."""

    spec: str
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """A window is being read, the `number`-th of `of`."""

    spec: str
    window: Window
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class OfWindow:
    """What the client tells of a window's report."""

    spec: str
    window: Window
    event: Event


@dataclass(frozen=True, slots=True)
class Loaded:
    """A window is in its copy: rows that were there before, rows that are now, and what is to be said of them."""

    spec: str
    window: Window
    before: int
    rows: int
    token: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A window could not be had, for this reason; its copy is as it was."""

    spec: str
    window: Window
    reason: str


SyncEvent = Planned | Began | OfWindow | Loaded | Failed
Tell = Callable[[SyncEvent], None]


def aloud(event: SyncEvent) -> None:
    """Tell only of what nobody should miss, as Python warnings: of queries, and of columns that have drifted."""
    match event:
        case OfWindow(spec, _, Warned(problem)):
            warnings.warn(f"{spec}: {problem}", UserWarning, stacklevel=2)
        case Loaded(spec=spec, notes=notes):
            for note in notes:
                warnings.warn(f"{spec}: {note}", UserWarning, stacklevel=2)


def silent(event: SyncEvent) -> None:
    """Tell nobody."""
    del event
