"""The line of one metric of a view, as a file to keep."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from reelport.charts.report_chart import list_query_notes
from reelport.server.explore.numbers import OverBudget
from reelport.server.explore.view_parameters import parse_view
from reelport.server.studio import chart_files
from reelport.server.studio.refusals import Refused, not_found
from reelport.server.studio.view_charts import make_line_chart
from reelport.server.studio.view_numbers import compute_view, load_freshness, make_defaults
from reelport.server.studio.visit import Visit


async def download_line(visit: Visit) -> Response:
    """Give the line of a metric over time, of the view of the URL, with its days and filters."""
    name, kind = (visit.request.path_params[each] for each in ("metric", "kind"))
    chart_files.require_kind(kind)
    defaults = make_defaults(visit, await load_freshness(visit))
    view = parse_view(visit.request.query_params.multi_items(), defaults).view
    place = next((place for place, metric in enumerate(view.metrics) if metric.name == name), None)
    if place is None:
        raise not_found()
    view = replace(view, dimensions=(), longer=None)
    lines = (await compute_view(visit, view, visit.organization_id)).lines
    if isinstance(lines, OverBudget):
        raise Refused(409, "There is no chart", lines.sentence)
    chart = make_line_chart(view, lines, place, defaults.complete_days([view.metrics[place]]))
    kept = [(dimension.name, cell) for dimension, cell in view.kept]
    query = view.query((view.time,))
    notes = (*list_query_notes(query, kept), *chart.notes)
    return await chart_files.answer_chart(replace(chart, notes=notes), kind, replace(query, metrics=(name,)))
