"""DuckDB as the aggregator: it aggregates inside of the statement that writes the report."""

from __future__ import annotations

from reelport.engine.aggregation import AggregatedRelation, Aggregation, Aggregator
from reelport.engine.grouping import group_rows
from reelport.engine.relations import Relations
from reelport.facts.log.snapshot import Snapshot


class DuckDBAggregator(Aggregator):
    """Aggregates by a subquery, so that the rows of a report go through one statement."""

    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> AggregatedRelation:
        """Give the subquery. It computes nothing yet."""
        return AggregatedRelation(group_rows(aggregation, Relations.of(snapshot, aggregation.resolved)))


DUCKDB = DuckDBAggregator()
