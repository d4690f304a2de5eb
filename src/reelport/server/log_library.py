"""Imports structlog, the library of the service's log, without Rich."""

from __future__ import annotations

import sys
from typing import Any, cast


def import_structlog() -> None:
    """Import structlog without Rich, which only tracebacks would need; first in a process."""
    modules = cast("dict[str, Any]", sys.modules)
    if "rich" in modules or "structlog" in modules:
        return
    modules["rich"] = None  # Python's own sign for a module that can't be imported
    try:
        import structlog  # noqa: F401, PLC0415 - its import is what this is for
    finally:
        del modules["rich"]
