"""Refuse files of facts that an earlier load has loaded already, alone or with others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from reelport.errors import BadInput
from reelport.facts.input.batch_names import BatchName, has_rows
from reelport.facts.input.files import InputFile
from reelport.facts.log.commits import CHECKPOINT_EVERY
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.log.history import Load, find_load_of_file, read_history
from reelport.wording import format_count

_SHOWN = 5
COMMITS_READ = CHECKPOINT_EVERY
"""Commits that the look-up of a file reads on average: of two marks, those since the last checkpoint each time."""


def choose_batch(now: TableVersion, names: BatchName) -> str:
    """Choose the batch's name: the former one where the log knows the batch by that."""
    is_former = names.former != names.name and now.load_counter(names.former) > 0
    return names.former if is_former else names.name


def refuse_loaded_files(
    now: TableVersion, batch: str, files: Sequence[InputFile], names: Sequence[Sequence[str]]
) -> None:
    """Raise BadInput where rows of these files of the batch are in the table by another load.

    `names` are for each file those that a batch of it alone would have. An undone load doesn't count, nor does one
    whose days were all replaced since.
    """
    looked_up = tuple(chain.from_iterable(names))
    if len(looked_up) * COMMITS_READ < now.version and not any(map(now.is_file_noted, looked_up)):
        return
    history = read_history(now)
    found = [
        (file, load)
        for file, own in zip(files, names, strict=True)
        if (load := find_load_of_file(history, own, batch)) is not None and has_rows(file)
    ]
    if found:
        raise BadInput(_format_loaded(found))


def _format_loaded(found: Sequence[tuple[InputFile, Load]]) -> str:
    lines = [
        f"{file.path} was loaded before, in batch {load.batch}{f' of {load.at:%Y-%m-%d}' if load.at else ''}"
        for file, load in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        lines.append(f"and {format_count(len(found) - _SHOWN, 'more file')} too")
    batches = list(dict.fromkeys(load.batch for _, load in found))
    undo = f"take the batch back first (reelport load undo {batches[0]})" if len(batches) == 1 else "undo these batches"
    return "\n".join(
        [*lines, f"nothing was loaded, as rows would count twice: leave it out, {undo}, or say --again if both count"]
    )
