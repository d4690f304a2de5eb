"""What a report means, sentence by sentence, each on the fewest facts that show it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelport import split_tags
from reelport.engine.duckdb.engine import QueryEngine
from reelport.query import ReportQuery

from .few import CHANNELS, ME, Ask, Row, earned, play, stored, video
from .world import Tables, laid


def test_two_videos_of_one_title_are_one_row(facts: Callable[[Tables], Ask]) -> None:
    """Cells are resolved before grouping; a video that is gone has an empty title and keeps its views."""
    ask = facts(
        {
            "plays": [play(video_id="x1"), play(video_id="x2", views=2), play(video_id="gone", views=4)],
            "videos": [video("x1", "Same"), video("x2", "Same")],
        }
    )
    assert ask("VIEWS", "VIDEO_TITLE") == [["Same", "3"], ["", "4"]]
    assert ask("VIEWS", "VIDEO_ID") == [["gone", "4"], ["x1", "1"], ["x2", "2"]]


def test_without_dimensions_a_report_is_one_row_of_totals(facts: Callable[[Tables], Ask]) -> None:
    """No dimension, one row; and no row at all where there is no fact to total."""
    ask = facts({"plays": [play(), play(views=5, owner_channel_id="c2"), play(views=9, owner_channel_id="c9")]})
    assert ask("VIEWS TIME_WATCHED_SECONDS") == [["6", "0"]]
    assert ask("VIEWS", "", "CLAIM") == []


def test_no_row_is_invented(facts: Callable[[Tables], Ask]) -> None:
    """A day without facts has no row; a day whose facts count nothing has one."""
    ask = facts({"plays": [play("2023-06-30T23:59:59"), play("2023-07-02T00:00:00", views=0)]})
    assert ask("VIEWS", "DAY") == [["2023-06-30", "1"], ["2023-07-02", "0"]]


def test_empty_keys_of_two_families_are_one_row(facts: Callable[[Tables], Ask]) -> None:
    """Families are stacked and grouped once, so that their empty cells meet."""
    ask = facts({"plays": [play()], "earnings": [earned("1.5")]})
    assert ask("VIEWS ESTIMATED_EARNINGS_EUR", "VISITOR_COUNTRY") == [["", "1", "1.500000"]]


def test_each_family_has_rows_of_its_own(facts: Callable[[Tables], Ask]) -> None:
    """LIVE counts the plays of live streams, AUDIENCE every play, beside each other in one report."""
    ask = facts({"plays": [play(), play(media_type="live", viewer="v", time_watched_seconds=7)]})
    assert ask("VIEWS LIVE_TIME_WATCHED_SECONDS LIVE_VIEWERS", "MONTH") == [["2023-07", "2", "7", "1"]]
    assert ask("LIVE_VIEWERS", "DAY") == [["2023-07-01", "1"]]


def test_absent_numbers_are_0_or_empty(facts: Callable[[Tables], Ask]) -> None:
    """Absent: an additive number 0, a rate, a stock and a distinct count empty."""
    ask = facts({"plays": [play(views=0)]})
    metrics = "VIEWS UPLOADS ESTIMATED_EARNINGS_EUR AVERAGE_WATCH_TIME_SEC STORAGE_USED_BYTES LIVE_VIEWERS"
    assert ask(metrics) == [["0", "0", "0.000000", "", "", ""]]


def test_rows_are_sorted_by_bytes_in_the_asked_order(facts: Callable[[Tables], Ask]) -> None:
    """Sorted as UTF-8 bytes, in the asked order of cells, empty last; a number in a cell sorts as its text."""
    countries = ["é", "z", None, "Z", "a", "\U0001f600", "\uff01"]
    ask = facts(
        {"plays": [play(visitor_country=name, video_position=place) for name in countries for place in (9, 10)]}
    )
    expected = ["Z", "a", "z", "é", "\uff01", "\U0001f600", ""]
    assert [row[0] for row in ask("VIEWS", "VISITOR_COUNTRY")] == expected
    assert ask("VIEWS", "VIDEO_POSITION VISITOR_COUNTRY")[:2] == [["10", "Z", "1"], ["10", "a", "1"]]


ROLES = [
    play(views=1, owner_channel_id="c1", publisher_channel_id="c9"),
    play(views=2, owner_channel_id="c9", publisher_channel_id="c1"),
    play(views=4, owner_channel_id="c9", claimer_channel_id="c2"),
    play(views=8, owner_channel_id="c1", publisher_channel_id="c2", claimer_channel_id="c1"),
    play(views=16, owner_channel_id="c9", publisher_channel_id="c2", claimer_channel_id="c1"),
    play(views=32, owner_channel_id="c9", publisher_channel_id="c9", claimer_channel_id="c9"),
]


@pytest.mark.parametrize(("product", "views"), [("CONTENT", "9"), ("EMBED", "26"), ("CLAIM", "28"), ("ALL", "31")])
def test_a_product_is_a_role_of_the_readers_channels(facts: Callable[[Tables], Ask], product: str, views: str) -> None:
    """CONTENT owner, EMBED publisher, CLAIM claimer, ALL any of the three and each row once."""
    assert facts({"plays": ROLES})("VIEWS", "", product) == [[views]]


def test_the_channel_slug_is_the_first_that_matches(facts: Callable[[Tables], Ask]) -> None:
    """CHANNEL_SLUG is the reader's channel by which the row qualified: owner, then publisher, then claimer."""
    ask = facts({"ads": [play(no_ads=row["views"]) | row for row in ROLES], "channels": CHANNELS})
    assert ask("NO_ADS", "CHANNEL_SLUG", "ALL") == [["slug1", "11"], ["slug2", "20"]]
    assert ask("NO_ADS", "CHANNEL_SLUG", "CLAIM") == [["slug1", "24"], ["slug2", "4"]]
    assert ask("NO_ADS", "", "ALL", channelSlug="slug2") == [["20"]]


