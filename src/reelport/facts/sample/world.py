"""The organizations, accounts, channels, sites, players and playlists of the sample world.

They are the same for every seed and every range of days, so that two calls never disagree about a channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from reelport.facts.schema import stored_schema

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def short_id(number: int) -> str:
    """Make an id such as platforms have: `x` and seven signs; unique below 36 to the 7th."""
    letters = []
    for _ in range(7):
        number, rest = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[rest])
    return "x" + "".join(reversed(letters))


@cache
def _named_id(kind: str, name: str) -> str:
    """Make the id of a named object: a hash, so always the same."""
    return short_id(int.from_bytes(hashlib.sha256(f"{kind}:{name}".encode()).digest()[:8]))


@dataclass(frozen=True, slots=True)
class Account:
    """A user name, and the user name of the account above it."""

    username: str
    parent: str | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return _named_id("account", self.username)


@dataclass(frozen=True, slots=True)
class SampleChannel:
    """A channel: account, organization, theme, and its share of the videos in percent."""

    slug: str
    name: str
    account: str | None
    organization: str | None
    theme: str
    share: int

    @property
    def id(self) -> str:
        """Its id."""
        return _named_id("channel", self.slug)


@dataclass(frozen=True, slots=True)
class Site:
    """A group of domains with its hosts, and the channel that publishes there, if any."""

    group: str
    hosts: tuple[str, ...]
    channel: str | None = None


ACCOUNTS = (
    Account("demo-group"),
    Account("demo", parent="demo-group"),
    Account("demo-studio", parent="demo-group"),
    Account("rival-holding"),
    Account("rival", parent="rival-holding"),
    Account("rival-music", parent="rival-holding"),
    Account("kitchen-table"),
    Account("kino_klub"),
    Account("hakol"),
    Account("tarfih"),
    Account("the.garage"),
)

CHANNELS = (
    SampleChannel("demo-news", "Demo News", "demo", "demo", "news", 30),
    SampleChannel("demo-sports", "Demo Sports, daily", "demo", "demo", "sports", 14),
    SampleChannel("demo-live", "Demo Live 🔴", "demo-studio", "demo", "live", 6),
    SampleChannel("rival-news", 'Rival "First" News', "rival", "rival", "news", 13),
    SampleChannel("rival-sports", "Rival Sports", "rival", "rival", "sports", 7),
    SampleChannel("rival-music", "Rival Música", "rival-music", "rival", "music", 5),
    SampleChannel("kitchen-table", "The Kitchen Table", "kitchen-table", None, "food", 7),
    SampleChannel("kino-klub", "Kino Klub Žižkov", "kino_klub", None, "film", 5),
    SampleChannel("hakol", "הכול מהשטח", "hakol", None, "hebrew", 4),
    SampleChannel("tarfih", "ترفيه اليوم", "tarfih", None, "arabic", 4),
    SampleChannel("garage-tests", "Garage Tests", "the.garage", None, "cars", 3),
    # What a page shows of it must be text: nobody promises that a slug is harmless.
    SampleChannel('garage-"extra"<script>alert(1)</script>', "Garage Extra", None, None, "cars", 2),
)

ORGANIZATIONS: Mapping[str, tuple[str, ...]] = {
    name: tuple(channel.id for channel in CHANNELS if channel.organization == name) for name in ("demo", "rival")
}
"""The ids of each organization's channels."""

PLATFORM = Site("reelport.example", ("www.reelport.example", "m.reelport.example", "tv.reelport.example"))

SITES = (
    PLATFORM,
    Site(
        "demo-news.example", ("www.demo-news.example", "amp.demo-news.example", "live.demo-news.example"), "demo-news"
    ),
    Site("rival-news.example", ("www.rival-news.example", "amp.rival-news.example"), "rival-news"),
    Site("demo-sports.example", ("www.demo-sports.example", "scores.demo-sports.example"), "demo-sports"),
    Site("rival-sports.example", ("rival-sports.example",), "rival-sports"),
    Site("city-paper.example", ("www.city-paper.example", "north.city-paper.example")),
    Site("demo-live.example", ("demo-live.example",), "demo-live"),
    Site("kitchen-table.example", ("www.kitchen-table.example",), "kitchen-table"),
    Site("rival-music.example", ("listen.rival-music.example",), "rival-music"),
    Site("kino-klub.example", ("kino-klub.example", "archiv.kino-klub.example"), "kino-klub"),
    Site("search.example", ("video.search.example",)),
    Site("hakol.example", ("www.hakol.example",), "hakol"),
    Site("tarfih.example", ("www.tarfih.example", "m.tarfih.example"), "tarfih"),
    Site("garage-tests.example", ("garage-tests.example",), "garage-tests"),
    Site("campus-radio.example", ("campus-radio.example",)),
    Site("village-forum.example", ("village-forum.example", "old.village-forum.example")),
)

PLAYER_TYPES = ("embed", "sticky", "app")
PLAYLIST_TYPES = ("manual", "dynamic", "series")


def make_world_tables() -> dict[str, pa.Table]:
    """Make the object tables but `videos`.

    Three players for each site of a channel, three playlists for each channel.

    One kind of playlist has no title.
    """
    rows: Mapping[str, list[dict[str, object]]] = {
        "accounts": [
            {
                "id": account.id,
                "username": account.username,
                "parent_account_id": account.parent and _named_id("account", account.parent),
            }
            for account in ACCOUNTS
        ],
        "channels": [
            {
                "id": channel.id,
                "slug": channel.slug,
                "name": channel.name,
                "account_id": channel.account and _named_id("account", channel.account),
            }
            for channel in CHANNELS
        ],
        "players": [
            {"id": player_id(site.group, kind), "title": f"{site.group}, {kind} player", "type": kind}
            for site in SITES
            if site.channel
            for kind in PLAYER_TYPES
        ],
        "playlists": [
            {
                "id": playlist_id(channel.slug, kind),
                "title": None if kind == "dynamic" else f'{channel.name}: "{kind}" picks, all of them',
                "type": kind,
            }
            for channel in CHANNELS
            for kind in PLAYLIST_TYPES
        ],
    }
    return {name: pa.Table.from_pylist(found, stored_schema(name)) for name, found in rows.items()}


def player_id(group: str, kind: str) -> str:
    """Make the id of the player of this kind on a site."""
    return _named_id("player", f"{group}/{kind}")


def playlist_id(slug: str, kind: str) -> str:
    """Make the id of the playlist of this kind on a channel."""
    return _named_id("playlist", f"{slug}/{kind}")


def site_rows() -> pa.Table:
    """Make the rows of all sites, to draw facts from; they are no table to load."""
    channels = {channel.slug: channel.id for channel in CHANNELS}
    return pa.Table.from_pylist(
        [
            {
                "site": number,
                "domain_group": site.group,
                "hosts": list(site.hosts),
                "publisher_channel_id": site.channel and channels[site.channel],
                "players": [player_id(site.group, kind) for kind in PLAYER_TYPES] if site.channel else [],
            }
            for number, site in enumerate(SITES)
        ]
    )
