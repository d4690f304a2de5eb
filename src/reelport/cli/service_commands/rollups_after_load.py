"""What a load does for rollups once it is committed."""

from __future__ import annotations

import sys
from pathlib import Path

from reelport.errors import ReelportError
from reelport.server.settings import read_settings


def build_after_load(data: Path, table: str, memory: str) -> None:
    """Build the table's rollups, where the settings say so.

    What goes wrong is told, and fails no load.
    """
    settings = read_settings(data=data)
    if settings.rollups != "after-load":
        return
    from reelport.engine.memory_size import parse_size
    from reelport.engine.rollups.build import build_rollups
    from reelport.facts.rollups import list_rollups

    root = settings.facts_root
    try:
        for month in build_rollups(
            root, list_rollups(root, table), space=parse_size(settings.rollup_space), memory=memory
        ):
            if month.problem is not None:
                print(
                    f"reelport: warning: {month.rollup}: {month.month} is not built: {month.problem}", file=sys.stderr
                )
    except ReelportError as error:
        print(f"reelport: warning: rollups are not built: {error}; run `reelport rollups build`", file=sys.stderr)
