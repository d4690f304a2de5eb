"""Keeps the SQL of a question, with gaps for the days and files of a report.

To write it from a tree takes ten times as long as to fill the gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from reelport.engine.aggregation import plan_aggregation
from reelport.engine.grouping import group_rows
from reelport.engine.relations import Relations
from reelport.engine.report_rows import select_report_rows
from reelport.engine.resolved_query import resolve_query
from reelport.engine.tenant import Tenant
from reelport.engine.trees import DIALECT
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery

_KEPT = 256
_LONGEST = 4_000
"""Letters of a question's filters and a tenant's channels above which its template isn't kept: it has them all."""
_DAY = timedelta(days=1)
_START, _END = date(1, 1, 1), date(9999, 12, 30)
"""Days that no report has: they stand for its first and its last one."""
# A quotation mark within a literal is doubled: no text of a query can look like a gap.
_GAP = re.compile(
    rf"<'(?P<table>\w+)(?P<role> \w*)?'>|(?<=CAST\(')(?P<day>{_START}|{_END}|{_END + _DAY})(?=[ :+0]*' AS )"
)


@dataclass(frozen=True, slots=True)
class PlanTemplate:
    """A plan's SQL with gaps, and the headers of its columns."""

    sql: str
    headers: tuple[str, ...]

    def fill(self, relations: Relations) -> str:
        """Write the SQL of a report of these days over these files."""
        days = {str(_START): relations.start, str(_END): relations.end, str(_END + _DAY): relations.end + _DAY}

        def fill_gap(gap: re.Match[str]) -> str:
            if gap["day"]:
                return days[gap["day"]].isoformat()
            if gap["role"] is None:
                return relations.objects_sql(gap["table"])
            return relations.facts_sql(gap["table"], gap["role"][1:] or None)

        return _GAP.sub(fill_gap, self.sql)


class _Gaps(Relations):
    """Relations with a gap in the place of the files of each."""

    def facts_sql(self, table: str, role: str | None) -> str:
        return f"<'{table} {role or ''}'>"

    def objects_sql(self, table: str) -> str:
        return f"<'{table}'>"


def find_template(query: ReportQuery, tenant: Tenant, dense: frozenset[str], *, ordered: bool) -> PlanTemplate | None:
    """Find the template of a checked query, or write it; None where no row can be the tenant's.

    `dense` are those of its `Aggregation`.
    """
    question = replace(query, start=_START, end=_END)
    texts = (*tenant.channels, *(value for _, value in query.filters))
    write = _remember_template if sum(map(len, texts)) <= _LONGEST else _write_template
    return write(question, tenant, dense, ordered)


def _write_template(question: ReportQuery, tenant: Tenant, dense: frozenset[str], ordered: bool) -> PlanTemplate | None:
    resolved = resolve_query(question, tenant)
    aggregation = plan_aggregation(resolved, dense)
    if not aggregation.sources:
        return None
    gaps = _Gaps(Snapshot(Path(), {}, {}), resolved.start, resolved.end, tenant.channels)
    tree = select_report_rows(aggregation, group_rows(aggregation, gaps), gaps, ordered=ordered)
    return PlanTemplate(tree.sql(dialect=DIALECT, copy=False), resolved.headers)


_remember_template = lru_cache(_KEPT)(_write_template)
