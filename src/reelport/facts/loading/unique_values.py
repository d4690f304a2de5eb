"""Checks values that two objects of a table may not share, such as the slugs of channels.

Object tables with such a column are small: their keys and values are held in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from reelport.facts.damage import translate_damage
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.tables import Table

Values = Mapping[str, str]
"""The unique value of each object, by its key."""
_SHOWN = 100
"""The most shared values that an error lists."""


def read_values(table: Table, paths: Sequence[str]) -> dict[str, str]:
    """Read the unique values of these data files; empty for a table without such a column.

    Raises StorageError for a damaged file.
    """
    if table.unique is None:
        return {}
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import; most loads are of other tables

    found: dict[str, str] = {}
    for path in paths:
        with translate_damage(path), pq.ParquetFile(path) as whole:
            rows = whole.read([table.key, table.unique])
        found |= zip(rows.column(table.key).to_pylist(), rows.column(table.unique).to_pylist(), strict=True)
    return found


def read_known_values(now: TableVersion) -> dict[str, str]:
    """Read the unique values of a version of a table."""
    return read_values(now.table, now.paths(now.files))


def count_renamed(known: Values, new: Values) -> int:
    """Count the known objects that get another value."""
    return sum(known.get(key, value) != value for key, value in new.items())


def describe_shared(table: Table, known: Values, new: Values) -> str | None:
    """Say which values two objects would share after a merge; None when there are none.

    Only values of the new rows are meant: what shared one before doesn't stand in the way of others.
    """
    sentences = list(_find_shared(table, known, new))
    if not sentences:
        return None
    more = len(sentences) - _SHOWN
    return "\n".join([*sentences[:_SHOWN], *([f"{more:,} more like these."] if more > 0 else [])])


def _find_shared(table: Table, known: Values, new: Values) -> Iterator[str]:
    given, kept = _group_keys(new), _group_keys({key: value for key, value in known.items() if key not in new})
    object_ = table.name.removesuffix("s")
    for value, keys in sorted(given.items()):
        names = " and ".join(map(repr, keys))
        if value in kept:
            owner = kept[value][0]
            yield f"The {table.unique} {value!r}, given to {names}, is another {object_}'s already, {owner!r}."
        elif len(keys) > 1:
            yield f"The {table.unique} {value!r} is given to {names}."


def _group_keys(values: Values) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for key, value in sorted(values.items()):
        grouped[value].append(key)
    return grouped
