"""Output of `reelport sync`: progress on stderr, coverage and comparisons on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reelport.cli.output.listing import print_json as as_json
from reelport.cli.output.listing import quote_command
from reelport.cli.output.progress import JsonEvents, ProgressLines
from reelport.client.events import Bisected, Event
from reelport.sync.comparison import Comparison, Moved, Number
from reelport.sync.coverage import Coverage
from reelport.sync.events import Began, Failed, Loaded, OfWindow, Planned, SyncEvent
from reelport.wording import format_count


class SyncProgress:
    """Reports events of a sync: JSON to a program, words and counted windows to a person."""

    def __init__(self, printer: ProgressLines | JsonEvents) -> None:
        self._printer = printer
        self._windows = 0
        self._done = 0

    def __call__(self, event: SyncEvent) -> None:
        """Report an event."""
        match self._printer, event:
            case JsonEvents() as program, OfWindow(spec, window, happened):
                program.report_event({"spec": spec, "window": window}, happened)
            case JsonEvents() as program, _:
                program(cast("Event", event))  # it prints whatever is a dataclass
            case ProgressLines() as person, OfWindow(spec, window, happened):
                self._windows += isinstance(happened, Bisected)
                person.report_event(f"{spec} {window}", happened)
            case ProgressLines() as person, _:
                self._count(person, event)
                for line in _lines(event):
                    person.say(line)

    def _count(self, person: ProgressLines, event: SyncEvent) -> None:
        match event:
            case Planned(windows=windows):
                self._windows += len(windows)
            case Loaded(spec=spec, window=window) | Failed(spec=spec, window=window):
                self._done += 1
                person.finish_window(f"{spec} {window}", self._done, self._windows)


def _lines(event: SyncEvent) -> list[str]:
    match event:
        case Planned(spec, ()):
            return [f"{spec}: up to date"]
        case Began(spec, window, number, of):
            return [f"{spec} {window}: reading window {number} of {of}"]
        case Loaded(spec, window, before, rows, _, notes):
            instead = f" in the place of {before:,}" if before else ""
            loaded = f"loaded, {format_count(rows, 'row')}{instead}"
            return [f"{spec} {window}: {line}" for line in (loaded, *notes)]
        case Failed(spec, window, stops=True):
            return [f"{spec} {window}: not loaded."]  # the run's end says why
        case Failed(spec, window, reason):
            return [f"{spec} {window}: not loaded. {reason.removeprefix(f'{spec}: ')}"]
        case _:
            return []


def print_coverage(standings: Iterable[Coverage], *, json: bool) -> None:
    """Print the coverage of copies: each one's days by their state, or JSON."""
    standings = tuple(standings)
    if json:
        as_json([_coverage_as_json(each) for each in standings])
        return
    console = Console(highlight=False, soft_wrap=True)
    for each in standings:
        console.print(_headline(each))
        days = {"verified": each.verified, "moving, read again": each.moving, "missing": each.missing}
        console.print("\n".join(f"  {name}: {found}" for name, found in days.items() if found.spans), markup=False)


def print_comparison(found: Comparison, options: Sequence[str] = ()) -> None:
    """Print how far a copy's numbers have changed; `options` go into the suggested command."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if found.moved:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("day", "", "rows", "gone", "come", *found.moved[0].sums):
            table.add_column(name, justify="left" if name in {"day", ""} else "right")
        for each in found.moved:
            table.add_row(*_cells(each))
        console.print(table)
    console.print(_format_verdict(found, options))


def comparisons_as_json(found: Iterable[Comparison], options: Sequence[str] = ()) -> None:
    """Print the comparisons of all copies as JSON."""
    as_json([_comparison_as_json(each, options) for each in found])


def range_options(first: date | None, last: date | None) -> list[str]:
    """Format the options by which `sync run` reads these days again."""
    days = {"--from": first, "--to": last}
    return [word for name, day in days.items() if day is not None for word in (name, day.isoformat())]


def _headline(each: Coverage) -> Text:
    line = Text().append(each.spec.name, style="bold")
    place, here = each.spec.place.path, Path.cwd()
    line.append(f"  {place.relative_to(here) if place.is_relative_to(here) else place}, ")
    line.append(f"{format_count(each.rows, 'row')}; {format_count(len(each.verified), 'day')} verified")
    line.append(f", {len(each.moving):,} moving, {len(each.missing):,} missing")
    if each.last_success:
        line.append(f"; last brought up to date on {each.last_success:%Y-%m-%d %H:%M} UTC")
    if each.outdated:
        line.append("; the report asks for something else now: the next run reads every day again", style="yellow")
    return line


def _coverage_as_json(each: Coverage) -> dict[str, object]:
    return {
        "report": each.spec.name,
        "destination": str(each.spec.place),
        "kind": each.spec.place.kind,
        "service": each.service or None,
        "rows": each.rows,
        "outdated": each.outdated,
        "last_success": f"{each.last_success:%Y-%m-%dT%H:%M:%SZ}" if each.last_success else None,
        "wanted": each.wanted.to_json(),
        "verified": each.verified.to_json(),
        "moving": each.moving.to_json(),
        "missing": each.missing.to_json(),
    }


def _comparison_as_json(found: Comparison, options: Sequence[str]) -> dict[str, object]:
    return {
        "report": found.spec.name,
        "start": found.span[0].isoformat(),
        "end": found.span[1].isoformat(),
        "days": found.days,
        "absent": found.absent.to_json(),
        "lookback": found.spec.lookback,
        "lookback_needed": found.lookback,
        "read_again_by": _reread_command(found, options),
        "moved": [
            {
                "day": each.day.isoformat(),
                "verified": each.verified,
                "rows": [each.before, each.now],
                "rows_gone": each.gone,
                "rows_come": each.come,
                "sums": {name: [str(before), str(now)] for name, (before, now) in each.sums.items()},
            }
            for each in found.moved
        ],
    }


def _cells(each: Moved) -> list[str]:
    rows = f"{each.before:,}" if each.before == each.now else f"{each.before:,} → {each.now:,}"
    sums = [_format_change(before, now) for before, now in each.sums.values()]
    return [str(each.day), "verified" if each.verified else "moving", rows, f"{each.gone:,}", f"{each.come:,}", *sums]


def _format_change(before: Number, now: Number) -> str:
    if before == now:
        return "="
    share = f" ({float(now - before) / float(before):+.1%})" if before else ""
    return f"{before:,} → {now:,}{share}"


def _reread_command(found: Comparison, options: Sequence[str]) -> str | None:
    if found.overdue is None:
        return None
    return quote_command(["reelport", "sync", "run", found.spec.name, *range_options(*found.overdue), *options])


def _format_verdict(found: Comparison, options: Sequence[str]) -> Text:
    days = f"{format_count(found.days, 'day')}, {found.span[0]} to {found.span[1]}"
    absent = f" Not compared, for the copy doesn't have them: {found.absent}." if found.absent.spans else ""
    moved = f"{format_count(len(found.moved), 'month')} of the" if found.spec.monthly else f"{len(found.moved)} of"
    if found.lookback is None:
        return Text(f"{found.spec.name}: nothing has moved in {days}.{absent}")
    lookback = format_count(found.spec.lookback, "day")
    late = sum(each.verified for each in found.moved)
    text = f"{found.spec.name}: {moved} {days}, moved after being read. "
    if late:
        text += (
            f"Taken to stand still before: {late}. A lookback of {lookback} is too short, {found.lookback} would have "
            f"caught all. `{_reread_command(found, options)}` reads these days again."
        )
    else:
        text += f"All of them are read again by the next run (a lookback of {lookback})."
    return Text(text + absent)
