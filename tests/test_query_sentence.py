"""How a query is said in plain words, and how its file is named."""

from __future__ import annotations

from datetime import date

import pytest

from reelport.query import ReportQuery, describe_query, name_file

START, END = date(2026, 7, 1), date(2026, 7, 4)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], START, END, {"channelSlug": "demo-news"}),
            "Views by day and video for demo-news, 1 to 4 July 2026",
        ),
        (ReportQuery.of(["VIEWS"], [], START, START), "Views in all, 1 July 2026"),
        (
            ReportQuery.of(["VIEWS", "UPLOADS"], ["MONTH"], START, START, {"mediaType": "LIVE"}, "CLAIM"),
            "Views and uploads by month of what your channels claimed with media type Live stream, 1 July 2026",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"visitorDomainGroup": ""}),
            "Views by day without a domain group, 1 to 4 July 2026",
        ),
    ],
)
def test_a_query_is_said_in_one_sentence(query: ReportQuery, sentence: str) -> None:
    """Metrics, how they are split, what narrows them, and the days."""
    assert describe_query(query) == sentence


def test_names_of_another_version_stay_as_they_are() -> None:
    """A report of a version that knew other names can still be listed."""
    query = ReportQuery(("OLD_METRIC",), ("OLD_DIMENSION",), START, END, (("oldFilter", "x"),), "OLD")
    assert describe_query(query) == "OLD_METRIC by OLD_DIMENSION with oldFilter x, 1 to 4 July 2026"


def test_a_filter_can_not_turn_the_direction_of_the_sentence() -> None:
    """Line ends and changes of writing direction in a value become blanks."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"channelSlug": "a\u202eb\nc"})
    assert "a b c" in describe_query(query)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"channelSlug": "demo-news"}),
            "views-by-day_demo-news_2026-07-01_2026-07-04.csv",
        ),
        (
            ReportQuery.of(["VIEWS", "UPLOADS"], ["DAY", "VIDEO_ID", "VIDEO_TITLE"], START, END, None, "CLAIM"),
            "views-and-uploads-by-day-video-and-video-title_claim_2026-07-01_2026-07-04.csv",
        ),
        (
            ReportQuery.of(["VIEWS", "A", "B", "C"], [], START, START, {"channelSlug": "", "mediaType": "LIVE"}),
            "views-a-and-2-more_live_2026-07-01_2026-07-01.csv",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"channelSlug": '../動画\r\n"x" _' + "y" * 500}),
            f"views-by-day_動画-x-{'y' * 34}_2026-07-01_2026-07-04.csv",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"channelSlug": "Télé Zürich"}),
            "views-by-day_tele-zurich_2026-07-01_2026-07-04.csv",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, dict.fromkeys("abcde", "動" * 40)),
            f"views-by-day_{'動' * 40}_{'動' * 15}_2026-07-01_2026-07-04.csv",
        ),
    ],
)
def test_a_file_is_named_for_what_is_in_it(query: ReportQuery, name: str) -> None:
    """Metrics, how they are split, what narrows them, the days; letters and digits that every file system takes."""
    assert name_file(query, "csv") == name
