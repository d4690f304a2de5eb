"""The executable schema, and resolvers that call a use case each.

A refused field is null and adds its reasons to the context's `faults`; other fields are not affected. All problems of
a report query are found together, also those that it would still have with the right names.

The fixed types of the schema stand in `schema.graphql`; those of names are made of the catalog.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import graphql
import structlog
from graphql import (
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    OperationType,
)
from sqlalchemy import Engine

from reelport.catalog import Dimension, Filter, Metric, Product, describe_standings
from reelport.check import Rules
from reelport.errors import AccessError, Problem, QueryRefused, StorageError
from reelport.query import ReportQuery
from reelport.report_details import EXTENSION, ReportDetails, Slots
from reelport.server.access.callers import Caller
from reelport.server.credentials import ServiceSecret, encode_base64
from reelport.server.files import signed_urls
from reelport.server.files.report_files import FileRecord
from reelport.server.graphql.faults import Fault
from reelport.server.limits.document_limits import MAX_LISTED
from reelport.server.reports import ask, report_access
from reelport.server.reports.report_access import FoundReport
from reelport.server.settings import Settings
from reelport.server.state.database import StateUnavailable
from reelport.wire import Code, ReportStatus, format_utc

_LOG = structlog.get_logger(__name__)
_T = TypeVar("_T")
Object = Mapping[str, Any]
"""An object of the schema: its fields by name, and its type as `__typename`."""
_LISTS = {"metrics": Metric.__members__, "dimensions": Dimension.__members__}
_OTHER_END = {"startDate": "endDate", "endDate": "startDate"}


@dataclass(slots=True)
class Context:
    """The context of one request. `base` is the beginning of download links.

    Resolvers add to the last six: `faults` are the errors of refused fields, `unfinished` and `finished` the public ids
    of such reports that the answer tells of, `complete_days` the last complete days of finished ones; `reports` and
    `slots` are told beyond the schema.
    """

    db: Engine
    settings: Settings
    service_secret: ServiceSecret
    caller: Caller
    now: datetime
    base: str
    faults: list[Fault] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    complete_days: set[date] = field(default_factory=set)
    reports: dict[str, ReportDetails] = field(default_factory=dict)
    slots: Slots | None = None

    def tell(self, report: FoundReport) -> None:
        """Tell of a report, and of its partner's slots, in place of what was told of them before."""
        self.reports[report.details.id] = report.details
        self.slots = report.load.count_slots(self.settings)
        if report.file is not None:
            self.finished.add(report.id)
            if report.last_complete_day is not None:
                self.complete_days.add(report.last_complete_day)

    def format_extensions(self) -> dict[str, Any]:
        """Write `extensions`; empty if no report was told and no ask refused for want of a slot."""
        if self.slots is None:
            return {}
        told = [details.to_json() for details in self.reports.values()]
        return {"extensions": {EXTENSION: {"reports": told, "slots": self.slots.to_json()}}}


_Info = GraphQLResolveInfo[Context]


def _parse_moment(value: object) -> str:
    if not isinstance(value, str):
        raise GraphQLError('A DateTime is a text such as "2023-07-01".')
    return value


def _resolve_ask(_: object, info: _Info, input: Object) -> Object | None:  # noqa: A002 - the schema's name
    context: Context = info.context
    asked = _run_or_refuse(info, lambda: _ask_report(context, input))
    if asked is None:
        return None
    return {
        "reportFile": _make_report(asked),
        "status": "SUCCESS",
        "clientMutationId": input.get("clientMutationId"),
    }


def _ask_report(context: Context, wire: Object) -> FoundReport:
    try:
        query = ReportQuery.from_wire(wire)
    except QueryRefused:
        raise QueryRefused(
            find_problems(wire, context.caller.scopes, context.now.date(), ask.make_rules(context.settings))
        ) from None
    asked = ask.ask_report(context.db, context.settings, context.caller, query, context.now)
    context.tell(asked)
    return asked


def _make_partner(context: Context) -> Object:
    return {"__typename": "PartnerSpace", "id": _encode_id("PartnerSpace", context.caller.organization)}


def _resolve_report_file(_: object, info: _Info, reportToken: str) -> Object | None:  # noqa: N803 - the schema's
    found = _run_or_refuse(info, lambda: _find_report(info.context, reportToken))
    return None if found is None else _make_report(found)


def _find_report(context: Context, token: str) -> FoundReport | None:
    found = report_access.find_report(context.db, context.caller, token, context.now)
    if found is not None:
        context.tell(found)
        if found.status is ReportStatus.IN_PROGRESS:
            context.unfinished.add(found.id)
    return found


