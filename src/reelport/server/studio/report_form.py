"""A new report: `/studio/reports/new` says what would be asked for; a POST asks for it.

What is asked comes as the parameters of a view, or as an earlier report (`report`) with other days. Beside them come
the columns that were chosen (`column`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport import check
from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import capitalize, label_dimension, label_metric
from reelport.check import Rules
from reelport.engine.mapping import find_title_dimension
from reelport.errors import AccessError, Problem, QueryRefused, QueueFull
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.query import ReportQuery, parse_day
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.callers import Caller
from reelport.server.access.keys import identify_studio
from reelport.server.explore.view import NONE, Pairs, Parameter, View
from reelport.server.explore.view_parameters import Defaults, parse_view
from reelport.server.reports.ask import AskedReport, ask_report, find_problems
from reelport.server.reports.report_list import ListedReport
from reelport.server.studio import pages, reports
from reelport.server.studio.report_snippets import write_snippets
from reelport.server.studio.view_numbers import make_defaults
from reelport.server.studio.view_page import EMPTY, describe_freshness
from reelport.server.studio.visit import Refused, Visit
from reelport.wire import Code
from reelport.wording import format_list

_REPORT, _COLUMN = "report", "column"
_DAYS = frozenset({Parameter.START, Parameter.END, Parameter.PRESET})
_WAIT_SECONDS = 1.0
"""So long the answer to an ask waits for the report's end: most are finished by then."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the report has or might have. One that `is_fixed` can't be left out."""

    name: str
    label: str
    is_chosen: bool
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What the page would ask for: the query, and its source's fields without days and columns.

    `columns` are those of the query and of its source, `others` what could be added to them. `problems` are all that
    is wrong in what came; those of a view are mended in the query, and with others it isn't `is_askable`. `view` is
    None where the source is an earlier report. `freshness` says up to which day each table that it reads is complete.
    `rows` says which rows of the file are those of the view, where it shows less than its report has.
    """

    query: ReportQuery
    source: Pairs
    columns: tuple[Column, ...]
    others: tuple[Column, ...]
    problems: tuple[Problem, ...]
    is_askable: bool
    view: View | None
    freshness: str
    rows: str = ""

    @property
    def fields(self) -> Pairs:
        """The fields by which a form asks for it."""
        days = ((str(Parameter.START), f"{self.query.start}"), (str(Parameter.END), f"{self.query.end}"))
        columns = ((_COLUMN, name) for name in (NONE, *self.query.dimensions, *self.query.metrics))
        return (*self.source, *days, *columns)


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
    """Say which rows of the report the view shows; empty if it shows all of them."""
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
        return _read_earlier(earlier, pairs, defaults, freshness)
    columns = tuple(value for name, value in pairs if name == _COLUMN)
    parsed = parse_view([pair for pair in pairs if pair[0] != _COLUMN], defaults)
    view = parsed.view
    base = add_titles(view.report_query(), defaults.rules)
    query, wrong = _choose_columns(base, columns, [row for row, _ in view.kept], defaults)
    return Question(
        query,
        tuple(pair for pair in view.params() if pair[0] not in _DAYS),
        *_list_columns(base, query, view, defaults),
        (*parsed.problems, *wrong),
        not wrong,
        view,
        describe_freshness(_known_metrics(query), freshness),
        describe_rows(view),
    )


def _read_earlier(
    report: ListedReport, given: list[tuple[str, str]], defaults: Defaults, freshness: Mapping[str, Freshness]
) -> Question:
    """Read the question of an earlier report with the given days and columns.

    Without days it has as many as before, up to the last complete day.
    """
    first, last = shift_days(report.query.days, defaults.last_day(_known_metrics(report.query)))
    problems: list[Problem] = []
    start, end = (
        _read_day(dict(given), name, day, problems) for name, day in ((Parameter.START, first), (Parameter.END, last))
    )
    base = report.query.within(start, end)
    columns = tuple(value for name, value in given if name == _COLUMN)
    query, wrong = _choose_columns(base, columns, (), defaults)
    return Question(
        query,
        ((_REPORT, report.id),),
        *_list_columns(base, query, None, defaults),
        (*problems, *wrong),
        not any(problem.fatal for problem in (*problems, *wrong)),
        None,
        describe_freshness(_known_metrics(query), freshness),
    )


def add_titles(query: ReportQuery, rules: Rules) -> ReportQuery:
    """Add a column of titles behind each column of ids, if it goes with the other columns."""
    for name in query.dimensions:
        title = find_title_dimension(Dimension[name])
        if title in check.allowed_with(query, rules).dimensions:
            place = query.dimensions.index(name) + 1
            query = replace(query, dimensions=(*query.dimensions[:place], title.name, *query.dimensions[place:]))
    return query


def _choose_columns(
    base: ReportQuery, columns: tuple[str, ...], fixed: Collection[Dimension], defaults: Defaults
) -> tuple[ReportQuery, tuple[Problem, ...]]:
    """Give the query the chosen columns, or its own, and tell what is wrong with it."""
    if not columns:
        return base, find_problems(base, frozenset(REPORT_SCOPES), defaults.today, defaults.rules)
    chosen = [name for name in dict.fromkeys(columns) if name != NONE]
    metrics = [name for name in chosen if name in Metric.__members__]
    dimensions = [*(name for name in chosen if name not in metrics), *(row.name for row in fixed)]
    query = replace(base, metrics=tuple(metrics), dimensions=tuple(dict.fromkeys(dimensions)))
    return query, find_problems(query, frozenset(REPORT_SCOPES), defaults.today, defaults.rules)


def _list_columns(
    base: ReportQuery, query: ReportQuery, view: View | None, defaults: Defaults
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """List the columns of both queries, in the file's order, and those that go with the second."""
    fixed = {row.name for row, _ in view.kept} if view else frozenset[str]()
    labels = {row.name: capitalize(label_dimension(row)) for row in Dimension}
    labels |= {row.name: capitalize(label_metric(row)) for row in Metric}
    own = dict.fromkeys((*query.dimensions, *base.dimensions, *query.metrics, *base.metrics))
    chosen = {*query.dimensions, *query.metrics}
    allowed = check.allowed_with(query, defaults.rules)
    fitting = [row.name for row in (*allowed.dimensions, *allowed.metrics) if row.name not in own]
    columns = tuple(Column(name, labels.get(name, name), name in chosen, name in fixed) for name in own)
    return columns, tuple(Column(name, labels[name], is_chosen=False) for name in fitting)


def _known_metrics(query: ReportQuery) -> tuple[Metric, ...]:
    return tuple(Metric[name] for name in query.metrics if name in Metric.__members__)


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
