"""All that docs/benchmarks.md shows of reports, part by part, each in a process of its own: stop between any two.

    .venv/bin/python -m benchmarks.series            # all parts
    .venv/bin/python -m benchmarks.series 100M 1B    # these
    .venv/bin/python -m benchmarks.series --quick    # one round of each over few rows, nothing kept

Each part prints its tables as they stand in the docs, and keeps its record in benchmarks/results. The facts of all
parts have to be made before by `python -m benchmarks.copies ROWS`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_RUN = ("benchmarks/run.py", "--only", "service")
PARTS: Mapping[str, Sequence[str]] = {
    "100M": (*_RUN, "--rows", "100000000", "--rounds", "3", "--light", "--without", "busy"),
    "1B": (*_RUN, "--rows", "1000000000", "--rounds", "2", "--light", "--without", "huge", "--without", "busy"),
    "10M": (*_RUN, "--rows", "10000000", "--rounds", "4"),
    "crowd": ("-m", "benchmarks.throughput", "--rows", "10000000"),
    "page": ("-m", "benchmarks.page"),
}
"""What each part runs."""


def main() -> None:
    """Run the parts; one that fails ends none of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one round of each over 100,000 rows, nothing kept")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    failed = [name for name in asked.parts if not _run(name, quick=asked.quick)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(name: str, *, quick: bool) -> bool:
    words = list(PARTS[name])
    if quick and "--rows" in words:
        words[words.index("--rows") + 1] = "100000"
        words.append("--quick")
    elif quick:
        words[-1] = "benchmarks.growth"
    print(f"\n== {name}: {' '.join(words)}", flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=_ROOT, check=False)
    print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
