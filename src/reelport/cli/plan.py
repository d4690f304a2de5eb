"""`reelport plan`: the windows that a report over any range takes, without calling anything."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reelport.cli.listing import listed, told
from reelport.cli.options import Ask, Profile, Url
from reelport.errors import MergeRefused, QueryRefused
from reelport.wording import format_count, format_duration

if TYPE_CHECKING:
    from reelport.client.ranges.plan import Plan

Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]


def plan(ask: Ask, *, profile: Profile = None, url: Url = None, json: Json = False) -> None:
    """Show the windows that a report over any range takes, how long that takes at most, and what is done already.

    Example: reelport plan --metrics VIEWS --dimensions DAY --start 1000d --end yesterday

    Calls nothing. `report run` over the same range does what the plan says. Status 5 where windows of the query
    can't be merged into one right answer.
    """
    from reelport.cli.connection import connect
    from reelport.cli.refusal import in_options

    query = ask.query()
    with connect(url, profile, insecure=True) as client:
        try:
            made = client.reports.plan(query)
        except QueryRefused as error:
            raise in_options(error, query) from None
    if json:
        told(_facts(made))
    else:
        listed([_row(number, each) for number, each in enumerate(_facts_of_windows(made), start=1)], as_json=False)
        print("\n".join(_sentences(made)), file=sys.stderr)
    if made.refusal is not None:
        raise MergeRefused(made.refusal)


def _facts(made: Plan) -> dict[str, object]:
    return {
        "query": made.query.to_wire(),
        "windows": _facts_of_windows(made),
        "slots": made.slots,
        "to_make": made.to_make,
        "longest_seconds": int(made.longest.total_seconds()),
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


def _sentences(made: Plan) -> list[str]:
    """What the table doesn't show."""
    from reelport.client.ranges.plan import Standing

    done = sum(each.standing is Standing.HERE for each in made.windows)
    windows, days = format_count(len(made.windows), "window"), format_count(made.query.days, "day")
    said = [f"{days} in {windows}, {made.slots} at a time; {done} here already."]
    if made.to_make:
        limit = format_duration(made.longest.total_seconds())
        said.append(f"{format_count(made.to_make, 'report')} to be made: {limit} at most, often far less.")
    if made.way is not None and len(made.windows) > 1:
        said.append(f"Merged: {made.way}.")
    if made.silent:
        said.append(f"Asked for beside them, and dropped again: {', '.join(made.silent)}.")
    return said
