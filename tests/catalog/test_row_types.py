"""What the rules of the catalog's rows say of numbers, and that labels are plain and each row's own."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import Dimension, Metric, round_ratio
from reelport.catalog.labels import DIMENSION_GROUPS, capitalize, label_dimension, label_metric, label_names

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
