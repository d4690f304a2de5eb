"""Times of a report on an axis: holes filled, round ticks, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from reelport.catalog import Grain
from reelport.language import N_, _, current_language
from reelport.wording import format_list, number_day

GRAIN_WORDS: dict[int, str] = {
    Grain.MINUTE: N_("minute"),
    Grain.HOUR: N_("hour"),
    Grain.DAY: N_("day"),
    Grain.WEEK: N_("week"),
    Grain.MONTH: N_("month"),
}
_STEPS: dict[int, timedelta] = {  # from a time to the next one; months have none
    Grain.MINUTE: timedelta(minutes=1),
    Grain.HOUR: timedelta(hours=1),
    Grain.DAY: timedelta(days=1),
    Grain.WEEK: timedelta(weeks=1),
}
# How many characters of a time's label name its hour, day or month. A week has the label of its first day.
LABEL_LENGTHS: dict[int, int] = {Grain.HOUR: 13, Grain.DAY: 10, Grain.MONTH: 7}

MOST_FILLED = 4000  # with more times than this between first and last, gaps are not drawn
MOST_TICKS = 8
_LONGEST_TICK = 17  # characters of a tick that is no time, which some vendor may send


def parse_time(label: str) -> datetime | None:
    """Parse a label's time as a datetime without a zone; None where it is no time."""
    try:
        return datetime.fromisoformat(label + {7: "-01"}.get(len(label), "")).replace(tzinfo=None)
    except ValueError:
        return None


def fill_times(labels: Iterable[str], grain: int) -> list[str]:
    """List all times from first to last label, up to a limit; none if a label is no time."""
    moments = [parse_time(label) for label in labels]
    known = [moment for moment in moments if moment is not None]
    times: list[str] = []
    if not known or len(known) < len(moments):
        return times
    moment, last = min(known), max(known)
    while moment <= last and len(times) <= MOST_FILLED:
        times.append(format_time(moment, grain))
        moment = next_time(moment, grain)
    return times


def format_time(moment: date, grain: int) -> str:
    """Format a time as a report does: 2026-07-01T05:00:00Z, 2026-07-01, 2026-07."""
    if grain <= Grain.HOUR:
        return f"{moment:%Y-%m-%dT%H:%M}:00Z"
    return f"{moment:%Y-%m-%d}"[: LABEL_LENGTHS.get(grain)]


def next_time(moment: datetime, grain: int) -> datetime:
    """Return the time that follows one, of the same grain."""
    if step := _STEPS.get(grain):
        return moment + step
    return (moment.replace(day=1) + timedelta(days=31)).replace(day=1)


def describe_partial(labels: Sequence[str], grain: int, start: date, end: date) -> tuple[str, ...]:
    """Say of which weeks or months only a part is shown; nothing where all are whole."""
    if grain < Grain.WEEK or not labels:
        return ()
    ends = dict.fromkeys(moment for label in (labels[0], labels[-1]) if (moment := parse_time(label)))
    after = end + timedelta(days=1)
    partial = [each for each in ends if each.date() < start or next_time(each, grain).date() > after]
    times = [describe_time(format_time(moment, grain)) for moment in partial]
    if grain == Grain.WEEK:
        times = [_("the week of %(day)s", day=time) for time in times]
    return (_("Of %(times)s only a part is shown.", times=format_list(times)),) if times else ()


def count_settled(labels: Sequence[str], grain: int, last_complete: date | None, end: date) -> int:
    """Count the times, from the first, whose days up to `end` are complete.

    None are where there is no last complete day. A month is settled with the last of its days that is shown.
    """
    settled = 0
    for moment in map(parse_time, labels):
        if moment is None or last_complete is None or min(_last_day(moment, grain), end) > last_complete:
            break
        settled += 1
    return settled


def find_days(label: str, grain: int) -> tuple[str, str] | None:
    """Find the first and last day of a time; None where it is no time."""
    moment = parse_time(label)
    return None if moment is None else (f"{moment:%Y-%m-%d}", f"{_last_day(moment, grain):%Y-%m-%d}")


def describe_time(label: str, *, with_weekday: bool = False) -> str:
    """Write a time in words: 1 Jul 2026 05:00, 1 Jul 2026, Jul 2026. Other labels stay."""
    moment = parse_time(label)
    if moment is None:
        return label
    day = _("%(day)s %(month)s %(year)s", day=number_day(moment), month=_name_month(moment), year=moment.year)
    match len(label):
        case 7:
            return _("%(month)s %(year)s", month=_name_month(moment), year=moment.year)
        case 10:
            return f"{current_language().short_days[moment.weekday()]} {day}" if with_weekday else day
        case _:
            return f"{day} {moment:%H:%M}"


def _name_month(moment: date) -> str:
    return current_language().short_months[moment.month - 1]


def make_ticks(labels: Sequence[str], grain: int, most: int = MOST_TICKS) -> dict[int, str]:
    """Return at most `most` labels of an axis by index, with the year where years differ."""
    years = {label[:4] for label in labels}
    days = {label[:10] for label in labels}
    chosen = next((found for found in _align_ticks(labels, grain) if 1 < len(found) <= most), None)
    places = chosen or list(range(0, len(labels), max(1, -(-len(labels) // most))))
    return {place: _format_tick(labels[place], grain, years=len(years) > 1, days=len(days) > 1) for place in places}


def _align_ticks(labels: Sequence[str], grain: int) -> list[list[int]]:
    """Return candidate ticks, finest first: round hours, weeks, firsts of months, years."""
    moments = [(place, moment) for place, label in enumerate(labels) if (moment := parse_time(label))]
    months = [(p, at.year * 12 + at.month - 1) for p, at in moments if grain >= Grain.MONTH or at.day == 1]
    firsts = [[p for p, month in months if month % step == 0] for step in (1, 3, 6, 12, 24, 60, 120)]
    match grain:
        case Grain.MINUTE:
            every = [[p for p, at in moments if (at.hour * 60 + at.minute) % step == 0] for step in (5, 15, 60, 180)]
        case Grain.HOUR:
            every = [[p for p, at in moments if at.hour % step == 0] for step in (1, 3, 6, 12, 24)]
        case Grain.DAY | Grain.WEEK:
            weeks = [[p for p, _at in moments if p % step == 0] for step in (1, 2, 7, 14)]
            every = [*weeks[:3], *(found for found in firsts if len(found) > 2), weeks[3], *firsts]  # noqa: PLR2004
        case _:
            every = firsts
    return every


def _format_tick(label: str, grain: int, *, years: bool, days: bool) -> str:
    moment = parse_time(label)
    if moment is None:
        return label[:_LONGEST_TICK]
    day = _("%(day)s %(month)s", day=number_day(moment), month=_name_month(moment))
    day = describe_time(label[:10]) if years else day
    if grain <= Grain.HOUR:
        return f"{day} {moment:%H:%M}" if days else f"{moment:%H:%M}"
    return describe_time(label[:7]) if grain == Grain.MONTH else day


def _last_day(moment: datetime, grain: int) -> date:
    return (next_time(moment, max(grain, Grain.DAY)) - timedelta(days=1)).date()
