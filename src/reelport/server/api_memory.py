"""How much memory the API processes of a service may take.

On its own, as workers read none of these settings.
"""

from __future__ import annotations

from reelport.engine.memory_size import parse_size
from reelport.server.settings import Settings

UNSENT_BYTES = 134_217_728
"""Most bytes of answers in the memory of one process that clients haven't read: a thousand slow downloads."""
BODIES_BYTES = 33_554_432
"""Most bytes of request bodies in the memory of one process that are not answered yet."""


def count_api_bytes(settings: Settings) -> int:
    """Count the bytes that API processes may take: explorer, bodies and unsent answers."""
    each = parse_size(settings.explore_memory) + UNSENT_BYTES + BODIES_BYTES
    return settings.processes * each
