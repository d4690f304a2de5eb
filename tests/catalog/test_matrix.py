"""The matrix as Dailymotion prints it and as one golden table; units, rules and labels of the catalog's rows."""

from __future__ import annotations

import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supply_chain.catalog_pages import matrix_letter

from reelport.catalog import Dimension, Family, Filter, Grain, Metric, Product, Scope, Standing, round_ratio
from reelport.catalog.labels import DIMENSION_GROUPS, capitalize, label_dimension, label_metric, label_names

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


SUMS = st.integers(-(10**30), 10**30) | st.decimals(-(10**12), 10**12, places=6)


@given(SUMS, SUMS, st.sampled_from([1, 100, 1000]), st.integers(0, 6))
def test_a_ratio_is_the_nearest_number_of_its_digits(
    above: int | Decimal, below: int | Decimal, scale: int, digits: int
) -> None:
    """By fractions: it is off by half of the last digit at most, and there it is the one farther from zero."""
    found = round_ratio(above, below, scale, digits)
    if not below:
        assert found is None
        return
    assert found is not None
    exact = Fraction(above) / Fraction(below) * scale * 10**digits
    assert abs(found - exact) <= Fraction(1, 2)
    if abs(found - exact) == Fraction(1, 2):
        assert abs(found) > abs(exact)


@pytest.mark.parametrize(
    ("above", "below", "found"), [(1, 8, 13), (-1, 8, -13), (1, -8, -13), (0, -8, 0), (1, 0, None)]
)
def test_a_half_is_rounded_away_from_zero(above: int, below: int, found: int | None) -> None:
    """An eighth with two digits is 0.13."""
    assert round_ratio(above, below, 1, 2) == found


def test_no_two_rows_have_the_same_label() -> None:
    """A sentence tells two metrics, or two dimensions, apart."""
    assert len({label_metric(metric) for metric in Metric}) == len(Metric)
    assert len({label_dimension(dimension) for dimension in Dimension}) == len(Dimension)


def test_each_dimension_but_those_of_time_is_in_one_group() -> None:
    """A page that lists the groups lists each once."""
    grouped = sorted(row.name for rows in DIMENSION_GROUPS.values() for row in rows)
    assert grouped == sorted(row.name for row in Dimension if row.grain is None)


@pytest.mark.parametrize(
    ("label", "written"),
    [
        (label_dimension(Dimension.VIDEO_ID), "video"),
        (label_dimension(Dimension.VIDEO_OWNER_CHANNEL_SLUG), "channel"),
        (label_dimension(Dimension.VISITOR_PAGE_URL), "page"),
        (label_metric(Metric.ESTIMATED_EARNINGS_EUR), "estimated earnings (EUR)"),
        (label_metric(Metric.NB_IMPRESSION), "impressions"),
        (capitalize(label_metric(Metric.ECPM_EUR)), "eCPM (EUR)"),
        (capitalize(label_metric(Metric.VIEWS)), "Views"),
    ],
)
def test_a_label_is_what_people_would_write(label: str, written: str) -> None:
    """Short forms keep their capitals, and an id is the thing that it names."""
    assert label == written


def test_each_sentence_begins_with_a_capital() -> None:
    """Also one that begins with a name of the catalog behind another sentence; eCPM stays as it is written."""
    told = label_names(
        "UPLOADS can't be split by VISITOR_COUNTRY. VISITOR_COUNTRY goes with VIEWS. ECPM_EUR would work."
    )
    assert told == "Uploads can't be split by country. Country goes with views. eCPM (EUR) would work."
