"""Channels as an operator names them: registered in the tables and in the access at once, found by slug or id."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine

from reelport.check import nearest
from reelport.errors import UsageError
from reelport.facts.tables import CHANNELS
from reelport.server import partners
from reelport.server.credentials import Seal, short_id
from reelport.server.partners import NewKey
from reelport.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the tables have it."""

    id: str
    slug: str
    name: str | None = None
    account_id: str | None = None


def add_channel(db: Engine, settings: Settings, organization: str, channel: Channel) -> None:
    """Enter a channel, or change what it is called, and let the organization read it; repeated, it changes nothing.

    A name or an account that isn't given stays as it was. UsageError when the slug is another channel's.
    """
    holder = partners.organization(db, organization)
    _check_words(channel)
    known = known_channels(settings)
    if any(each.slug == channel.slug and each.id != channel.id for each in known):
        raise UsageError(f"The slug {channel.slug!r} is another channel's already.")
    channel = _completed(channel, known)
    if channel not in known:
        row = {"id": channel.id, "slug": channel.slug, "name": channel.name, "account_id": channel.account_id}
        _load(settings, row)
    partners.let_read(db, holder.id, [channel.id])


def _load(settings: Settings, row: dict[str, str | None]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - as slow to import as all else that commands about access need

    from reelport.facts.loading import load_arrow  # noqa: PLC0415 - the same
    from reelport.facts.schema import stored  # noqa: PLC0415 - the same

    rows = pa.Table.from_pylist([row], stored(CHANNELS.name))
    load_arrow(settings.facts_root, CHANNELS.name, rows, f"channel-{short_id()}")


def _completed(channel: Channel, known: Iterable[Channel]) -> Channel:
    """The channel, with what isn't said of it as it is known."""
    for each in known:
        if each.id == channel.id:
            account_id = each.account_id if channel.account_id is None else channel.account_id
            return replace(channel, name=each.name if channel.name is None else channel.name, account_id=account_id)
    return channel


def _check_words(channel: Channel) -> None:
    """UsageError when the channel lacks an id or a slug, or one of its words can't be shown in a line."""
    words = {"id": channel.id, "slug": channel.slug, "name": channel.name, "account": channel.account_id}
    wrong = [
        f"A channel's {what} has 1 to {_LONGEST} printable characters, no blanks around it."
        for what, word in words.items()
        if word is not None and (not word.isprintable() or word != word.strip() or not 1 <= len(word) <= _LONGEST)
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def known_channels(settings: Settings) -> tuple[Channel, ...]:
    """Every channel of the tables, by slug."""
    from reelport.facts.snapshot import pin  # noqa: PLC0415 - who names no channel need not wait for tables

    files = pin(settings.facts_root, [CHANNELS.name]).files(CHANNELS.name)
    if not files:
        return ()
    import pyarrow.parquet as pq  # noqa: PLC0415 - the same

    names = [column.name for column in CHANNELS.columns]
    rows = [row for file in files for row in pq.ParquetFile(file).read(names).to_pylist()]
    return tuple(sorted((Channel(**row) for row in rows), key=lambda channel: (channel.slug, channel.id)))


def create_key(
    db: Engine,
    settings: Settings,
    seal: Seal,
    organization: str,
    permissions: Collection[str],
    now: datetime,
    *,
    channels: Collection[str] | None = None,
) -> NewKey:
    """A new key, limited to these channels, by slug or id, unless None; UsageError says all that is wrong."""
    known = _by_name(db, settings, organization)
    wrong = partners.wrong_permissions(permissions)
    wrong += [_no_channel(name, organization, known) for name in channels or () if name not in known]
    wrong += [_unclear(name, known[name]) for name in channels or () if len(known.get(name, ())) > 1]
    if wrong:
        raise UsageError("\n".join(wrong))
    limit = None if channels is None else {id_ for name in channels for id_ in known[name]}
    return partners.create_key(db, seal, organization, permissions, now, channels=limit)


def _by_name(db: Engine, settings: Settings, organization: str) -> dict[str, set[str]]:
    """The ids of an organization's channels by id and by slug; tables may hold a slug that another channel has too."""
    readable = partners.readable_channels(db, partners.organization(db, organization).id)
    found = {id_: {id_} for id_ in readable}
    for each in known_channels(settings):
        if each.id in readable:
            found.setdefault(each.slug, set()).add(each.id)
    return found


def _unclear(name: str, ids: Collection[str]) -> str:
    """What to say of a name that a key must not be limited by: it could come to another channel than was meant."""
    return f"{name!r} may mean {' or '.join(sorted(ids))}: name each channel by what is its own."


def _no_channel(name: str, organization: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"{organization} has no channel {name!r}." + (f" Did you mean {near}?" if near else "")


_LONGEST = 1000
