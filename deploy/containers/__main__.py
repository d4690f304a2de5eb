"""`make containers`: run the compose file's fleet by podman, kill one of each part, tell what happened."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import timedelta

from deploy.containers.fleet import ContainerFleet
from deploy.containers.machine import LOCK, PATH, find_missing, hold_lock, require_root
from deploy.fleet.drill import DAYS, ROWS, START, run_drill
from deploy.fleet.part import FleetError


def main() -> None:
    """Run it; leave with 1 when a report was lost, doubled or different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partners", type=int, default=2, help="clients of each of the two organizations")
    given = parser.parse_args()
    if missing := find_missing():
        sys.exit(f"Containers need what isn't installed: apt-get install {' '.join(missing)}")
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{PATH}"
    # Whoever is told to end stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    began = time.monotonic()

    def tell(sentence: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {sentence}", flush=True)

    try:
        require_root()
        with hold_lock(LOCK), ContainerFleet(tell) as fleet:
            tell("running, each part well that is looked at")
            fleet.fill(START, START + timedelta(days=DAYS - 1), ROWS)
            tell(f"{ROWS:,} rows of sample facts are loaded")
            # The client trusts what this variable names, as curl does.
            os.environ["SSL_CERT_FILE"] = str(fleet.certificate)
            findings = run_drill(fleet, given.partners, tell)
    except (FleetError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")
    findings.tell(tell)
    sys.exit(1 if findings.problems else 0)


if __name__ == "__main__":
    main()
