"""`make fleet`: start a fleet on this machine, run the demo through it, kill one of each part, tell what happened."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import timedelta

from deploy.fleet.drill import DAYS, ROWS, START, run_drill
from deploy.fleet.fleet import Fleet
from deploy.fleet.part import FleetError
from deploy.fleet.programs import find_missing
from deploy.fleet.spark_cluster import find_spark
from rich.console import Console

from reelport.cli import demo
from reelport.query import ReportQuery


def run_demo(fleet: Fleet) -> None:
    """Ask, wait, download, show a table and a chart, as `make demo` does, as a partner of the fleet."""
    console, folder = Console(highlight=False), fleet.folder / "demo"
    folder.mkdir()
    query = ReportQuery.of(demo.METRICS, demo.DIMENSIONS, START, START + timedelta(days=DAYS - 1))
    found = demo.fetch(console, fleet.url, fleet.make_key("demo"), query, folder / "views.csv")
    demo.show(console, found, query)


def main() -> None:
    """Run it; leave with 1 when a report was lost, doubled or different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partners", type=int, default=2, help="clients of each of the two organizations")
    given = parser.parse_args()
    if missing := find_missing():
        sys.exit(f"The fleet needs what isn't installed: apt-get install {' '.join(missing)}")
    if (spark := find_spark()) is None:
        print("Without Spark: it needs Java 17 and `make spark`.", flush=True)
    # Whoever is told to end stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    began = time.monotonic()

    def tell(sentence: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {sentence}", flush=True)

    try:
        with Fleet(spark) as fleet:
            names = [part.name for part in fleet.parts] + (["spark (master, two workers, Connect)"] if spark else [])
            tell(f"running: {', '.join(names)}")
            fleet.fill(START, START + timedelta(days=DAYS - 1), ROWS)
            tell(f"{ROWS:,} rows of sample facts are loaded")
            # The client trusts what this variable names, as curl does.
            os.environ["SSL_CERT_FILE"] = str(fleet.certificate)
            run_demo(fleet)
            tell("the demo was run through nginx")
            findings = run_drill(fleet, given.partners, tell)
    except FleetError as error:
        sys.exit(str(error))
    findings.tell(tell)
    sys.exit(1 if findings.problems else 0)


if __name__ == "__main__":
    main()
