"""Entry point of the process: `reelport`, or `python -m reelport`."""

from __future__ import annotations

import io
import os
import sys

from reelport.cli import stop_signals


def run() -> None:
    """Run the command line. A stop at any moment ends it with a status and a line."""
    stop_signals.hold_stops()
    from reelport.cli.main import ENDED_AT_ONCE, main  # noqa: PLC0415 - a stop must be held before anything slow is imported

    _fill()
    try:
        main()
    except SystemExit as end:
        stop_signals.exit_on_stop(end.code if isinstance(end.code, int) else 1)
        if isinstance(end.code, int) and ENDED_AT_ONCE.intersection(sys.argv[1:2]):
            sys.stderr.flush()
            os._exit(end.code)
        raise


def _fill() -> None:
    """Open os.devnull for a closed stdout or stderr: else `print` would write to stdout.

    A letter that stdout's encoding lacks, as in a pipe on Windows, is printed as a question mark and raises nothing.
    """
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _write_whole(sys.stdout)
        if _lacks_letters(sys.stdout):
            sys.stdout.reconfigure(errors="replace")


def _write_whole(output: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return an output that writes all that it is given, or raises.

    With PYTHONUNBUFFERED, as in many containers, the system's write takes a part on a full disk, and nobody is told.
    Each line still goes out at once then.
    """
    if not isinstance(output.buffer, io.RawIOBase):
        return output
    spelled, lacking = output.encoding, output.errors
    return open(output.fileno(), "w", buffering=1, encoding=spelled, errors=lacking, closefd=False)


def _lacks_letters(output: io.TextIOWrapper) -> bool:
    """Whether a letter may stop a print.

    In the locale C Python passes on bytes of names, but no other letters.
    """
    return output.errors == "strict" or (output.errors == "surrogateescape" and output.encoding.lower() != "utf-8")


if __name__ == "__main__":
    run()
