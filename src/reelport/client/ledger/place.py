"""Where a client keeps its ledger: in the user's home, in a given file, or in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime

from reelport.client.ledger.ledger import Ledger
from reelport.client.settings.config import expand_path, resolve_home
from reelport.errors import UsageError

FILE = "ledger.db"

Place = Ledger | str | os.PathLike[str] | bool | None
"""A ledger or its path; False for one in memory; None or True for the user's own."""


def resolve_ledger(place: Place, environment: Mapping[str, str], now: Callable[[], datetime]) -> Ledger:
    """Return a place's ledger; opens and makes no file. UsageError for an invalid place."""
    match place:
        case Ledger():
            return place
        case False:
            return Ledger(None, now)
        case None | True:
            return Ledger(resolve_home(environment) / FILE, now)
        case str() | os.PathLike():
            return Ledger(expand_path(place), now)
        case _:
            raise UsageError(f"A ledger is a path, True or False, and not {place!r}.")