def test_a_family_of_owners_answers_content_and_all(facts: Callable[[Tables], Ask]) -> None:
    """Uploads, storage and transcoding have no publisher or claimer: EMBED and CLAIM are a header."""
    roles = {"publisher_channel_id": "c1", "claimer_channel_id": "c1"}
    at = datetime(2023, 7, 1, tzinfo=UTC)
    ask = facts({"videos": [video("x1", created_at=at)], "usage": [stored("2023-07-01", 5, **roles)]})
    for metric, number in (("UPLOADS", "1"), ("STORAGE_USED_BYTES", "5")):
        assert ask(metric) == ask(metric, "", "ALL") == [[number]]
        assert ask(metric, "DAY", "EMBED") == ask(metric, "", "CLAIM") == []


def test_a_slug_filter_matches_every_channel_of_that_slug(facts: Callable[[Tables], Ask]) -> None:
    """A slug is looked up in the pinned channels; ids that share it are all kept, others never."""
    shared: list[Row] = [{"id": "c1", "slug": "s"}, {"id": "c2", "slug": "s"}, {"id": "c9", "slug": "s"}]
    plays = [play(views=1), play(views=2, owner_channel_id="c2"), play(views=4, owner_channel_id="c9")]
    ask = facts({"plays": plays, "channels": shared})
    assert ask("VIEWS", "VIDEO_OWNER_CHANNEL_SLUG", channelSlug="s") == [["s", "3"]]
    assert ask("VIEWS", videoOwnerChannelSlug="other") == []


def test_a_stock_is_taken_on_the_readers_latest_day_of_each_bucket(facts: Callable[[Tables], Ask]) -> None:
    """The latest day is that of the reader's own rows within the range, in each month and over all."""
    ask = facts(
        {
            "usage": [
                stored("2023-06-29", 1, video_id="x1"),
                stored("2023-06-30", 2, owner_channel_id="c9"),
                stored("2023-07-01", 4),
                stored("2023-07-02", 8, video_id="x1"),
                stored("2023-07-02", 16, video_id="x2"),
                stored("2023-07-03", 32) | {"kind": "bandwidth", "bandwidth_vod_bytes": 3},
                stored("2023-08-01", 64),
            ]
        }
    )
    assert ask("STORAGE_USED_BYTES") == [["24"]]
    assert ask("STORAGE_USED_BYTES", "MONTH") == [["2023-06", "1"], ["2023-07", "24"]]
    assert ask("STORAGE_USED_BYTES", "VIDEO_ID") == [["x1", "8"], ["x2", "16"]]
    days = [["2023-06-29", "1"], ["2023-07-01", "4"], ["2023-07-02", "24"]]
    assert ask("STORAGE_USED_BYTES", "DAY") == days
    assert ask("STORAGE_USED_BYTES", "MONTH DAY") == [[day[:7], day, size] for day, size in days]


@pytest.mark.parametrize("others", [["2023-07-05"], ["2023-07-30", "2023-06-30"], ["2023-07-02"], []])
def test_another_partners_day_leaves_a_stock_alone(facts: Callable[[Tables], Ask], others: list[str]) -> None:
    """Whether somebody else is ahead, behind or absent, the reader's stock is that of its own latest day."""
    mine = [stored("2023-07-02", 8), stored("2023-07-02", 16, owner_channel_id="c2"), stored("2023-06-28", 1)]
    ask = facts({"usage": [*mine, *(stored(day, 99, owner_channel_id="c9") for day in others)]})
    for product in ("CONTENT", "ALL"):
        assert ask("STORAGE_USED_BYTES", "", product) == [["24"]]
        assert ask("STORAGE_USED_BYTES", "MONTH", product) == [["2023-06", "1"], ["2023-07", "24"]]