def _make_report(report: FoundReport) -> Object:
    return {
        "__typename": "PartnerReportFile",
        "id": _encode_id("PartnerReportFile", report.token),
        "reportToken": report.token,
        "status": report.status.value,
        "createDate": report.created_at,
        "createdAt": report.created_at,
        "report": report,
    }


def _resolve_download_links(root: Object, info: _Info, first: int | None = None, page: int | None = 1) -> Object | None:
    page = 1 if page is None else page
    # Not 0: such pages have no link and no end.
    least = {"first": (first, 1), "page": (page, 1)}
    below = [name for name, (value, bound) in least.items() if value is not None and value < bound]
    if below:
        context: Context = info.context
        problems = (Problem(Code.INVALID_VALUE, (name,), f"{name} is too small.") for name in below)
        context.faults.extend(_make_fault(info, problem) for problem in problems)
        return None
    report = root["report"]
    link = None if report.file is None else _make_link(info.context, report, report.file)
    return _make_connection(link, root["reportToken"], page)


def _make_link(context: Context, report: FoundReport, file: FileRecord) -> Object:
    until = min(context.now + timedelta(seconds=context.settings.link_seconds), report.expires_at)
    return {
        "__typename": "ReportFileDownloadLink",
        "id": _encode_id("ReportFileDownloadLink", report.token),
        "link": context.settings.report_store.sign(file.name, until)
        or context.base + signed_urls.sign_url(context.service_secret, report.id, context.caller.key_id, until),
    }


def _make_connection(link: Object | None, token: str, page: int) -> Object:
    """Make the pages of a report's one link: it is on the first, whatever a page may hold."""
    shown = link if page == 1 else None
    cursor = shown and shown["id"]
    return {
        "edges": [{"node": shown}] if shown else [],
        "pageInfo": {
            "hasNextPage": False,
            "hasPreviousPage": page > 1 and link is not None,
            "nextPage": None,
            "startCursor": cursor,
            "endCursor": cursor,
        },
        "metadata": _make_metadata(token),
        "totalCount": int(link is not None),
    }


def _make_metadata(token: str) -> Object:
    return {"__typename": "Metadata", "id": _encode_id("Metadata", token), "algorithm": None}


def _resolve_node(_: object, info: _Info, id: str) -> Object | None:  # noqa: A002 - the schema's name
    context: Context = info.context
    type_, key = _decode_id(id)
    if type_ == "PartnerSpace":
        return _make_partner(context) if key == context.caller.organization else None
    if type_ not in {"PartnerReportFile", "ReportFileDownloadLink", "Metadata"}:
        return None
    report = _run_or_refuse(info, lambda: _find_report(context, key))
    match type_, report:
        case _, None:
            return None
        case "PartnerReportFile", _:
            return _make_report(report)
        case "Metadata", _:
            return _make_metadata(key)
        case _:
            return _make_link(context, report, report.file) if report.file is not None else None


def _encode_id(type_: str, key: str) -> str:
    return encode_base64(f"{type_}:{key}".encode())


def _decode_id(id_: str) -> tuple[str, str]:
    try:
        text = base64.urlsafe_b64decode(id_ + "=" * (-len(id_) % 4)).decode()
    except (binascii.Error, ValueError):
        return "", ""
    type_, _, key = text.partition(":")
    return type_, key


def _run_or_refuse(info: _Info, do: Callable[[], _T]) -> _T | None:
    """Run `do` and return its result; None when it is refused, with every reason noted."""
    context: Context = info.context
    try:
        return do()
    except QueryRefused as refused:
        if len(context.faults) <= MAX_LISTED:  # What is beyond them isn't listed anyway.
            context.faults.extend(_make_fault(info, problem) for problem in refused.problems)
    except ask.PartnerQueueFull as full:
        context.slots = full.slots
        context.faults.append(_make_fault(info, Problem(Code.TOO_MANY_REPORTS, (), str(full))))
    except AccessError as changed:
        context.faults.append(_make_fault(info, Problem(Code.UNAVAILABLE, (), str(changed))))
    except StorageError as error:
        # A query changes nothing: where the state was away for it, it is refused whole.
        if info.operation.operation is OperationType.QUERY and isinstance(error, StateUnavailable):
            raise
        _LOG.error("the state can't be used", reason=str(error))
        sentence = "The service can't do this now: try again."
        context.faults.append(_make_fault(info, Problem(Code.UNAVAILABLE, (), sentence)))
    return None


