"""`payees`: show to whom the loaded earnings belong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reelport.cli.arguments.options import DEFAULT_DATA
from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.service_commands.facts import DataOption, MemoryOption, facts_root
from reelport.cli.service_commands.facts_output import print_rows
from reelport.cli.service_commands.load_output import to_json
from reelport.errors import UsageError
from reelport.facts.defaults import MEMORY

if TYPE_CHECKING:
    from reelport.engine.payees import PayeeTotal

NOBODY = "(nobody)"


def payees(
    *,
    data: DataOption = DEFAULT_DATA,
    start: Annotated[date | None, Parameter(help="First day; left out: from the first one loaded.")] = None,
    end: Annotated[date | None, Parameter(help="Last day, included; left out: to the last one loaded.")] = None,
    memory: MemoryOption = MEMORY,
    json: PrintJson = False,
) -> None:
    """Show whom all loaded earnings belong to, channel by channel, and what is nobody's.

    Example: reelport payees --start 2023-07-01 --end 2023-07-31
    """
    from reelport.engine.payees import sum_by_payee

    if start is not None and end is not None and end < start:
        raise UsageError(f"--end {end} is before --start {start}")
    found = sum_by_payee(facts_root(data), start, end, memory)
    if json:
        print(to_json([asdict(one) for one in found]))
        return
    if not found:
        print(f"{data} has no earnings of these days: see `reelport tables`.", file=sys.stderr)
        return
    rows = [[one.channel or NOBODY, one.slug or "", *_numbers([one])] for one in found]
    print_rows(["payee", "slug", "rows", "EUR", "USD"], [*rows, ["total", "", *_numbers(found)]])


def _numbers(found: Sequence[PayeeTotal]) -> list[str]:
    eur = sum((one.eur for one in found), Decimal(0))
    usd = sum((one.usd for one in found), Decimal(0))
    return [f"{sum(one.rows for one in found):,}", f"{eur:,.6f}", f"{usd:,.6f}"]
