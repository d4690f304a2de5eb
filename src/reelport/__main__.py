"""The command line as a process of its own: `reelport`, or `python -m reelport`."""

from __future__ import annotations

import io
import os
import sys

from reelport.cli import stop_signals


def run() -> None:
    """Run this process's command line. Stopped at whatever moment, it ends with a status and a line, or well."""
    stop_signals.hold()
    from reelport.cli.main import main  # noqa: PLC0415 - a stop must be held before anything slow is imported

    _fill()
    try:
        main()
    except SystemExit as end:
        stop_signals.over(end.code if isinstance(end.code, int) else 1)
        raise


def _fill() -> None:
    """Put nowhere in the place of a stream that is closed: `print` takes stdout for an stderr that is none.

    A letter that stdout's encoding lacks, as in a pipe on Windows, is a question mark there and ends nothing.
    """
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    run()
