"""A new report: `/studio/reports/new` says what would be asked for; a POST asks for it.

What is asked comes as the parameters of a view, or as an earlier report (`report`) with other days. Beside them come
the columns that were chosen (`column`). The page shows the same as programs: they hold no key and no secret, and take
both from the environment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport import check
from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import label_dimension
from reelport.check import Rules
from reelport.engine.mapping import find_title_dimension
from reelport.errors import AccessError, Problem, QueryRefused, QueueFull
from reelport.facts.log.log_entry import Span
from reelport.language import N_, _, ngettext
from reelport.query import DEFAULT_PRODUCT, ReportQuery, parse_day
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.keys import identify_studio
from reelport.server.explore.numbers import OverBudget
from reelport.server.explore.view import NONE, Pairs, Parameter, View, name_cell
from reelport.server.explore.view_days import Preset
from reelport.server.explore.view_parameters import Defaults, explain_day, known_metrics, parse_view
from reelport.server.files.file_names import name_file
from reelport.server.reports.ask import ask_report, find_problems
from reelport.server.reports.report_access import FoundReport
from reelport.server.studio import explore, pages, reports
from reelport.server.studio.explore import read_defaults
from reelport.server.studio.formats import name_dimension, name_metric
from reelport.server.studio.view_page import describe_freshness
from reelport.server.studio.visit import Refused, Visit
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH, Code
from reelport.wording import format_choice, format_days, format_list, format_size, round_estimate

_PATH = f"{pages.ROOT}/reports/new"
_REPORT, _COLUMN = "report", "column"
_DAYS = frozenset({Parameter.START, Parameter.END, Parameter.PRESET})
_ESTIMATE_SECONDS = 2.0  # so long a page waits for the size of a report that it would ask for
_WAIT_SECONDS = 1.0  # so long the answer to an ask waits for the report's end: most are finished by then


Column = tuple[str, str, bool, bool]
"""A column that the report has or might have: name, label, whether it is chosen, and whether it must be."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the page would ask for: the query, and its source's fields without days and columns.

    `columns` are those of the query and of its source, `others` what could be added to them. `problems` are all that
    is wrong in what came; those of a view are mended in the query, and with others it isn't `is_askable`. `view` is
    None where the source is an earlier report. `freshness` says up to which day each table that it reads is complete.
    `ranges` are those that are no longer than a report. `rows` says which rows of the file are those of the view, where
    it shows less than its report has.
    """

    query: ReportQuery
    source: Pairs
    columns: tuple[Column, ...]
    others: tuple[Column, ...]
    problems: tuple[Problem, ...]
    is_askable: bool
    view: View | None
    freshness: str
    ranges: Mapping[Preset, Span]
    rows: str = ""

    @property
    def fields(self) -> Pairs:
        """The fields by which a form asks for it."""
        return self.fields_of((self.query.start, self.query.end))

    def fields_of(self, span: Span) -> Pairs:
        """The fields by which a form asks for other days."""
        days = tuple((str(name), f"{day}") for name, day in zip((Parameter.START, Parameter.END), span, strict=True))
        columns = ((_COLUMN, name) for name in (NONE, *self.query.dimensions, *self.query.metrics))
        return (*self.source, *days, *columns)


async def show_form(visit: Visit) -> Response:
    """Show what would be asked for, how large it would be, and the same as programs."""
    question = await anyio.to_thread.run_sync(_read_question, visit, visit.request.query_params.multi_items())
    return _show(visit, question, size=await _describe_size(visit, question.query) if question.is_askable else "")


async def _describe_size(visit: Visit, query: ReportQuery) -> str:
    if not query.dimensions:
        return _("One row.")
    tenant = await explore.find_visitor_tenant(visit)
    seconds = min(_ESTIMATE_SECONDS, visit.service.settings.explore_seconds)
    size = await visit.service.explorer.run(
        visit.organization_id, lambda engine, session: engine.estimate(session, query, tenant), seconds
    )
    match size:
        case None:
            return _("The days that were looked at have no rows.")
        case OverBudget():
            return _("How large it is can't be told before it is made.")
    rows, told = round_estimate(size.rows), {"size": format_size(round_estimate(size.bytes))}
    if size.is_least:
        return ngettext("More than %(n)s row, %(size)s as CSV.", "More than %(n)s rows, %(size)s as CSV.", rows, **told)
    return ngettext("About %(n)s row, %(size)s as CSV.", "About %(n)s rows, %(size)s as CSV.", rows, **told)


async def ask(visit: Visit) -> Response:
    """Ask for the report, and lead to its page. Of a wrong query every problem is told."""
    pairs = [pair for pair in visit.form.multi_items() if pair[0] != "csrf"]
    question = await anyio.to_thread.run_sync(_read_question, visit, pairs)
    if any(problem.fatal for problem in question.problems):
        return _show(visit, question, 422)
    service, query = visit.service, question.query

    def ask_as_studio() -> FoundReport:
        caller = identify_studio(service.db, visit.reach, visit.now)
        return ask_report(service.db, service.settings, caller, query, visit.now, visit.actor)

    try:
        asked = await anyio.to_thread.run_sync(ask_as_studio)
    except QueueFull as full:
        raise Refused(429, N_("Too many unfinished reports"), str(full), retry_after=10) from None
    except AccessError as error:
        raise Refused(403, N_("That has just changed"), str(error)) from None
    except QueryRefused as refused:
        raise Refused(422, N_("That can't be asked for"), " ".join(map(str, refused.problems))) from None
    if not asked.status.final:
        await service.long_polls.wait(visit.organization_id, frozenset({asked.id}), _WAIT_SECONDS)
    return pages.redirect(f"{reports.PATH}/{asked.id}")


def _describe_rows(view: View) -> str:
    if not view.kept:
        return ""
    alone, every, cells = list[str](), list[str](), list[str]()
    for row, kept in view.kept_by_dimension().items():
        name, written = label_dimension(row), format_choice([cell or _("nothing") for cell in kept])
        alone.append(f"{name} {format_choice([name_cell(row, cell) for cell in kept])}")
        every.append(_("every %(name)s", name=name))
        cells.append(_("%(cells)s in the column %(column)s", cells=written, column=row.header))
    return _(
        "The view shows %(alone)s alone, and a report can't be narrowed so: its file has %(every)s, "
        "and the view's numbers are those of its rows with %(cells)s.",
        alone=format_list(alone),
        every=format_list(every),
        cells=format_list(cells),
    )


def _read_question(visit: Visit, pairs: list[tuple[str, str]]) -> Question:
    defaults, view, given = read_defaults(visit), None, dict(pairs)
    if _REPORT not in given:
        parsed = parse_view([pair for pair in pairs if pair[0] != _COLUMN], defaults)
        view, problems = parsed.view, list(parsed.problems)
        source = tuple(pair for pair in view.params() if pair[0] not in _DAYS)
        base = _add_titles(view.report_query(), defaults.rules)
    else:
        earlier = reports.find_report(visit, given[_REPORT])
        source, problems = ((_REPORT, earlier.id),), list[Problem]()
        last = defaults.last_day(known_metrics(earlier.query.metrics))
        start = _read_day(given, Parameter.START, last - timedelta(days=earlier.query.days - 1), problems)
        base = earlier.query.within(start, _read_day(given, Parameter.END, last, problems))
    fixed = tuple(view.kept_by_dimension()) if view else ()
    columns = tuple(value for name, value in pairs if name == _COLUMN)
    query, wrong = _choose_columns(base, columns, fixed, defaults)
    metrics = known_metrics(query.metrics)
    spans = {preset: defaults.resolve(preset, metrics) for preset in Preset}
    return Question(
        query,
        source,
        *_list_columns(base, query, fixed, defaults),
        (*problems, *wrong),
        not wrong and (view is not None or not problems),
        view,
        describe_freshness(metrics, defaults),
        {preset: span for preset, span in spans.items() if (span[1] - span[0]).days < defaults.rules.days},
        _describe_rows(view) if view else "",
    )


def _add_titles(query: ReportQuery, rules: Rules) -> ReportQuery:
    for name in query.dimensions:
        title = find_title_dimension(Dimension[name])
        if title in check.allowed_with(query, rules).dimensions:
            place = query.dimensions.index(name) + 1
            query = replace(query, dimensions=(*query.dimensions[:place], title.name, *query.dimensions[place:]))
    return query


def _choose_columns(
    base: ReportQuery, columns: tuple[str, ...], fixed: Collection[Dimension], defaults: Defaults
) -> tuple[ReportQuery, tuple[Problem, ...]]:
    query = base
    if columns:
        chosen = [name for name in dict.fromkeys(columns) if name != NONE]
        metrics = [name for name in chosen if name in Metric.__members__]
        dimensions = [*(name for name in chosen if name not in metrics), *(row.name for row in fixed)]
        query = replace(base, metrics=tuple(metrics), dimensions=tuple(dict.fromkeys(dimensions)))
    return query, find_problems(query, frozenset(REPORT_SCOPES), defaults.today, defaults.rules)


def _list_columns(
    base: ReportQuery, query: ReportQuery, fixed: Collection[Dimension], defaults: Defaults
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    kept = {row.name for row in fixed}
    labels = {row.name: name_dimension(row) for row in Dimension}
    labels |= {row.name: name_metric(row) for row in Metric}
    own = dict.fromkeys((*query.dimensions, *base.dimensions, *query.metrics, *base.metrics))
    chosen = {*query.dimensions, *query.metrics}
    allowed = check.allowed_with(query, defaults.rules)
    fitting = [row.name for row in (*allowed.dimensions, *allowed.metrics) if row.name not in own]
    columns = tuple((name, labels.get(name, name), name in chosen, name in kept) for name in own)
    return columns, tuple((name, labels[name], False, False) for name in fitting)


def _read_day(given: dict[str, str], name: str, default: date, problems: list[Problem]) -> date:
    text = given.get(name, "").strip()
    try:
        return parse_day(text) if text else default
    except ValueError:
        problems.append(Problem(Code.BAD_DATE, (str(name),), explain_day(text, default)))
        return default


def _list_ranges(question: Question) -> Iterator[explore.Range]:
    view, days = question.view, (question.query.start, question.query.end)
    for preset, span in question.ranges.items():
        # The range's name stays with a view that is then saved.
        query = urlencode([*question.fields_of(span), (str(Parameter.PRESET), preset.word)])
        is_chosen = preset is view.preset if view else span == days
        yield preset.short_label, format_days(*span), f"{_PATH}?{query}", is_chosen


def _show(visit: Visit, question: Question, status: int = 200, size: str = "") -> Response:
    return pages.render(
        visit,
        "report_form.html",
        status,
        question=question,
        ranges=list(_list_ranges(question)),
        size=size,
        problems=[problem.sentence for problem in question.problems],
        programs=write_programs(question.query, visit.origin) if question.is_askable else {},
    )


# A terminal takes control characters as keys, within quotes too: what a link put into a filter would run when pasted.
_UNTYPED = "# A filter has characters that cannot be typed into a terminal: take the program in Python or for curl.\n"


def write_programs(query: ReportQuery, url: str) -> dict[str, str]:
    """Write the programs for a query to the service at this address, by their names."""
    programs = (("reelport", _write_command), ("Python", _write_python), ("curl", _write_curl))
    return {name: write(query, url) for name, write in programs}


def _write_curl(query: ReportQuery, url: str) -> str:
    ask = json.dumps({"query": _on_one_line(ASK), "variables": {"input": query.to_wire()}})
    # Within an unquoted here-document the shell puts the token in, and leaves `\$` a dollar sign.
    look = json.dumps({"query": _on_one_line(LOOK), "variables": {"reportToken": "@"}})
    program = pages.load_templates().get_template("program_curl.txt")
    return program.render(
        url=shlex.quote(url),
        token_path=TOKEN_PATH,
        graphql_path=GRAPHQL_PATH,
        file=shlex.quote(name_file(query, "csv")),
        look=look.replace("$", r"\$").replace("@", "$report"),
        ask=ask,
    )


def _write_python(query: ReportQuery, url: str) -> str:
    program = pages.load_templates().get_template("program_python.txt")
    return program.render(
        metrics=ascii(list(query.metrics)),
        dimensions=ascii(list(query.dimensions)),
        start=repr(query.start).removeprefix("datetime."),
        end=repr(query.end).removeprefix("datetime."),
        filters=ascii(dict(query.filters)),
        product=ascii(query.product),
        url=ascii(url),
        file=ascii(name_file(query, "csv")),
    )


def _write_command(query: ReportQuery, url: str) -> str:
    if not all(value.isprintable() for _, value in query.filters):
        return _UNTYPED
    words = ["reelport", "report", "run", "--url", url, "--metrics", ",".join(query.metrics)]
    words += ["--dimensions", ",".join(query.dimensions)] if query.dimensions else []
    words += ["--start", query.start.isoformat(), "--end", query.end.isoformat()]
    words += ["--product", query.product] if query.product != DEFAULT_PRODUCT else []
    for name, value in query.filters:
        words += ["--filter", f"{name}={value}"]
    return shlex.join([*words, "-o", name_file(query, "csv")]) + "\n"


def _on_one_line(document: str) -> str:
    return " ".join(document.split())
