"""Slows down guessing of links, shared ones and those that set passwords.

A valid link always opens: nobody is locked out of it by whoever shares the address, or made its browser try links.
"""

from __future__ import annotations

import math

from reelport.server.studio.refusals import Refused
from reelport.server.studio.visit import Visit

_GUESSED = "link"
"""Stands for a user's address where wrong links are counted: no address looks like it."""


def count_wrong_link(visit: Visit) -> None:
    """Count a link that isn't valid at the visit's address; Refused (429) when there were too many."""
    if pause := visit.service.login_attempts.begin(visit.address, _GUESSED):
        sentence = "Too many links that aren't valid came from this address: try again later. A valid link still opens."
        raise Refused(429, "Too many attempts", sentence, math.ceil(pause))
