"""`reelport plan`: show the windows into which a report's range is cut. Calls nothing."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from reelport.cli.arguments.options import Profile, QueryOptions, ServiceOptions, Url, open_session, read_settings
from reelport.cli.arguments.query_problems import name_options, refuse_unsendable
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.listing import PrintJson, print_json, print_list
from reelport.client.ranges.plan import Plan, Standing, plan_range
from reelport.errors import MergeRefused, QueryRefused
from reelport.wording import format_count, format_duration

if TYPE_CHECKING:
    from reelport.client.session import Session

_REMEMBERED = 50  # how many of the last reports count for the typical duration


def plan(ask: QueryOptions, *, profile: Profile = None, url: Url = None, json: PrintJson = False) -> None:
    """Show the windows of a report over any range, how long they take, and what is done.

    Example: reelport plan --metrics VIEWS --dimensions DAY --start 1000d --end yesterday

    Calls nothing. `report run` over the same range does what the plan says. Status 5 where windows of the query
    can't be merged into one right answer; then only `--json` shows them.
    """
    service = ServiceOptions(profile=profile, url=url, insecure=True)
    refuse_together(ask.query, beside=[partial(refuse_unsendable, ask), partial(read_settings, service)])
    query = ask.query()
    session = open_session(service)
    try:
        planned = plan_range(session, query)
    except QueryRefused as error:
        raise name_options(error, query) from None
    longest, typical = _estimate(planned, session)
    if json:
        print_json(_facts(planned, longest, typical))
    if planned.refusal is not None:
        raise MergeRefused(planned.refusal)
    if not json:
        windows = enumerate(_facts_of_windows(planned), start=1)
        rows = [{"window": n, **each, "state": Standing[str(each["state"]).upper()]} for n, each in windows]
        print_list(rows, as_json=False)
        print("\n".join(_list_sentences(planned, longest, typical)), file=sys.stderr)


def _estimate(planned: Plan, session: Session) -> tuple[timedelta | None, timedelta | None]:
    """Estimate how long all reports take: at most, and by the median of this key's last ones."""
    rows = [row for row in session.ledger.list_rows() if row.identity == session.settings.identity]
    took = sorted([row.finished - row.asked for row in rows if row.finished and row.asked][-_REMEMBERED:])
    rounds = math.ceil(planned.to_make / planned.slots)
    longest = planned.longest if session.settings.is_dailymotion else None
    return longest, took[(len(took) - 1) // 2] * rounds if took else None


def _facts(planned: Plan, longest: timedelta | None, typical: timedelta | None) -> dict[str, object]:
    return {
        "query": planned.query.to_wire(),
        "windows": _facts_of_windows(planned),
        "slots": planned.slots,
        "to_make": planned.to_make,
        "longest_seconds": None if longest is None else int(longest.total_seconds()),
        "typical_seconds": None if typical is None else round(typical.total_seconds(), 1),
        "merge": None if planned.way is None else planned.way.name.lower(),
        "asked_beside": list(planned.silent),
        "refusal": planned.refusal,
    }


def _facts_of_windows(planned: Plan) -> list[dict[str, object]]:
    return [
        {
            "start": each.window.start,
            "end": each.window.end,
            "days": each.window.days,
            "state": each.standing.name.lower(),
            "report": each.token,
        }
        for each in planned.windows
    ]


def _list_sentences(planned: Plan, longest: timedelta | None, typical: timedelta | None) -> list[str]:
    done = sum(each.standing is Standing.HERE for each in planned.windows)
    windows, days = format_count(len(planned.windows), "window"), format_count(planned.query.days, "day")
    sentences = [f"{days} in {windows}, {planned.slots} at a time; {done} here already."]
    if planned.to_make:
        estimates = []
        if typical is not None:
            seconds = typical.total_seconds()
            time = "less than a second" if seconds < 1 else f"some {format_duration(seconds)}"
            estimates.append(f"{time}, as far as your earlier reports there tell")
        if longest is not None:
            estimates.append(f"{format_duration(longest.total_seconds())} at most, often far less")
        estimate = f": {'; '.join(estimates)}" if estimates else ""
        sentences.append(f"{format_count(planned.to_make, 'report')} to be made{estimate}.")
    if planned.way is not None and len(planned.windows) > 1:
        sentences.append(f"Merged: {planned.way}.")
    if planned.silent:
        sentences.append(f"Asked for beside them, and dropped again: {', '.join(planned.silent)}.")
    return sentences
