"""A machine on which commands run, die and run again: an address, a key, a ledger."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from tests import forked

from reelport import Client, ReportQuery, killpoints
from reelport.client.events import Event
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
_RUN = """
import json, sys
from datetime import date
from reelport import Client, ReelportError, ReportQuery
from reelport.client.events import Queued
told = []
def tell(event):
    told.append(event)
    if isinstance(event, Queued) and len(told) < 20:
        print(event, file=sys.stderr)
url, key, secret, ledger, end, to = sys.argv[1:]
query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date.fromisoformat(end))
try:
    with Client(url, key, secret, ledger=ledger) as client:
        client.reports.run(query, to, deadline=300, progress=tell)
except ReelportError as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


@dataclass
class Partner:
    """Whoever runs a command on a machine: an address, a key, a ledger."""

    url: str
    key: str
    secret: str
    home: Path
    told: list[Event] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """What the machine remembers."""
        return Ledger(self.home / "ledger.db")

    def row(self) -> Row:
        """The only row of the ledger."""
        (row,) = self.ledger.list_rows()
        return row

    def begin(self, query: ReportQuery, to: Path, stop_at: str = "") -> forked.Popen:
        """A process that runs a query, and dies at a step."""
        words = ["-c", _RUN, self.url, self.key, self.secret, str(self.home / "ledger.db")]
        environment = os.environ | {killpoints.VARIABLE: stop_at}
        return forked.Popen([*words, str(query.end), str(to)], env=environment, stderr=forked.PIPE)

    def killed(self, query: ReportQuery, to: Path, step: str) -> None:
        """Have a process run a query and die at a step."""
        process = self.begin(query, to, step)
        _, said = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, said

    def run(self, query: ReportQuery, to: Path, *, deadline: float = 300, fresh: bool = False, slots: int = 2) -> bytes:
        """Run a query in this process; the bytes of its file."""
        self.told.clear()
        with Client(self.url, self.key, self.secret, ledger=self.home / "ledger.db") as client:
            fast = client.with_options(slots=slots)
            fast.reports.run(query, to, deadline=deadline, progress=self.told.append, fresh=fresh)
        return to.read_bytes()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command line, ended."""
        return forked.run(["-m", "reelport", *words], env=self.environment())

    def environment(self) -> dict[str, str]:
        """What a command of theirs finds in its environment."""
        ours = {"REELPORT_URL": self.url, "REELPORT_API_KEY": self.key, "REELPORT_API_SECRET": self.secret}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
        return kept | ours | {"REELPORT_HOME": str(self.home)}


def days(number: int) -> ReportQuery:
    """A query of its own for each number."""
    return QUERY.within(QUERY.start, QUERY.end + timedelta(days=number))


def expected(query: ReportQuery) -> bytes:
    """What the vendor says to a query in which every day had as many views as its number in the month."""
    span = [query.start + timedelta(days=number) for number in range(query.days)]
    return "".join(["day,views\n", *(f"{day},{day.day}\n" for day in span)]).encode()
