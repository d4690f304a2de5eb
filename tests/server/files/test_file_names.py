"""The names of files that users save."""

from datetime import date

import pytest

from reelport.query import ReportQuery
from reelport.server.files.file_names import name_file

START, END = date(2026, 7, 1), date(2026, 7, 4)


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
