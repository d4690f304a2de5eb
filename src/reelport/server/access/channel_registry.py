"""The registry of channels: registers and renames them, and lets organizations read them.

Channels come by one command or from a CSV file.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from operator import itemgetter
from pathlib import Path

from sqlalchemy import Engine

from reelport.errors import StorageError, UsageError
from reelport.facts.tables import CHANNELS, stored_schema
from reelport.server.access import organizations
from reelport.server.credentials import short_id
from reelport.server.settings import Settings
from reelport.storage.durable import describe_os_error
from reelport.wording import NAME_RULE, format_count, is_name

_LONGEST = 1000
_BATCH = "channel-"
"""Prefix of the batches that `channel add` makes; a loaded file's batch is named by hex digits of its hash."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: one row of the `channels` table."""

    id: str
    slug: str
    name: str | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A channel to be registered, and its line in the file; 0 when no file named it."""

    channel: Channel
    line: int = 0


@dataclass(frozen=True, slots=True)
class Rename:
    """A known channel whose slug changed: `slug` is the new one, `was` the old one."""

    id: str
    slug: str
    was: str


LineProblem = tuple[int, str]
"""A line number in a list of channels (0 for none), and what is wrong with that line."""


def add_channels(
    db: Engine, settings: Settings, organization: str, entries: Sequence[Entry], wrong: Iterable[LineProblem] = ()
) -> tuple[Rename, ...]:
    """Register or rename channels, and let the organization read them: all, or none.

    A name or an account that is None stays as it was. Returns what was renamed. Idempotent. UsageError lists every
    problem, in order of lines.
    """
    known = {each.id: each for each in list_channels(settings)}
    found = sorted([*wrong, *_find_problems(entries, known)], key=itemgetter(0))
    lines = [f"line {line}: {sentence}" if line else sentence for line, sentence in found]
    try:
        holder = organizations.get_organization(db, organization)
    except UsageError as error:
        raise UsageError("\n".join([str(error), *lines])) from None
    if lines:
        raise UsageError("\n".join(lines))
    channels = [_complete(entry.channel, known.get(entry.channel.id)) for entry in entries]
    rows = [
        {"id": each.id, "slug": each.slug, "name": each.name, "account_id": each.account_id}
        for each in channels
        if each != known.get(each.id)
    ]
    # Load before granting access: a command that is killed in between has granted nothing.
    if rows:
        import pyarrow as pa  # noqa: PLC0415 - slow to import

        from reelport.facts.loading.load import load_arrow  # noqa: PLC0415 - loads the engine

        table = pa.Table.from_pylist(rows, stored_schema(CHANNELS.name))
        load_arrow(settings.facts_root, CHANNELS.name, table, f"{_BATCH}{short_id()}")
    organizations.allow_channels(db, holder.id, [each.id for each in channels])
    was = {each.id: known[each.id].slug for each in channels if each.id in known}
    return tuple(
        Rename(each.id, each.slug, was[each.id]) for each in channels if was.get(each.id, each.slug) != each.slug
    )


def refuse_undo(table: str, batch: str) -> None:
    """Refuse an undo of `channel add`: it would take slug and name from channels in use."""
    if table == CHANNELS.name and batch.startswith(_BATCH):
        raise UsageError(
            f"batch {batch} was made by `reelport channel add`: without its rows, channels that partners may read "
            "would have no slug and no name. To end what an organization may read, use `reelport channel remove`; to "
            "call a channel something else, use `reelport channel add` with its id. Earlier loads of channels are "
            "corrected by loading their rows as they should be."
        )


def _complete(channel: Channel, known: Channel | None) -> Channel:
    if known is None:
        return channel
    account_id = known.account_id if channel.account_id is None else channel.account_id
    return replace(channel, name=known.name if channel.name is None else channel.name, account_id=account_id)


def _find_problems(entries: Sequence[Entry], known: Mapping[str, Channel]) -> Iterator[LineProblem]:
    named = {entry.channel.id for entry in entries}
    holders = {each.slug: each.id for each in known.values() if each.id not in named}
    first: dict[str, Entry] = {}
    by_slug: dict[str, list[Entry]] = {}
    for entry in entries:
        by_slug.setdefault(entry.channel.slug, []).append(entry)
    for entry in entries:
        channel, line = entry.channel, entry.line
        yield from ((line, sentence) for sentence in _check_words(channel, known.get(channel.id)))
        if channel.id in first:
            yield line, f"The channel {channel.id!r} is named before{_format_line(first[channel.id])}."
        elif channel.slug in holders:
            yield line, f"The slug {channel.slug!r} is another channel's already, {holders[channel.slug]!r}."
        elif others := [each for each in by_slug[channel.slug] if each.channel.id != channel.id]:
            yield line, f"The slug {channel.slug!r} is given to {others[0].channel.id!r} too{_format_line(others[0])}."
        first.setdefault(channel.id, entry)


def _format_line(entry: Entry) -> str:
    return f", in line {entry.line}" if entry.line else ""


def _check_words(channel: Channel, known: Channel | None) -> Iterator[str]:
    kept = set[str | None]() if known is None else {known.id, known.slug, known.account_id}
    for what, word in (("id", channel.id), ("slug", channel.slug), ("account", channel.account_id)):
        if word is not None and word not in kept and not _is_id(word):
            yield f"A channel's {what} has 1 to {_LONGEST} printable characters, and no blank or comma among them."
    name = channel.name
    if name is not None and (not name or not is_name(name, _LONGEST)):
        yield f"A channel's name is one line of 1 to {_LONGEST} characters: {NAME_RULE}."


def _is_id(word: str) -> bool:
    fits_into_lists = not any(sign.isspace() or sign == "," for sign in word)
    return 1 <= len(word) <= _LONGEST and word.isprintable() and fits_into_lists


def list_channels(settings: Settings) -> tuple[Channel, ...]:
    """List every channel of the `channels` table, by slug."""
    from reelport.facts.log.object_reader import read_rows  # noqa: PLC0415 - slow, and most commands name no channel

    rows = read_rows(settings.facts_root, CHANNELS)
    return tuple(sorted((Channel(**row) for row in rows), key=lambda channel: (channel.slug, channel.id)))


def find_channels(settings: Settings) -> dict[str, Channel] | None:
    """Find the channels by id, for pages that only name them; None if the facts can't be read."""
    import structlog  # noqa: PLC0415 - slow to import, and commands need none

    try:
        return {each.id: each for each in list_channels(settings)}
    except StorageError as error:
        structlog.get_logger().warning("the names of channels can't be read", reason=str(error))
        return None