def test_a_stock_has_one_day_for_all_channels_of_a_reader(facts: Callable[[Tables], Ask]) -> None:
    """A channel without a row on that day has no stock, and a filter for it doesn't find it an earlier one."""
    late = stored("2023-07-01", 4, owner_channel_id="c2", media_type="live")
    ask = facts({"usage": [stored("2023-07-01", 2), late, stored("2023-07-02", 8)], "channels": CHANNELS})
    assert ask("STORAGE_USED_BYTES", "CHANNEL_SLUG") == [["slug1", "8"]]
    assert ask("STORAGE_USED_BYTES", "", channelSlug="slug2") == ask("STORAGE_USED_BYTES", mediaType="LIVE") == []
    assert ask("STORAGE_USED_BYTES", "DAY", channelSlug="slug2") == [["2023-07-01", "4"]]


def test_a_view_through_rate_leaves_out_plays_of_unknown_length(facts: Callable[[Tables], Ask]) -> None:
    """100 x watched / (views x duration) over plays whose video has a length; empty where none has."""
    known = play(views=2, time_watched_seconds=2, watchable_seconds=4820)
    unknown = play(views=5, time_watched_seconds=900)
    assert facts({"plays": [known, unknown]})("VIEW_THROUGH_RATE") == [["0.04"]]
    assert facts({"plays": [unknown]})("VIEW_THROUGH_RATE VIEWS") == [["", "5"]]


def test_a_tag_is_a_row_and_a_list_is_a_cell(facts: Callable[[Tables], Ask]) -> None:
    """CONTENT_TAG gives a row a tag, and one empty row where there is none; CONTENT_TAG_LIST one cell, in order."""
    plays = [play(video_id=name, views=views) for name, views in (("x1", 1), ("x2", 2), ("x3", 4), ("gone", 8))]
    videos = [video("x1", tags=["b", "a"]), video("x2", tags=["a"]), video("x3")]
    ask = facts({"plays": plays, "videos": videos})
    assert ask("VIEWS", "CONTENT_TAG") == [["a", "3"], ["b", "1"], ["", "12"]]
    assert ask("VIEWS", "CONTENT_TAG_LIST") == [["a", "2"], ["b|a", "1"], ["", "12"]]


ODD = st.text(alphabet="|\\\\ab \n", min_size=1, max_size=4)


@given(st.lists(st.lists(ODD, unique=True, min_size=1, max_size=4), unique_by=tuple, min_size=2, max_size=12))
@example([["a|b"], ["a", "b"], ["a\\", "b"], ["a\\|b"], ["a|", "b"], ["a", "|b"]])
def test_two_lists_of_tags_are_never_one_cell(
    tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine, lists: list[list[str]]
) -> None:
    """Whatever the tags hold, a cell is one list's alone, and `split_tags` gives it back."""
    videos = [video(f"x{at}", tags=tags) for at, tags in enumerate(lists)]
    plays = [play(video_id=row["id"], views=2**at) for at, row in enumerate(videos)]
    world = laid({"plays": plays, "videos": videos}, tmp_path_factory.mktemp("tags"), engine)
    query = ReportQuery.of(["VIEWS"], ["CONTENT_TAG_LIST"], date(2023, 7, 1), date(2023, 7, 1))
    rows = {split_tags(cell): int(views) for cell, views in world.report(query, ME)}
    assert rows == {tuple(tags): 2**at for at, tags in enumerate(lists)}


def test_sums_never_overflow(facts: Callable[[Tables], Ask]) -> None:
    """Counts near the end of 64 bits and money near the end of its column add up to all their digits."""
    most = 2**63 - 1
    ask = facts({"plays": [play(views=most)] * 3, "earnings": [earned("999999999999.999999")] * 3})
    assert ask("VIEWS ESTIMATED_EARNINGS_EUR") == [[str(3 * most), "2999999999999.999997"]]


def test_times_are_written_in_utc(facts: Callable[[Tables], Ask]) -> None:
    """A day runs from 00:00:00 to 23:59:59.999999 UTC; cells are 2023-07, 2023-07-01, 2023-07-01T05:00:00Z."""
    ask = facts({"ads": [play("2023-06-30T23:59:59.999999", no_ads=1), play("2023-07-01T00:00:00", no_ads=2)]})
    assert ask("NO_ADS", "MONTH DAY HOUR MINUTE") == [
        ["2023-06", "2023-06-30", "2023-06-30T23:00:00Z", "2023-06-30T23:59:00Z", "1"],
        ["2023-07", "2023-07-01", "2023-07-01T00:00:00Z", "2023-07-01T00:00:00Z", "2"],
    ]


