"""Warms up a worker by throw-away reports: the first real one would be slow otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from reelport.catalog import Dimension, Grain, Metric
from reelport.check import problems
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.report_format import CSV
from reelport.engine.tenant import Tenant
from reelport.errors import ReelportError, StoreUnavailable
from reelport.facts.log.snapshot import pin
from reelport.query import ReportQuery
from reelport.storage.retries import BRIEF_SECONDS, retry_for

_NOBODY = Tenant(frozenset())
_log = structlog.get_logger()


def warm_up(root: Path, engine: QueryEngine, folder: Path) -> None:
    """Make a report over each table in `folder`, for a tenant without channels, and delete it.

    This opens the log of every table and runs the whole engine, but reads no file of facts: a damaged file must fail
    only the reports that need it. Errors are logged; a report that meets the same error fails with it. An object store
    that is away ends it soon: reports wait for that.
    """
    today = datetime.now(UTC).date()
    for query in _choose_queries(today):
        draft = folder / CSV.file_name("warm-up")
        session = engine.session()
        try:
            with retry_for(BRIEF_SECONDS):
                snapshot = pin(root, tables_of(query))
            session.write(plan_pieces(query, _NOBODY, snapshot), draft)
        except ReelportError as error:
            _log.warning("warm-up failed", tables=sorted(tables_of(query)), reason=str(error))
            if isinstance(error, StoreUnavailable):
                return
        finally:
            session.close()
            draft.unlink(missing_ok=True)


def _choose_queries(day: date) -> Iterator[ReportQuery]:
    """Choose valid queries over a day that together read every table."""
    days = next(dimension for dimension in Dimension if dimension.grain is Grain.DAY)
    first = next(iter(Metric))
    asked: set[str] = set()
    for metric, dimension in [*((metric, days) for metric in Metric), *((first, dimension) for dimension in Dimension)]:
        query = ReportQuery.of([metric.name], [dimension.name], day, day)
        if not tables_of(query) <= asked and not problems(query, today=day):
            asked |= tables_of(query)
            yield query
