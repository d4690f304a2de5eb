"""`make advisories`: ask a database of advisories about every package of uv.lock, or say that none was reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# `uv audit` ends with 1 when a package has an advisory, and with 2 when it could not find out, for whatever reason.
# What it says of a database that it could not reach, or whose answer is none, names the address that it asked.
NO_ANSWER = " for url ("


def audit(uv: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `uv audit` over the lock, without a second try where no database answers."""
    words = [str(uv), "audit", "--preview-features", "audit-command", "--frozen", *options]
    environment = {"UV_HTTP_RETRIES": "0", **os.environ}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def judge(found: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Give an exit status and what to print: only a database that was not reached is let pass."""
    told = " ".join(found.stderr.split())  # uv folds its lines
    match found.returncode:
        case 0:
            return 0, ""
        case 2 if NO_ANSWER in told:
            return 0, f"advisories: NOT CHECKED, no database answered ({told.removeprefix('error: ')})"
        case status:
            return status, f"{found.stdout}{found.stderr}".strip()


if __name__ == "__main__":
    status, told = judge(audit(Path(sys.executable).with_name("uv"), *sys.argv[1:]))
    if told:
        print(told, file=sys.stderr)
    sys.exit(status)
