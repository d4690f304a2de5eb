"""What the commands of `reelport sync` say: of a run on stderr, of how copies stand and have moved on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reelport.cli.output.calendar import calendar, legend
from reelport.cli.output.json_events import JsonEvents
from reelport.cli.output.listing import told as as_json
from reelport.cli.output.progress_lines import ProgressLines
from reelport.cli.output.shell_quoting import quote_command
from reelport.client.events import Bisected, Event
from reelport.sync.comparison import Comparison, Moved, Number
from reelport.sync.coverage import Coverage
from reelport.sync.events import Began, Failed, Loaded, OfWindow, Planned, SyncEvent
from reelport.wording import format_count


class Telling:
    """Tells what happens in a sync: to a program as it is, to a person in words, with a count of windows."""

    def __init__(self, voice: ProgressLines | JsonEvents) -> None:
        self._voice = voice
        self._windows = 0
        self._done = 0

    def __call__(self, event: SyncEvent) -> None:
        """Take in what happened."""
        match self._voice, event:
            case JsonEvents() as program, OfWindow(spec, window, happened):
                program.of({"spec": spec, "window": window}, happened)
            case JsonEvents() as program, _:
                program(cast("Event", event))  # it prints whatever is a dataclass
            case ProgressLines() as person, OfWindow(spec, window, happened):
                self._windows += isinstance(happened, Bisected)
                person.of(f"{spec} {window}", happened)
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
                person.over(f"{spec} {window}", self._done, self._windows)


def _lines(event: SyncEvent) -> list[str]:
    match event:
        case Planned(spec, ()):
            return [f"{spec}: up to date"]
        case Began(spec, window, number, of):
            return [f"{spec} {window}: {number} of {of}"]
        case Loaded(spec, window, before, rows, _, notes):
            instead = f" in the place of {before:,}" if before else ""
            said = f"loaded, {format_count(rows, 'row')}{instead}"
            return [f"{spec} {window}: {line}" for line in (said, *notes)]
        case Failed(spec, window, reason):
            return [f"{spec} {window}: not loaded. {reason.removeprefix(f'{spec}: ')}"]
        case _:
            return []


def print_standings(standings: Iterable[Coverage], *, json: bool) -> None:
    """Print how copies stand: drawn, or as JSON."""
    standings = tuple(standings)
    if json:
        as_json([_facts(each) for each in standings])
        return
    console = Console(highlight=False, soft_wrap=True)
    fancy = console.encoding.startswith("utf")
    for each in standings:
        console.print(_headline(each))
        console.print(calendar(each, fancy=fancy))
        console.print()
    console.print(legend(fancy=fancy))


def print_comparison(found: Comparison, options: Sequence[str] = ()) -> None:
    """Print how far the numbers of a copy have moved, in a table and words.

    `options` are those by which a further command finds the same file and service.
    """
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if found.moved:
        console.print(_table(found))
    console.print(_verdict(found, options))


def comparisons_as_json(found: Iterable[Comparison], options: Sequence[str] = ()) -> None:
    """The same of all copies as JSON."""
    as_json([_compared(each, options) for each in found])


def range_options(first: date | None, last: date | None) -> list[str]:
    """The options by which `sync run` reads these days again."""
    days = {"--from": first, "--to": last}
    return [word for name, day in days.items() if day is not None for word in (name, day.isoformat())]


def _headline(each: Coverage) -> Text:
    line = Text().append(each.spec.name, style="bold")
    line.append(
        f"  {_near(each.spec.place.path)}, {format_count(each.rows, 'row')}; "
        f"{format_count(len(each.verified), 'day')} verified"
    )
    line.append(f", {len(each.moving):,} moving, {len(each.missing):,} missing")
    if each.outdated:
        line.append("; the report asks for something else now: the next run reads every day again", style="yellow")
    return line


def _near(path: Path) -> Path:
    """A path as one names it from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _facts(each: Coverage) -> dict[str, object]:
    return {
        "report": each.spec.name,
        "destination": str(each.spec.place),
        "kind": each.spec.place.kind,
        "service": each.service or None,
        "rows": each.rows,
        "outdated": each.outdated,
        "wanted": each.wanted.to_json(),
        "verified": each.verified.to_json(),
        "moving": each.moving.to_json(),
        "missing": each.missing.to_json(),
    }


def _compared(found: Comparison, options: Sequence[str]) -> dict[str, object]:
    return {
        "report": found.spec.name,
        "start": found.window.start.isoformat(),
        "end": found.window.end.isoformat(),
        "days": found.days,
        "lookback": found.spec.lookback,
        "lookback_needed": found.lookback,
        "read_again_by": _command(found, options),
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


def _table(found: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(found.moved[0].sums)
    table.add_column("day")
    for name in ("", "rows", "gone", "come", *names):
        table.add_column(name, justify="right" if name else "left")
    for each in found.moved:
        table.add_row(*_cells(each))
    return table


def _cells(each: Moved) -> list[str]:
    rows = f"{each.before:,}" if each.before == each.now else f"{each.before:,} → {each.now:,}"
    sums = [_change(before, now) for before, now in each.sums.values()]
    return [str(each.day), "verified" if each.verified else "moving", rows, f"{each.gone:,}", f"{each.come:,}", *sums]


def _change(before: Number, now: Number) -> str:
    if before == now:
        return "="
    share = f" ({float(now - before) / float(before):+.1%})" if before else ""
    return f"{before:,} → {now:,}{share}"


def _command(found: Comparison, options: Sequence[str]) -> str | None:
    """The command that reads again what has moved and no run reads by itself; None when there is nothing of it."""
    if found.overdue is None:
        return None
    return quote_command(["reelport", "sync", "run", found.spec.name, *range_options(*found.overdue), *options])


def _verdict(found: Comparison, options: Sequence[str]) -> Text:
    days = f"{format_count(found.days, 'day')}, {found.window.start} to {found.window.end}"
    moved = f"{format_count(len(found.moved), 'month')} of the" if found.spec.monthly else f"{len(found.moved)} of"
    if found.lookback is None:
        return Text(f"{found.spec.name}: nothing has moved in {days}.")
    lookback = format_count(found.spec.lookback, "day")
    late = sum(each.verified for each in found.moved)
    said = f"{found.spec.name}: {moved} {days}, moved after being read. "
    if late:
        said += (
            f"{late} of them were taken to stand still: a lookback of {lookback} is too short, "
            f"{found.lookback} would have caught them. `{_command(found, options)}` reads them again."
        )
    else:
        said += f"All of them are read again by the next run (a lookback of {lookback})."
    return Text(said)
