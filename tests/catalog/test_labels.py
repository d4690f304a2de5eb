"""Labels are plain words, and no two rows share one."""

from __future__ import annotations

import pytest

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import DIMENSION_GROUPS, capitalize, label_dimension, label_metric, label_names


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
