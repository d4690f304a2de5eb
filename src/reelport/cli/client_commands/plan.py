"""`reelport plan`: the windows that a report over any range takes, without calling anything."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Self

from cyclopts import Parameter

from reelport.catalog import Limit
from reelport.cli.arguments.options import Ask, Profile, Url
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.listing import listed, told
from reelport.errors import MergeRefused, QueryRefused
from reelport.wording import format_count, format_duration

if TYPE_CHECKING:
    from reelport.client.ranges.plan import Plan
    from reelport.client.session import Session

_REMEMBERED = 50
"""Reports by which is judged how long one takes."""

Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]


def plan(ask: Ask, *, profile: Profile = None, url: Url = None, json: Json = False) -> None:
    """Show the windows that a report over any range takes, how long that takes, and what is done already.

    Example: reelport plan --metrics VIEWS --dimensions DAY --start 1000d --end yesterday

    Calls nothing. `report run` over the same range does what the plan says. Status 5 where windows of the query
    can't be merged into one right answer.
    """
    from reelport.cli.arguments.query_problems import in_options, refuse_unsendable
    from reelport.cli.client_commands.connection import connect, read_settings

    refuse_together(
        ask.query, beside=[partial(refuse_unsendable, ask), partial(read_settings, url, profile, insecure=True)]
    )
    query = ask.query()
    with connect(url, profile, insecure=True) as client:
        try:
            made = client.reports.plan(query)
        except QueryRefused as error:
            raise in_options(error, query) from None
        pace = Pace.of(client.session)
    if json:
        told(_facts(made, pace))
    else:
        listed([_row(number, each) for number, each in enumerate(_facts_of_windows(made), start=1)], as_json=False)
        print("\n".join(_sentences(made, pace)), file=sys.stderr)
    if made.refusal is not None:
        raise MergeRefused(made.refusal)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a report takes at a service: at most, where its documentation says, and by experience; else None."""

    at_most: timedelta | None
    typical: timedelta | None

    @classmethod
    def of(cls, session: Session) -> Self:
        """The pace of the service that is spoken to. By experience: the median of this key's last reports."""
        rows = session.ledger.list_rows() if session.ledger else ()
        own = [row for row in rows if row.identity == session.settings.identity]
        took = [row.finished - row.asked for row in own if row.finished and row.asked][-_REMEMBERED:]
        limit = timedelta(seconds=Limit.GENERATION_SECONDS.default)
        return cls(limit if session.settings.vendor else None, median_low(took) if took else None)

    def of_all(self, made: Plan) -> tuple[timedelta | None, timedelta | None]:
        """How long all reports of a plan take, at most and by experience, so many at a time as there are slots."""
        rounds = math.ceil(made.to_make / made.slots)
        return (
            None if self.at_most is None else rounds * self.at_most,
            None if self.typical is None else rounds * self.typical,
        )


def _facts(made: Plan, pace: Pace) -> dict[str, object]:
    longest, typical = pace.of_all(made)
    return {
        "query": made.query.to_wire(),
        "windows": _facts_of_windows(made),
        "slots": made.slots,
        "to_make": made.to_make,
        "longest_seconds": None if longest is None else int(longest.total_seconds()),
        "typical_seconds": None if typical is None else round(typical.total_seconds(), 1),
        "merge": None if made.way is None else made.way.name.lower(),
        "asked_beside": list(made.silent),
        "refusal": made.refusal,
    }


def _facts_of_windows(made: Plan) -> list[dict[str, object]]:
    return [
        {
            "start": each.window.start,
            "end": each.window.end,
            "days": each.window.days,
            "state": each.standing.name.lower(),
            "report": each.token,
        }
        for each in made.windows
    ]


def _row(number: int, facts: dict[str, object]) -> dict[str, object]:
    from reelport.client.ranges.plan import Standing

    return {"window": number, **facts, "state": Standing[str(facts["state"]).upper()]}


def _sentences(made: Plan, pace: Pace) -> list[str]:
    """What the table doesn't show."""
    from reelport.client.ranges.plan import Standing

    done = sum(each.standing is Standing.HERE for each in made.windows)
    windows, days = format_count(len(made.windows), "window"), format_count(made.query.days, "day")
    said = [f"{days} in {windows}, {made.slots} at a time; {done} here already."]
    if made.to_make:
        said.append(f"{format_count(made.to_make, 'report')} to be made{_format_estimate(made, pace)}.")
    if made.way is not None and len(made.windows) > 1:
        said.append(f"Merged: {made.way}.")
    if made.silent:
        said.append(f"Asked for beside them, and dropped again: {', '.join(made.silent)}.")
    return said


def _format_estimate(made: Plan, pace: Pace) -> str:
    """How long the reports of a plan take; an empty text where nothing is known of that."""
    longest, typical = pace.of_all(made)
    said = []
    if typical is not None:
        said.append(f"some {format_duration(typical.total_seconds())}, as far as your earlier reports there tell")
    if longest is not None:
        said.append(f"{format_duration(longest.total_seconds())} at most, often far less")
    return f": {'; '.join(said)}" if said else ""
