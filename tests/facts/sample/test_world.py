"""The sample world: who exists, and that any two calls agree about it."""

from datetime import date, timedelta

import pytest

from reelport.facts.sample.draws import STORED, make_object_tables, spread_rows
from reelport.facts.sample.videos import MEMORY, SLOTS, Video, count_uploads, make_videos
from reelport.facts.sample.world import ACCOUNTS, CHANNELS, ORGANIZATIONS, SITES
from reelport.facts.schema import stored_schema

START, END = date(2023, 6, 28), date(2023, 7, 4)


@pytest.fixture(scope="module")
def cast() -> list[Video]:
    return list(make_videos(1, START, END))


def test_each_organization_has_its_channels() -> None:
    """`demo` holds demo-news, demo-sports and demo-live; `rival` holds rival-news among others; some are nobody's."""
    slugs = {channel.id: channel.slug for channel in CHANNELS}
    assert [slugs[channel] for channel in ORGANIZATIONS["demo"]] == ["demo-news", "demo-sports", "demo-live"]
    assert "rival-news" in [slugs[channel] for channel in ORGANIZATIONS["rival"]]
    assert any(channel.organization is None for channel in CHANNELS)


def test_names_lead_to_things_that_exist() -> None:
    """Accounts of channels, parents of accounts and channels of sites exist; shares are percents."""
    usernames = {account.username for account in ACCOUNTS}
    assert {channel.account for channel in CHANNELS} - {None} <= usernames
    assert {account.parent for account in ACCOUNTS} - {None} <= usernames
    assert {site.channel for site in SITES} - {None} <= {channel.slug for channel in CHANNELS}
    assert sum(channel.share for channel in CHANNELS) == 100


def test_objects_have_the_columns_of_their_tables(cast: list[Video]) -> None:
    """Each object table has exactly the stored columns, and no id twice."""
    for name, rows in make_object_tables(cast).items():
        assert rows.schema.equals(stored_schema(name)), name
        assert len(set(rows["id"].to_pylist())) == len(rows), name


def test_the_same_seed_gives_the_same_videos_in_any_range(cast: list[Video]) -> None:
    """Two ranges agree on every video that both know; the later one adds uploads."""
    later = {video.number: video for video in make_videos(1, START + timedelta(days=3), END + timedelta(days=3))}
    known = {video.number: video for video in cast}
    shared = known.keys() & later.keys()
    assert all(known[number] == later[number] for number in shared)
    assert later.keys() - known.keys()
    assert next(make_videos(2, START, END)).id != cast[0].id


def test_titles_are_as_awkward_as_real_ones(cast: list[Video]) -> None:
    """Commas, quotes, emoji, right-to-left text, a line break, an empty title, and titles that several videos share."""
    titles = [video.title for video in cast]
    said = "\0".join(title for title in titles if title)
    assert all(mark in said for mark in (",", '"', "🥅", "أخبار", "מזג", "\n", "=SUM("))
    assert None in titles
    assert {video.owner.slug for video in cast if video.title == "Weekly highlights"} == {
        "demo-sports",
        "demo-news",
        "rival-news",
    }


def test_videos_differ_as_real_ones_do(cast: list[Video]) -> None:
    """Some have no tags, no duration, are private, are deleted, or are claimed by somebody else."""
    assert any(not video.tags for video in cast)
    assert any(len(video.tags) > 3 for video in cast)
    assert any(video.duration is None for video in cast)
    assert {"public", "private", "password"} == {video.visibility for video in cast}
    assert all(video.deleted > video.created for video in cast if video.deleted)
    pairs = {(video.owner.organization, video.claimer.organization) for video in cast if video.claimer}
    assert {("rival", "demo"), ("demo", "rival"), (None, "demo")} <= pairs
    assert all(video.claimer != video.owner for video in cast)


def test_every_day_has_its_uploads(cast: list[Video]) -> None:
    """Uploads lie on their own day, fewer on weekends, one of them deleted in the evening."""
    day = START - MEMORY
    while day <= END:
        of_day = [video for video in cast if video.number >= SLOTS * 18_000 and video.created.date() == day]
        assert len(of_day) == count_uploads(day) + 1
        assert sum(video.deleted is not None for video in of_day) == 1
        day += timedelta(days=1)


@pytest.mark.parametrize("rows", [1, 7, 1000, 123_457, 50_000_000])
def test_rows_are_spread_to_the_last_one(rows: int) -> None:
    """The counts of all kinds and days add up to what was asked, and storage never shrinks nor exceeds the shelf."""
    found = spread_rows(rows, START, END, 1)
    assert sum(sum(of_day.values()) for of_day in found.values()) == rows
    kept = list(found["storage"].values())
    assert kept == sorted(kept)
    assert kept[-1] <= STORED
