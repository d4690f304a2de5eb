"""Where a client's ledger lies: in the user's home for Reelport, in a file of one's own, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime

from reelport.client.ledger.ledger import Ledger
from reelport.client.settings.config import expand_path, home_of
from reelport.errors import UsageError

FILE = "ledger.db"

Place = Ledger | str | os.PathLike[str] | bool | None
"""A ledger, the path of one; False for none; None or True for the user's own."""


def ledger_at(place: Place, environment: Mapping[str, str], now: Callable[[], datetime]) -> Ledger | None:
    """The ledger of a place; nothing is opened or made yet. Raises UsageError for what is none."""
    match place:
        case Ledger():
            return place
        case False:
            return None
        case None | True:
            return Ledger(home_of(environment) / FILE, now)
        case str() | os.PathLike():
            return Ledger(expand_path(place), now)
        case _:
            raise UsageError(f"A ledger is a path, True or False, and not {place!r}.")