def read_slugs(settings: Settings) -> Mapping[str, str]:
    """Read the slug of every channel, by its id."""
    return {each.id: each.slug for each in list_channels(settings)}


_STDIN = Path("-")
"""The path that stands for standard input."""

_COLUMNS = ("id", "slug", "name", "account")
"""The columns that the header may name, in any order; `id` and `slug` are required."""


def read_channels(path: Path) -> tuple[tuple[Entry, ...], tuple[LineProblem, ...]]:
    """Read the channels of a file, and a sentence for each line that is wrong.

    An empty name or account becomes None. `-` is standard input. UsageError when the header or the text is wrong,
    StorageError when the file can't be read.
    """
    named = "standard input" if path == _STDIN else str(path)
    try:
        text = (sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()).decode("utf-8-sig")
        lines = list(_read_lines(StringIO(text, newline="")))
    except OSError as error:
        raise StorageError(f"{path}: {describe_os_error(error)}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"{named} isn't text in UTF-8.") from None
    except csv.Error as error:
        raise UsageError(f"{named} isn't CSV: {error}.") from None
    header = _parse_header(named, lines)
    entries, wrong = list[Entry](), list[LineProblem]()
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            wrong.append((line, f"It has {format_count(len(cells), 'cell')}, and the header has {len(header)}."))
            continue
        row = dict(zip(header, cells, strict=True))
        entries.append(
            Entry(Channel(row["id"], row["slug"], row.get("name") or None, row.get("account") or None), line)
        )
    return tuple(entries), tuple(wrong)


def _read_lines(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    reader, begins = csv.reader(file, strict=True), 1
    for cells in reader:
        if cells:
            yield begins, cells
        begins = reader.line_num + 1


def _parse_header(named: str, lines: Sequence[tuple[int, list[str]]]) -> list[str]:
    names = [name.strip().lower() for name in lines[0][1]] if lines else []
    wrong = [f"there is no column {name!r}" for name in ("id", "slug") if name not in names]
    wrong += [f"{name!r} is none of {', '.join(_COLUMNS)}" for name in names if name not in _COLUMNS]
    wrong += [f"{name!r} is named more than once" for name in _COLUMNS if names.count(name) > 1]
    if wrong:
        raise UsageError(f"The header of {named} names the columns id, slug, name and account: {'; '.join(wrong)}.")
    return names