def _make_fault(info: _Info, problem: Problem) -> Fault:
    return Fault.from_problem(problem, tuple(info.path.as_list()), info.field_nodes[0])


def build_schema() -> GraphQLSchema:
    """Build the executable schema with the resolvers of this module."""
    schema = graphql.build_schema(build_sdl())
    date_time = schema.type_map["DateTime"]
    assert isinstance(date_time, GraphQLScalarType)  # noqa: S101 - told to the type checker
    date_time.coerce_output_value, date_time.coerce_input_value = format_utc, _parse_moment
    for (type_name, name), resolve in _RESOLVERS.items():
        type_ = schema.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)  # noqa: S101 - told to the type checker
        type_.fields[name].resolve = resolve
    return schema


_RESOLVERS: dict[tuple[str, str], Callable[..., Object | None]] = {
    ("Query", "partner"): lambda _, info: _make_partner(info.context),
    ("Query", "node"): _resolve_node,
    ("Mutation", "askPartnerReportFile"): _resolve_ask,
    ("PartnerSpace", "reportFile"): _resolve_report_file,
    ("PartnerReportFile", "downloadLinks"): _resolve_download_links,
}


def find_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """Find every problem of a well-shaped `AskPartnerReportFileInput`, wrong dates too."""
    whole = {**wire, **{name: _as_list(wire[name]) for name in _LISTS}}
    wrong: tuple[Problem, ...] = ()
    try:
        query = ReportQuery.from_wire(whole)
    except QueryRefused as refused:
        wrong = refused.problems
        names = {str(problem.path[0]) for problem in wrong}
        # The other date in place of a wrong one: no problem of the range is then reported.
        others = {name: today if other in names else wire[other] for name, other in _OTHER_END.items() if name in names}
        query = ReportQuery.from_wire({**whole, **others})
    reported = {problem.path for problem in wrong}
    found = ask.find_problems(query, scopes, today, rules)
    return (*wrong, *(problem for problem in found if problem.path not in reported))


def foresee_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """Find the problems of an input with unknown enum names, apart from those names themselves."""
    unknown = {
        (part, index)
        for part, known in _LISTS.items()
        for index, name in enumerate(_as_list(wire[part]))
        if name is not None and name not in known
    }
    return tuple(each for each in find_problems(_drop_unknown(wire), scopes, today, rules) if each.path not in unknown)


def _drop_unknown(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Remove unknown names from an input; a null replaces those in lists, to keep indexes."""
    filters = {
        name: value
        for name, value in (wire.get("filters") or {}).items()
        if name in Filter.__members__ and (not Filter[name].choices or value in Filter[name].choices)
    }
    product = wire.get("product")
    return {
        **wire,
        **{part: [name if name in known else None for name in _as_list(wire[part])] for part, known in _LISTS.items()},
        "filters": filters,
        "product": product if product in Product.__members__ else None,
    }


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def build_sdl() -> str:
    """Build the whole schema as SDL text: the fixed types, and those of the catalog."""
    fixed = resources.files(__package__).joinpath("schema.graphql").read_text("utf-8")
    filters = "\n\n".join(f'  """{_describe(row)}"""\n  {row.name}: {row.wire_type}' for row in Filter)
    types = [
        f'"""What to keep. Every filter may be left out."""\ninput PartnerReportFilters {{\n{filters}\n}}\n',
        _format_enum("PartnerReportStatus", "Where a report stands.", ((s.value, s.sentence) for s in ReportStatus)),
        _format_enum("PartnerReportMetric", "What can be counted.", ((m.name, _describe(m)) for m in Metric)),
        _format_enum("PartnerReportDimension", "What it can be split by.", ((d.name, _describe(d)) for d in Dimension)),
        _format_enum("PartnerReportProduct", "Whose data a report keeps.", ((p.name, _describe(p)) for p in Product)),
        *(_format_enum(f.wire_type, f.sentence, ((choice, "") for choice in f.choices)) for f in Filter if f.choices),
    ]
    return "\n".join([fixed, *types])


def _describe(row: Metric | Dimension | Filter | Product) -> str:
    return f"{row.sentence} ({describe_standings(row.standings)})"


def _format_enum(name: str, sentence: str, values: Iterable[tuple[str, str]]) -> str:
    lines = [f'  """{said}"""\n  {value}' if said else f"  {value}" for value, said in values]
    return f'"""{sentence}"""\nenum {name} {{\n' + "\n".join(lines) + "\n}\n"
