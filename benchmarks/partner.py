"""A partner's process, with the client and nothing of the service in it: it downloads one finished report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks.measure import Took, measured
from reelport.client.client import Client
from reelport.client.drivers.http import Http
from reelport.query import ReportQuery

QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2026, 1, 1), date(2026, 1, 2))


@dataclass(frozen=True, slots=True)
class Source:
    """Who has the finished report, and the link at which it lies."""

    url: str
    key: str
    secret: str
    token: str
    link: str


def downloaded(source: Source, to: Path) -> Took:
    """What it takes a new process, once it has begun."""
    words = [sys.executable, "-m", "benchmarks.partner"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    asked = json.dumps([asdict(source), str(to)])
    done = subprocess.run(words, input=asked, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Took(**json.loads(done.stdout))


def _download(source: Source, to: Path) -> None:
    """All that a partner waits for: a token, a look, the download, its proof."""
    with Client(source.url, source.key, source.secret, ledger=to.with_name("ledger.db")) as client:
        client.reports.attach(source.token, QUERY).download(to)


if __name__ == "__main__":
    # httpx2 loads the greater part of itself at its first use.
    Http().close()
    given, path = json.load(sys.stdin)
    print(json.dumps(asdict(measured(_download, Source(**given), Path(path)))))
