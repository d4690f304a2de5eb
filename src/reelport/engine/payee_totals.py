"""Sums the loaded earnings by payee, for an operator to compare with its payouts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from reelport.engine.mapping import PAYEE
from reelport.engine.relations import Relations
from reelport.facts.data_files.duckdb_session import open_reading_workspace
from reelport.facts.defaults import MEMORY
from reelport.facts.log.snapshot import pin

_ALL_DAYS = date(1, 1, 1), date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class PayeeTotal:
    """What one channel is paid: rows of earnings, their sums; None for money of nobody."""

    channel: str | None
    slug: str | None
    rows: int
    eur: Decimal
    usd: Decimal


def sum_by_payee(root: Path, start: date | None, end: date | None, memory: str = MEMORY) -> tuple[PayeeTotal, ...]:
    """Sum the earnings of these days by payee, in order of the channels' ids, nobody's last.

    Together the sums are those of the whole table. A day that is None leaves that end open. Raises StorageError when a
    file can't be read.
    """
    first, last = start or _ALL_DAYS[0], end or _ALL_DAYS[1]
    relations = Relations(snapshot := pin(root, ("earnings", "channels")))
    sql = f"""
        SELECT paid.payee, channels.slug, paid.facts, paid.eur, paid.usd
        FROM (
            SELECT {PAYEE} AS payee, COUNT(*) AS facts, SUM(eur) AS eur, SUM(usd) AS usd
            FROM {relations.read("earnings", snapshot.files("earnings", first, last))} AS earnings
            WHERE day BETWEEN ? AND ?
            GROUP BY ALL
        ) AS paid
        LEFT JOIN {relations.objects("channels")} AS channels ON channels.id = paid.payee
        ORDER BY paid.payee NULLS LAST
    """  # noqa: S608 - constants of the mapping's, and relations of ours
    with open_reading_workspace(root, memory) as work:
        found = work.run_interruptibly(lambda: work.session.execute(sql, [first, last]).fetchall())
    return tuple(PayeeTotal(*row) for row in found)
