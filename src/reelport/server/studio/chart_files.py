"""Charts as files to keep: SVG, and PNG where it can be rendered."""

from __future__ import annotations

import anyio.to_thread
from starlette.responses import Response

from reelport.charts import Chart, draw_file
from reelport.charts.png_renderer import explain_absence, render_png
from reelport.query import ReportQuery
from reelport.query_sentence import name_file
from reelport.server.http.downloads import format_attachment
from reelport.server.studio import pages
from reelport.server.studio.visit import not_found

_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}


def list_kinds() -> tuple[str, ...]:
    """List the kinds of files that a chart is offered as."""
    return tuple(_MEDIA_TYPES) if explain_absence() is None else ("svg",)


def require_kind(kind: str) -> None:
    """Refuse (404) a kind of file that isn't offered here."""
    if kind not in list_kinds():
        raise not_found()


async def answer_chart(chart: Chart, kind: str, query: ReportQuery) -> Response:
    """Answer with a chart as a file of this kind, named for the query whose numbers it shows."""
    content = await anyio.to_thread.run_sync(_render, chart, kind)
    disposition = format_attachment(name_file(query, kind), f"chart.{kind}")
    return Response(
        content, headers={**pages.HEADERS, "Content-Type": _MEDIA_TYPES[kind], "Content-Disposition": disposition}
    )


def _render(chart: Chart, kind: str) -> bytes:
    return draw_file(chart).encode() if kind == "svg" else render_png(chart)
