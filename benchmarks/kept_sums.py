"""Rollups for the measured reports, as an operator gets them: `rollups suggest --add`, then `rollups build`."""

from __future__ import annotations

import time

from benchmarks.facts import MEMORY, Facts
from benchmarks.reports import REPORTS
from benchmarks.service import READERS
from reelport.engine.memory_size import parse_size
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import list_stored
from reelport.engine.rollups.suggestion import count_demand, suggest_rollups
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import add_rollup, list_rollups
from reelport.facts.tables import TABLES
from reelport.server.settings import read_settings


def prepare_rollups(facts: Facts) -> list[dict[str, object]]:
    """Add what is suggested for the reports, where none is there; build what they lack; list them."""
    root, began = facts.data / "facts", time.perf_counter()
    space = parse_size(read_settings(data=facts.data).rollup_space)
    if not list_rollups(root):
        asked = ((report.query(0), Tenant(frozenset(READERS[report.organization]))) for report in REPORTS)
        snapshot = pin(root, TABLES)
        demand = count_demand(asked, snapshot)
        suggested = suggest_rollups(root, demand, snapshot, (), space=space, memory=MEMORY)
        for each in suggested:
            add_rollup(root, each.rollup)
    built = build_rollups(root, space=space, memory=MEMORY)
    if built:
        print(f"built rollups of {len(built)} months in {time.perf_counter() - began:.0f} s", flush=True)
    return [
        {
            "name": each.rollup.name,
            "columns": list(each.rollup.columns),
            "days": each.valid_days,
            "rows": each.rows,
            "bytes": each.bytes,
        }
        for each in list_stored(root)
    ]
