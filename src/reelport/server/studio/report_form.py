"""A new report: `/studio/reports/new` says what would be asked for; a POST asks for it.

What is asked comes as the parameters of a view, or as an earlier report (`report`) with other days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import Metric
from reelport.catalog.labels import label_dimension
from reelport.errors import AccessError, Problem, QueryRefused, QueueFull
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.query import ReportQuery, parse_day
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.callers import Caller
from reelport.server.access.studio_key import identify_studio
from reelport.server.explore.view import Pairs, Parameter, View
from reelport.server.explore.view_parameters import Defaults, parse_view
from reelport.server.reports.ask import AskedReport, ask_report, find_problems
from reelport.server.reports.report_list import ListedReport
from reelport.server.studio import pages, reports
from reelport.server.studio.refusals import Refused
from reelport.server.studio.report_snippets import write_snippets
from reelport.server.studio.view_boards import EMPTY
from reelport.server.studio.view_defaults import make_defaults
from reelport.server.studio.view_page import describe_freshness
from reelport.server.studio.visit import Visit
from reelport.wire import Code
from reelport.wording import format_list

_REPORT = "report"
_WAIT_SECONDS = 1.0
"""So long the answer to an ask waits for the report's end: most are finished by then."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the page would ask for: the query, and the fields by which a form asks for it.

    `problems` are all that is wrong in what came. Those of a view are mended in the query; with those of an earlier
    report it can't be asked for. `view` is the query of the view's link; None where it's no view. `freshness` says up
    to which day each table that it reads is complete. `rows` says which rows of the file are those of the view, where
    it shows less than its report has.
    """

    query: ReportQuery
    fields: Pairs
    problems: tuple[Problem, ...]
    view: str | None
    freshness: str
    rows: str = ""

    @property
    def is_askable(self) -> bool:
        """Whether the page may offer to ask."""
        return self.view is not None or not any(problem.fatal for problem in self.problems)

    @property
    def kept_fields(self) -> Pairs:
        """The fields without the days."""
        return tuple(pair for pair in self.fields if pair[0] not in {Parameter.START, Parameter.END})


async def show_form(visit: Visit) -> Response:
    """Show what would be asked for, and the same as programs."""
    return _show(visit, await _read_question(visit, visit.request.query_params.multi_items()))


async def ask(visit: Visit) -> Response:
    """Ask for the report, and lead to its page. Of a wrong query every problem is told."""
    question = await _read_question(visit, [pair for pair in visit.form.fields if pair[0] != "csrf"])
    if any(problem.fatal for problem in question.problems):
        return _show(visit, question, 422)
    try:
        asked = await anyio.to_thread.run_sync(_ask, visit, question.query)
    except QueueFull as full:
        raise Refused(429, "Too many unfinished reports", str(full), retry_after=10) from None
    except AccessError as error:
        raise Refused(403, "That has just changed", str(error)) from None
    except QueryRefused as refused:
        raise Refused(422, "That can't be asked for", " ".join(map(str, refused.problems))) from None
    if not asked.status.final:
        await visit.service.long_polls.wait(visit.organization_id, frozenset({asked.id}), _WAIT_SECONDS)
    return pages.redirect(f"{reports.PATH}/{asked.id}")


def shift_days(days: int, last: date) -> tuple[date, date]:
    """Find the first and last of so many days up to a day."""
    return last - timedelta(days=days - 1), last


def describe_rows(view: View) -> str:
    """Say which rows of the view's report are the view's; empty where all of them are."""
    if not view.kept:
        return ""
    alone = format_list([f"{label_dimension(row)} {cell or EMPTY}" for row, cell in view.kept])
    every = format_list([f"every {label_dimension(row)}" for row, _ in view.kept])
    cells = format_list([f"{cell or 'nothing'} in the column {row.header}" for row, cell in view.kept])
    return (
        f"The view shows {alone} alone, and a report can't be narrowed so: its file has {every}, "
        f"and the view's numbers are those of its rows with {cells}."
    )


def write_link(fields: Iterable[tuple[str, str]]) -> str:
    """Write the address of the page that would ask for this."""
    return f"{reports.PATH}/new?{urlencode([(str(name), value) for name, value in fields])}"


def _ask(visit: Visit, query: ReportQuery) -> AskedReport:
    service = visit.service
    return ask_report(service.db, service.settings, _find_caller(visit), query, visit.now, visit.actor)


def _find_caller(visit: Visit) -> Caller:
    return identify_studio(visit.service.db, visit.organization_id, visit.now)


async def _read_question(visit: Visit, pairs: list[tuple[str, str]]) -> Question:
    given = dict(pairs)
    report = await reports.find_report(visit, given[_REPORT]) if _REPORT in given else None
    return await anyio.to_thread.run_sync(_read_pairs, visit, pairs, report)


def _read_pairs(visit: Visit, pairs: list[tuple[str, str]], earlier: ListedReport | None) -> Question:
    freshness = read_freshness(visit.service.settings.facts_root, visit.now.date())
    defaults = make_defaults(visit, freshness)
    if earlier is not None:
        return _read_earlier(earlier, dict(pairs), defaults, freshness)
    parsed = parse_view(pairs, defaults)
    view = parsed.view
    said = describe_freshness(view.metrics, freshness)
    return Question(view.report_query(), view.params(), parsed.problems, view.url_query(), said, describe_rows(view))


def _read_earlier(
    report: ListedReport, given: dict[str, str], defaults: Defaults, freshness: Mapping[str, Freshness]
) -> Question:
    """Read the question of an earlier report with the given days.

    Without them it has as many days as before, up to the last complete day.
    """
    metrics = tuple(Metric[name] for name in report.query.metrics if name in Metric.__members__)
    first, last = shift_days(report.query.days, defaults.last_day(metrics))
    problems: list[Problem] = []
    start, end = (
        _read_day(given, name, day, problems) for name, day in ((Parameter.START, first), (Parameter.END, last))
    )
    query = report.query.within(start, end)
    problems += find_problems(query, frozenset(REPORT_SCOPES), defaults.today, defaults.rules)
    fields = (
        (_REPORT, report.id),
        (str(Parameter.START), start.isoformat()),
        (str(Parameter.END), end.isoformat()),
    )
    return Question(query, fields, tuple(problems), None, describe_freshness(metrics, freshness))


def _read_day(given: dict[str, str], name: str, default: date, problems: list[Problem]) -> date:
    text = given.get(name, "").strip()
    try:
        return parse_day(text) if text else default
    except ValueError:
        sentence = f"{text[:80]!r} is no day: write it like {default}."
        problems.append(Problem(Code.BAD_DATE, (str(name),), sentence))
        return default


def _show(visit: Visit, question: Question, status: int = 200) -> Response:
    return pages.render(
        visit,
        "report_form.html",
        status,
        question=question,
        problems=[problem.sentence for problem in question.problems],
        snippets=write_snippets(question.query, visit.origin) if question.is_askable else (),
        words=reports.words(visit),
    )
