"""The matrix: documented rows as Dailymotion prints them, the whole as one golden table, and nothing left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from supply_chain.catalog_pages import matrix_letter

from reelport.catalog import Dimension, Family, Filter, Grain, Metric, Product, Scope, Standing

GOLDEN = Path(__file__).with_name("matrix.txt")

AUDIENCE = [
    "HOUR",
    "DAY",
    "MONTH",
    "VIDEO_OWNER_CHANNEL_SLUG",
    "VIDEO_ID",
    "VIDEO_TITLE",
    "MEDIA_TYPE",
    "CONTENT_TAG",
    "CONTENT_TAG_LIST",
    "PLAYLIST_ID",
    "PLAYLIST_TITLE",
    "VIDEO_POSITION",
    "PLAYER_ID",
    "PLAYER_TITLE",
    "PUBLISHER_ID",
    "PUBLISHER_CHANNEL",
    "VISITOR_DOMAIN_GROUP",
    "VISITOR_PAGE_URL",
    "VISITOR_SUBDOMAIN",
    "VISITOR_COUNTRY",
    "VISITOR_DEVICE_TYPE",
    "ACTION",
]
LIVE = [name for name in AUDIENCE if name != "MEDIA_TYPE" and "PLAYLIST" not in name and name != "VIDEO_POSITION"]
UPLOADS = ["MONTH", "DAY", "VIDEO_OWNER_CHANNEL_SLUG", "VIDEO_ID", "VIDEO_TITLE", "VISIBILITY"]
REVENUE = [
    "DAY",
    "MONTH",
    "CHANNEL_SLUG",
    "VIDEO_OWNER_CHANNEL_SLUG",
    "VIDEO_ID",
    "VIDEO_TITLE",
    "CONTENT_TAG",
    "CONTENT_TAG_LIST",
    "PLAYLIST_ID",
    "PLAYLIST_TITLE",
    "VIDEO_POSITION",
    "PLAYER_ID",
    "PLAYER_TITLE",
    "PUBLISHER_ID",
    "PUBLISHER_CHANNEL",
    "VISITOR_DOMAIN_GROUP",
    "VISITOR_PAGE_URL",
    "VISITOR_SUBDOMAIN",
]

# The complete rows of the printed matrix, and the readable part of the one that is cut.
COMPLETE = {
    "VIEWS": AUDIENCE,
    "TIME_WATCHED_SECONDS": AUDIENCE,
    "VIEW_THROUGH_RATE": AUDIENCE,
    "AVERAGE_WATCH_TIME_SEC": AUDIENCE,
    "UPLOADS": UPLOADS,
    "LIVE_VIEWERS": LIVE,
    "LIVE_TIME_WATCHED_SECONDS": LIVE,
}
CUT = {"ESTIMATED_EARNINGS_EUR": REVENUE, "ESTIMATED_EARNINGS_USD": REVENUE}


def rendered() -> str:
    """The matrix as a table of letters, one line a dimension."""
    head = " ".join(f"{family.name:>15}" for family in Family)
    lines = [f"{'':28}{head}"]
    lines += [
        f"{each.name:28}" + " ".join(f"{matrix_letter(family, each):>15}" for family in Family) for each in Dimension
    ]
    return "\n".join(lines) + "\n"


def test_the_whole_matrix_is_as_committed() -> None:
    """A change of any cell of the matrix shows in the golden table; UPDATE_GOLDEN=1 writes it anew."""
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(rendered())
    assert rendered() == GOLDEN.read_text()


@pytest.mark.parametrize("name", COMPLETE)
def test_a_documented_row_is_exactly_as_printed(name: str) -> None:
    """A row that Dailymotion prints whole has those dimensions and no other, permissive or not."""
    family = Metric[name].family
    assert {each.name for each in family.dimensions()} == set(COMPLETE[name])
    assert family.dimensions(permissive=True) == family.documented
    assert family.standing is Standing.DOCUMENTED


@pytest.mark.parametrize("name", CUT)
def test_a_row_that_is_cut_keeps_what_is_readable_as_documented(name: str) -> None:
    """What the printed part lists is documented; what was added to it is marked inferred."""
    family = Metric[name].family
    assert {each.name for each in family.documented} == set(CUT[name])
    assert {Dimension.VISITOR_DEVICE_TYPE, Dimension.VISITOR_COUNTRY} <= family.inferred
    assert family.standing is Standing.INFERRED


def test_earnings_have_no_hours() -> None:
    """Money is known by the day: HOUR and MINUTE go with no revenue family, permissive or not."""
    fine = {Dimension.HOUR, Dimension.MINUTE}
    paid = [family for family in Family if Scope.ACCESS_REVENUE in family.scopes]
    assert paid
    assert not any(fine & family.dimensions(permissive=True) for family in paid)


def test_nothing_is_left_without_a_row() -> None:
    """Every metric has a family with dimensions, every dimension, filter and family is in use."""
    assert all(metric.family.dimensions() for metric in Metric)
    assert set(Dimension) == set().union(*(family.dimensions() for family in Family))
    assert set(Filter) == set().union(*(family.filters for family in Family))
    assert set(Family) == {metric.family for metric in Metric}


def test_all_of_the_wire_is_there() -> None:
    """66 metrics, 56 dimensions, 5 filters, 4 products and 6 scopes are known."""
    assert (len(Metric), len(Dimension), len(Filter), len(Product), len(Scope)) == (66, 56, 5, 4, 6)


def test_the_parts_of_a_row_never_overlap() -> None:
    """A dimension is documented, inferred or carried by a family, never two of them."""
    for family in Family:
        assert not family.documented & family.inferred
        assert not family.carried & family.dimensions()


def test_the_finest_grain_is_in_the_row_and_nothing_finer() -> None:
    """A family's grain is its finest dimension of time."""
    for family in Family:
        grains = {each.grain for each in family.dimensions(permissive=True) if each.grain is not None}
        assert min(grains) is family.grain
        assert Grain.DAY in grains


def test_scopes_follow_the_documented_families() -> None:
    """Ads need access_ads, earnings access_revenue, earnings over ads both, all else none."""
    assert Metric.FILL_RATE.family.scopes == {Scope.ACCESS_ADS}
    assert Metric.ESTIMATED_EARNINGS_EUR.family.scopes == {Scope.ACCESS_REVENUE}
    assert Metric.ECPM_USD.family.scopes == {Scope.ACCESS_ADS, Scope.ACCESS_REVENUE}
    assert not Metric.VIEWS.family.scopes
    assert not Metric.STORAGE_USED_BYTES.family.scopes
