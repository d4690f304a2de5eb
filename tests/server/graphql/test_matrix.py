"""The whole matrix, enumerated: what `check` refuses, the server refuses for the same reasons."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from tests.cases import thin_out
from tests.server.api import Api

from reelport.catalog import Dimension, Filter, Metric, Scope
from reelport.check import problems
from reelport.query import ReportQuery

DAY = date(2026, 1, 1)
# As many asks as one document may hold beside each other.
AT_ONCE = 40
HELD = {scope for scope in Scope if scope is not Scope.ACCESS_REVENUE}
FILTERS = {each: (each.choices or ("x",))[0] for each in Filter}


def refused(metric: Metric) -> list[ReportQuery]:
    """Every query of one metric by one dimension or one filter that this key is refused."""
    by_dimension = [ReportQuery.of([metric], [each], DAY, DAY) for each in Dimension]
    by_filter = [ReportQuery.of([metric], [], DAY, DAY, {each.name: value}) for each, value in FILTERS.items()]
    return [query for query in by_dimension + by_filter if expected(query)]


def expected(query: ReportQuery) -> list[tuple[str, str, list[str | int], str | None]]:
    """The problems that `check` finds, in the words of the wire."""
    found = problems(query, today=datetime.now(UTC).date(), scopes=HELD)
    return [(each.code, each.sentence, list(each.path), each.nearest) for each in found]


def field(number: int, query: ReportQuery) -> str:
    """One aliased ask, its values in the document."""
    filters = ", ".join(
        f"{name}: {value}" if Filter[name].choices else f'{name}: "{value}"' for name, value in query.filters
    )
    return (
        f"a{number}: askPartnerReportFile(input: {{metrics: [{', '.join(query.metrics)}], "
        f"dimensions: [{', '.join(query.dimensions)}], filters: {{{filters}}}, "
        f'startDate: "{query.start}", endDate: "{query.end}"}}) {{ status }}'
    )


@pytest.mark.parametrize("metric", thin_out(Metric, 6, nightly=True), ids=str)
def test_what_check_refuses_the_server_refuses_for_the_same_reasons(api: Api, metric: Metric) -> None:
    """Each refused pair of a metric with a dimension or a filter gets exactly the problems of `check`."""
    queries = refused(metric)
    for start in range(0, len(queries), AT_ONCE):
        asked = dict(enumerate(queries[start : start + AT_ONCE]))
        answer = api.graphql("mutation { " + " ".join(field(number, query) for number, query in asked.items()) + " }")
        assert set(answer["data"].values()) == {None}
        told: dict[str, list[tuple[str, str, list[str | int], str | None]]] = {}
        for error in answer["errors"]:
            more = error["extensions"]
            said = (more["code"], error["message"], more["inputPath"], more.get("nearest"))
            told.setdefault(error["path"][0], []).append(said)
        assert told == {f"a{number}": expected(query) for number, query in asked.items()}
