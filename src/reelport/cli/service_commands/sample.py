"""`sample`: fill the tables with believable facts to try things on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from reelport.cli.arguments.options import Whole
from reelport.cli.service_commands.access import Data
from reelport.wording import format_count

if TYPE_CHECKING:
    from rich.progress import TaskID

    from reelport.facts.sample import sample as facts


def sample(
    *,
    start: date,
    end: date,
    rows: Whole = 100_000,
    seed: Whole = 1,
    data: Data = None,
) -> None:
    """Fill the tables with believable facts, for the organizations demo and rival.

    Example: reelport sample --start 2024-01-01 --end 2024-01-31 --rows 5000

    The same days, rows and seed give the same facts. The same call twice
    changes nothing; another call adds another range, and is refused when
    sample facts lie on one of its days.

    Args:
        start: First day, from 2020-01-01.
        end: Last day, included.
        rows: Facts in all tables together; seven in ten are plays.
        seed: Whole number that the facts are drawn from.
        data: The data directory; else REELPORT_DATA, else ./reelport-data.
    """
    from reelport.server.sandbox import fill
    from reelport.server.settings import read_settings
    from reelport.storage.durable import set_readers

    settings = read_settings(data=data)
    set_readers(settings.readers)
    with _show_progress() as progress:
        found = fill(settings, start, end, rows, seed, progress)
    if not found.changed:
        print(f"These sample facts are in {settings.data} already; nothing was changed.", file=sys.stderr)
    for table, count in found.rows.items():
        print(f"{table:<10}{count:>14,}")
    for organization, slugs in found.slugs.items():
        print(f"{organization:<10}{', '.join(slugs)}")


@contextmanager
def _show_progress() -> Iterator[facts.Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line
        return
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = bars.add_task(table, total=total)
            bars.update(tasks[table], completed=done)

        yield tell


def _line(table: str, done: int, total: int) -> None:
    if done == total:
        print(f"{table}: {format_count(total, 'row')} drawn", file=sys.stderr, flush=True)