def test_both_ends_of_the_range_are_included(facts: Callable[[Tables], Ask]) -> None:
    """From the first moment of the start to the last of the end, for moments and for days."""
    moments = ["2023-05-31T23:59:59.999999", "2023-06-01T00:00:00", "2023-07-31T23:59:59.999999", "2023-08-01T00:00:00"]
    usage = [stored(moment[:10], 1) | {"kind": "ai", "ai_credits": 1} for moment in moments]
    ask = facts({"plays": [play(moment) for moment in moments], "usage": usage})
    assert ask("VIEWS AI_USED_CREDITS", "DAY") == [["2023-06-01", "1", "1"], ["2023-07-31", "1", "1"]]


def test_live_viewers_are_counted_exactly_and_once(facts: Callable[[Tables], Ask]) -> None:
    """A viewer of many hours, titles and tags is one at every grain; plays without a viewer count none."""
    live = [play(f"2023-07-01T{hour:02}:00:00", media_type="live", viewer=f"v{hour % 3}") for hour in range(24)]
    ask = facts({"plays": [*live, play(media_type="live")], "videos": [video("x1", "T", tags=["a", "b"])]})
    assert ask("LIVE_VIEWERS") == [["3"]]
    assert ask("LIVE_VIEWERS", "VIDEO_TITLE CONTENT_TAG") == [["T", "a", "3"], ["T", "b", "3"]]
    assert ask("LIVE_VIEWERS LIVE_TIME_WATCHED_SECONDS", "VIDEO_TITLE") == [["T", "3", "0"]]


def test_live_viewers_are_a_lower_bound_where_some_are_not_told(facts: Callable[[Tables], Ask]) -> None:
    """Plays without a viewer count none beside those that tell one; where none tells any, the cell is empty."""
    told = [play(media_type="live", viewer=name, visitor_country="FR") for name in ("v1", "v2", "v1")]
    hidden = [play(media_type="live", views=7, visitor_country=country) for country in ("FR", "DE")]
    ask = facts({"plays": [*told, *hidden]})
    assert ask("LIVE_VIEWERS VIEWS", "VISITOR_COUNTRY") == [["DE", "", "7"], ["FR", "2", "10"]]
    assert ask("LIVE_VIEWERS") == [["2"]]


def test_uploads_count_videos_by_creation_day(facts: Callable[[Tables], Ask]) -> None:
    """UPLOADS counts by the day of creation, the deleted ones too, and not those without one."""
    at = datetime(2023, 7, 1, 23, 59, tzinfo=UTC)
    videos = [video("x1", created_at=at), video("x2", created_at=at, deleted_at=at), video("x3")]
    assert facts({"videos": videos})("UPLOADS", "DAY") == [["2023-07-01", "2"]]


def test_text_survives_the_csv(facts: Callable[[Tables], Ask]) -> None:
    """Commas, quotes, line ends, blanks at the ends, words like NULL and any script come back as they were."""
    titles = [
        "a,b",
        'say "x"',
        "two\nlines",
        "cr\rhere",
        "crlf\r\nhere",
        " both ",
        "NULL",
        "\\N",
        "#",
        "'",
        "\t",
        "é😀مرحبا",
        '"',
    ]
    plays = [play(video_id=f"x{index}") for index in range(len(titles))]
    ask = facts({"plays": plays, "videos": [video(f"x{index}", title) for index, title in enumerate(titles)]})
    assert [row[0] for row in ask("VIEWS", "VIDEO_TITLE")] == sorted(titles, key=str.encode)


def test_a_reader_of_no_channel_sees_nothing(folder: Path, engine: QueryEngine) -> None:
    """Without a channel there is no row, in any product, and the file is a header."""
    world = laid({"plays": ROLES}, folder, engine)
    for product in ("CONTENT", "EMBED", "CLAIM", "ALL"):
        query = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], date(2023, 7, 1), date(2023, 7, 1), product=product)
        assert world.text(query, frozenset()) == "day,video_id,views\n"


def test_tables_that_do_not_exist_give_a_header(facts: Callable[[Tables], Ask]) -> None:
    """A service without a single fact answers every report, with no row."""
    assert facts({})("VIEWS ESTIMATED_EARNINGS_EUR STORAGE_USED_BYTES", "DAY VIDEO_TITLE") == []
    assert facts({})("UPLOADS LIVE_VIEWERS") == []
    assert facts({"plays": [play()]})("VIEWS", "VIDEO_TITLE PLAYER_TITLE PUBLISHER_CHANNEL") == [["", "", "", "1"]]
