"""A view is written to a URL and parsed from it; what is wrong in one, and what could be added, is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from html import unescape
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.server.explore.views import DEFAULTS, LONG, RULES, TODAY, views

from reelport import check
from reelport.catalog import Dimension, Filter, Grain, Metric, Product
from reelport.check import Rules
from reelport.facts.log.freshness import COUNTED, Freshness
from reelport.server.explore.view import Parameter, Sort, View
from reelport.server.explore.view_days import Comparison, Preset
from reelport.server.explore.view_parameters import Defaults, ParsedView, list_options, parse_view

START, END = date(2026, 3, 1), date(2026, 3, 4)
NOTHING = {table: Freshness(table, None, None) for table in COUNTED}


def view(**more: object) -> View:
    """A small view, with some of its parts replaced."""
    parts = {
        "metrics": (Metric.VIEWS,),
        "dimensions": (Dimension.VIDEO_ID,),
        "start": START,
        "end": END,
        "ranked_by": Metric.VIEWS,
        "grain": Grain.DAY,
    }
    return View(**{**parts, **more})  # type: ignore[arg-type]


def parse(query: str, defaults: Defaults = DEFAULTS) -> ParsedView:
    """Parse the query of a URL."""
    return parse_view(parse_qsl(query, keep_blank_values=True), defaults)


@given(views())
def test_a_view_parsed_from_its_own_parameters_is_that_view(drawn: View) -> None:
    """Nothing of a view is lost in its URL, and nothing in it is a problem."""
    assert parse_view(drawn.params(), DEFAULTS) == ParsedView(drawn)
    assert parse(drawn.url_query()) == ParsedView(drawn)


@given(views())
def test_an_address_is_the_same_in_html(drawn: View) -> None:
    """Pages write it as it is: no name of a parameter is that of an entity, and all else is quoted."""
    assert unescape(drawn.url_query()) == drawn.url_query()
    assert not set("\"'<>") & set(drawn.url_query())


@given(views())
def test_a_drawn_view_stands_for_a_report_that_keeps_all_rules(drawn: View) -> None:
    """The report of a view, and each part of it, can be asked for; only the view may have more days."""
    parts = [drawn.report_query(), drawn.query(()), *(drawn.query((row,)) for row in drawn.dimensions)]
    assert [check.problems(query, today=TODAY, rules=LONG) for query in parts] == [()] * len(parts)


_NAMES = [*map(str, Parameter), *Filter.__members__, "utm_source", ""]
_TEXTS = [
    *("", "VIEWS", "ESTIMATED_EARNINGS_EUR", "DAY", "VIDEO_ID", "CHANNEL_SLUG", "LIVE", "change", "month"),
    *("2026-03-01", "0001-01-01", "9999-12-31", "last-month", "\0", "x" * 2000, "<script>"),
]
_PAIRS = some.tuples(some.sampled_from(_NAMES), some.one_of(some.sampled_from(_TEXTS), some.text(max_size=30)))


@given(some.lists(_PAIRS, max_size=30))
def test_any_address_gives_a_view_that_keeps_all_rules(pairs: list[tuple[str, str]]) -> None:
    """However wrong its parameters are, a page has something to show, at an address of its own."""
    parsed = parse_view(pairs, DEFAULTS)
    assert check.problems(parsed.view.report_query(), today=TODAY, rules=LONG) == ()
    assert parse_view(parsed.view.params(), DEFAULTS) == ParsedView(parsed.view)


def test_an_address_that_says_nothing_gives_the_default_view() -> None:
    """It is the last 28 days that are complete in the tables of its metrics."""
    assert parse("") == ParsedView(
        view(start=date(2026, 3, 3), end=date(2026, 3, 30), preset=Preset.LAST_28_DAYS), is_relative=True
    )


def test_a_range_ends_where_all_tables_of_its_metrics_are_complete() -> None:
    """Earnings are complete later than views: both together end where earnings do."""
    both = parse("metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&by=VIDEO_ID")
    assert (both.view.start, both.view.end) == (date(2026, 2, 26), date(2026, 3, 25))


def test_a_range_of_tables_without_a_complete_day_ends_yesterday() -> None:
    """There is no better day to end on."""
    assert parse("metric=AI_USED_CREDITS&by=").view.end == date(2026, 3, 30)


def test_all_problems_come_at_once_as_sentences() -> None:
    """One look at the page tells everything that was wrong in its address."""
    url = "metric=VIEWZ&metric=VIEWS&by=OUTCOME&by=VIDEO_ID&from=soon&to=2026-03-99&mediaType=TV&product=X&sort=y&foo=1"
    parsed = parse(url)
    assert [problem.sentence for problem in parsed.problems] == [
        "The address has a parameter 'foo', which is unknown.",
        "'soon' is no day: write it like 2026-07-04.",
        "'2026-03-99' is no day: write it like 2026-07-04.",
        "There is no metric 'VIEWZ'. Did you mean VIEWS?",
        "VIEWS can't be split by OUTCOME. OUTCOME goes with NB_MISSED_IMPRESSION, NO_FILLS, AD_ERRORS, TIMEOUTS.",
        "There is no mediaType 'TV'. There are LIVE, VIDEO.",
        "There is no product 'X'. There are CONTENT, EMBED, CLAIM, ALL.",
        "There is no sort 'y'. There are value, share, change.",
    ]
    assert parsed.view == view(start=date(2026, 3, 3), end=date(2026, 3, 30))


@pytest.mark.parametrize(
    ("url", "start", "end", "sentence"),
    [
        ("from=2026-03-04&to=2026-03-01", START, END, "The end, 2026-03-01, lies before the start, 2026-03-04."),
        (
            "from=2026-03-30&to=2026-05-01",
            date(2026, 3, 30),
            TODAY,
            "2026-05-01 lies in the future: today is 2026-03-31 (UTC).",
        ),
        (
            "from=1969-12-31&to=1970-01-02",
            date(1970, 1, 1),
            date(1970, 1, 2),
            "1969-12-31 is too long ago: numbers begin on 1970-01-01.",
        ),
    ],
)
def test_wrong_days_are_told_and_replaced_by_the_nearest(url: str, start: date, end: date, sentence: str) -> None:
    """Reversed, in the future, or before there was anything."""
    parsed = parse(url)
    assert [problem.sentence for problem in parsed.problems] == [sentence]
    assert (parsed.view.start, parsed.view.end) == (start, end)


def test_a_metric_without_its_scope_is_told_and_left_out() -> None:
    """What only went with it stays out of the way of what is left."""
    parsed = parse("metric=ESTIMATED_EARNINGS_EUR", Defaults((Metric.VIEWS,), (), NOTHING, TODAY, scopes=frozenset()))
    needed = "ESTIMATED_EARNINGS_EUR needs the scope access_revenue, which the token lacks."
    assert [problem.sentence for problem in parsed.problems] == [needed]
    assert parsed.view.metrics == (Metric.VIEWS,)


def test_default_leaderboards_that_fit_no_metric_are_left_out_silently() -> None:
    """Nobody asked for them."""
    defaults = Defaults((Metric.VIEWS,), (Dimension.ACTION, Dimension.VIDEO_ID), NOTHING, TODAY)
    assert parse("metric=UPLOADS", defaults).problems == ()
    assert parse("metric=UPLOADS", defaults).view.dimensions == (Dimension.VIDEO_ID,)


def test_a_leaderboard_by_time_is_told_and_left_out() -> None:
    """The lines go by time."""
    parsed = parse("by=MONTH&by=VIDEO_ID")
    sentence = "MONTH is no leaderboard: the lines go by time already."
    assert [problem.sentence for problem in parsed.problems] == [sentence]
    assert parsed.view.dimensions == (Dimension.VIDEO_ID,)


@pytest.mark.parametrize("text", ["FR", "COUNTRY:FR", "DAY:2026-03-01", ":", "VISITOR_COUNTRY\x1f:"])
def test_a_value_of_no_dimension_is_told_and_left_out(text: str) -> None:
    """A time is none: the days of the view are chosen by themselves."""
    parsed = parse_view([("only", text)], DEFAULTS)
    (problem,) = parsed.problems
    assert problem.sentence == f"{text!r} is no dimension and its value: write it like VISITOR_COUNTRY:FR."
    assert parsed.view.kept == ()


def test_a_value_that_does_not_go_with_the_metrics_is_told_and_left_out() -> None:
    """By the sentence that would refuse a report by its dimension."""
    parsed = parse("metric=UPLOADS&only=VISITOR_COUNTRY:FR&by=none")
    assert [problem.sentence.split(".")[0] for problem in parsed.problems] == [
        "UPLOADS can't be split by VISITOR_COUNTRY"
    ]
    assert parsed.view.kept == ()


def test_only_so_many_parameters_are_read() -> None:
    """Each unknown name costs a search for what was meant: an address can't ask for thousands."""
    parsed = parse("&".join(f"by=NAME_{number}" for number in range(2000)))
    assert len(parsed.problems) == 102
    assert parsed.problems[0].sentence == "Only the first 100 parameters of the address were read."


@pytest.mark.parametrize(
    ("word", "start", "end"),
    [
        ("last-7-days", date(2026, 3, 24), date(2026, 3, 30)),
        ("last-28-days", date(2026, 3, 3), date(2026, 3, 30)),
        ("last-90-days", date(2025, 12, 31), date(2026, 3, 30)),
        ("last-week", date(2026, 3, 23), date(2026, 3, 29)),
        ("this-month", date(2026, 3, 1), date(2026, 3, 30)),
        ("last-month", date(2026, 2, 1), date(2026, 2, 28)),
        ("last-365-days", date(2025, 3, 31), date(2026, 3, 30)),
        ("lifetime", date(1970, 1, 1), date(2026, 3, 30)),
    ],
)
def test_a_preset_becomes_days_up_to_the_last_complete_one(word: str, start: date, end: date) -> None:
    """Its link is resolved when it is followed, and the page then has a link with days."""
    parsed = parse(f"range={word}")
    assert (parsed.view.start, parsed.view.end, parsed.is_relative) == (start, end, True)
    assert parse(parsed.view.url_query()) == ParsedView(parsed.view)
    assert parse(parsed.view.rolling_query()) == parsed
    assert f"range={word}" in parsed.view.rolling_query()
    assert "from=" not in parsed.view.rolling_query()


def test_the_last_month_is_the_newest_one_that_is_complete() -> None:
    """On the first day of December, November is the last month; a day earlier, October still is."""
    november = date(2026, 11, 1), date(2026, 11, 30)
    assert Preset.LAST_MONTH.resolve(date(2026, 11, 30), date(2026, 1, 1)) == november
    assert Preset.LAST_MONTH.resolve(date(2026, 12, 31), date(2026, 1, 1)) == (date(2026, 12, 1), date(2026, 12, 31))
    assert Preset.LAST_MONTH.resolve(date(2026, 11, 29), date(2026, 1, 1)) == (date(2026, 10, 1), date(2026, 10, 31))


def test_the_last_week_is_the_newest_one_that_is_complete() -> None:
    """From Monday to Sunday; on a Saturday it is still the one before."""
    week = date(2026, 11, 23), date(2026, 11, 29)
    assert Preset.LAST_WEEK.resolve(date(2026, 11, 29), date(2026, 1, 1)) == week
    assert Preset.LAST_WEEK.resolve(date(2026, 12, 5), date(2026, 1, 1)) == week
    assert Preset.LAST_WEEK.resolve(date(2026, 12, 6), date(2026, 1, 1)) == (date(2026, 11, 30), date(2026, 12, 6))


def test_other_days_than_those_of_a_preset_were_not_chosen_by_it() -> None:
    """A date that was typed beside a range counts, and a link of an earlier day shows what it showed."""
    typed = parse("range=last-7-days&from=2026-03-20&to=2026-03-30")
    assert (typed.view.start, typed.view.preset, typed.is_relative) == (date(2026, 3, 20), None, False)
    half = parse("range=last-7-days&from=2026-03-20")
    assert (half.view.start, half.view.end, half.view.preset) == (date(2026, 3, 20), date(2026, 3, 30), None)
    earlier = parse("range=last-7-days&from=2026-03-10&to=2026-03-16")
    assert (earlier.view.days, earlier.view.preset) == (7, None)
    assert earlier.view.rolling_query() == earlier.view.url_query()


def test_a_chosen_range_outlives_another_metric() -> None:
    """Earnings are complete later than views: what was chosen stays chosen when they are added."""
    parsed = parse("metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&range=last-7-days&from=2026-03-24&to=2026-03-30")
    assert parsed.view.preset is Preset.LAST_7_DAYS


def test_each_preset_has_its_days_tested() -> None:
    """The table above holds all of them."""
    assert len(Preset) == 8


@pytest.mark.parametrize(
    ("comparison", "days", "compared"),
    [
        (Comparison.NONE, (START, END), None),
        (Comparison.PREVIOUS, (START, END), (date(2026, 2, 25), date(2026, 2, 28))),
        (Comparison.WEEKDAYS, (START, END), (date(2026, 2, 22), date(2026, 2, 25))),
        (Comparison.WEEKDAYS, (date(2026, 3, 1), date(2026, 3, 8)), (date(2026, 2, 15), date(2026, 2, 22))),
        (Comparison.YEAR, (START, END), (date(2025, 3, 1), date(2025, 3, 4))),
        (Comparison.YEAR, (date(2024, 2, 29), date(2024, 3, 1)), (date(2023, 2, 28), date(2023, 3, 1))),
    ],
)
def test_compared_days_are_as_many_and_lie_before(
    comparison: Comparison, days: tuple[date, date], compared: tuple[date, date] | None
) -> None:
    """Right before, a whole number of weeks before, or the same days of the year before."""
    assert view(start=days[0], end=days[1], comparison=comparison).compared_days == compared


def test_a_long_range_has_lines_by_month() -> None:
    """However many days a report may have: a view may have more."""
    parsed = parse("from=2024-01-01&to=2025-12-31")
    assert (parsed.view.start, parsed.view.grain, parsed.problems) == (date(2024, 1, 1), Grain.MONTH, ())


@pytest.mark.parametrize(
    ("url", "grain", "sentences"),
    [
        ("grain=week", Grain.WEEK, []),
        ("from=2026-03-01&to=2026-03-31&grain=hour", Grain.HOUR, []),
        (
            "from=2026-02-28&to=2026-03-31&grain=hour",
            Grain.DAY,
            ["Lines by hour are of 31 days at most: choose fewer days, or lines by day."],
        ),
        ("grain=hour&metric=VIEWS&metric=UPLOADS&by=none", Grain.DAY, ["UPLOADS can't be had by hour."]),
        ("grain=minute", Grain.DAY, ["There is no grain 'minute'. There are hour, day, week, month."]),
    ],
)
def test_lines_that_are_too_fine_say_what_would_do(url: str, grain: Grain, sentences: list[str]) -> None:
    """A chart of a thousand hours shows none of them, and some metrics have no hours."""
    parsed = parse(url)
    assert (parsed.view.grain, [problem.sentence for problem in parsed.problems]) == (grain, sentences)


def test_a_view_keeps_several_values_of_a_dimension() -> None:
    """Any of them: in its address, its sentence, and its report has them beside the others."""
    several = parse("by=none&only=VISITOR_COUNTRY:FR&only=VISITOR_COUNTRY:&only=VISITOR_COUNTRY:FR").view
    assert several.kept == ((Dimension.VISITOR_COUNTRY, "FR"), (Dimension.VISITOR_COUNTRY, ""))
    assert several.sentence().endswith("of country FR or Unknown alone")
    assert several.report_query().dimensions == ("DAY", "VISITOR_COUNTRY")
    assert several.keep(Dimension.VISITOR_COUNTRY, []).kept == ()


def test_sorting_by_a_change_needs_a_comparison() -> None:
    """Without one there is no change."""
    assert parse("sort=change").view.sort is Sort.VALUE
    assert parse("sort=change&compare=previous").view.sort is Sort.CHANGE


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "Views by day and video, 1 to 4 March 2026"),
        (
            {"filters": ((Filter.channelSlug, "demo-news"),)},
            "Views by day and video for demo-news, 1 to 4 March 2026",
        ),
        (
            {
                "metrics": (Metric.TIME_WATCHED_SECONDS, Metric.ESTIMATED_EARNINGS_EUR),
                "dimensions": (),
                "start": date(2025, 12, 31),
                "product": Product.CLAIM,
                "filters": ((Filter.visitorDomainGroup, ""), (Filter.mediaType, "LIVE")),
                "grain": Grain.MONTH,
            },
            (
                "Watch time and estimated earnings (EUR) by month of what your channels claimed"
                " without a domain group with media type Live stream, 31 December 2025 to 4 March 2026"
            ),
        ),
    ],
)
def test_a_view_says_in_plain_words_what_its_report_has(more: dict[str, object], sentence: str) -> None:
    """Metrics, time and dimensions, product, filters and days."""
    assert view(**more).sentence() == sentence


def test_a_view_says_what_it_shows_of_its_report() -> None:
    """The report has the dimension, and no filter by it."""
    narrowed = view(kept=((Dimension.VIDEO_ID, "x1"), (Dimension.VISITOR_COUNTRY, "")))
    assert narrowed.sentence() == (
        "Views by day, video and country, 1 to 4 March 2026, of video x1 and country Unknown alone"
    )


def test_a_text_given_for_a_filter_counts_more_than_its_empty_cells() -> None:
    """A form that showed the empty value sends both when somebody types another."""
    empty = parse("by=none&empty=visitorDomainGroup")
    assert empty.view.filters == ((Filter.visitorDomainGroup, ""),)
    typed = parse("by=none&empty=visitorDomainGroup&visitorDomainGroup=news")
    assert typed.view.filters == ((Filter.visitorDomainGroup, "news"),)


VIEW = View((Metric.VIEWS,), (Dimension.VIDEO_ID,), DEFAULTS.today, DEFAULTS.today, Metric.VIEWS, Grain.DAY)


@given(views())
def test_every_option_without_a_reason_fits_and_every_other_has_a_reason(view: View) -> None:
    """What is offered makes a report that can be asked for; what isn't would be refused."""
    for row, option in list_options(view, RULES).items():
        if option.is_chosen or isinstance(row, Filter):
            continue
        if isinstance(row, Metric):
            query = replace(view, metrics=(*view.metrics, row)).report_query()
        else:
            query = replace(view, dimensions=(*view.dimensions, row)).report_query()
        assert bool(check.problems(query, today=DEFAULTS.today, rules=LONG)) == (option.reason is not None)


def test_what_a_view_has_is_chosen() -> None:
    """Times are no leaderboards, and no option."""
    options = list_options(replace(VIEW, filters=((Filter.mediaType, "LIVE"),)), RULES)
    chosen = [row for row, option in options.items() if option.is_chosen]
    assert chosen == [Metric.VIEWS, Dimension.VIDEO_ID, Filter.mediaType]
    assert all(row.grain is None for row in options if isinstance(row, Dimension))


def test_a_metric_that_a_filter_does_not_fit_says_so() -> None:
    """In the page's words, with what to do."""
    options = list_options(replace(VIEW, filters=((Filter.mediaType, "LIVE"),)), RULES)
    sentence = "Uploads can't be narrowed by media type. Choose another filter for these."
    assert options[Metric.UPLOADS].reason == sentence


def test_what_only_narrows_a_view_may_become_a_leaderboard() -> None:
    """It isn't chosen, and its dimension is no second one."""
    options = list_options(replace(VIEW, kept=((Dimension.VISITOR_COUNTRY, "FR"),)), Rules(dimensions=3))
    country = options[Dimension.VISITOR_COUNTRY]
    assert (country.is_chosen, country.reason) == (False, None)
    assert options[Dimension.VISITOR_DEVICE_TYPE].reason == "4 dimensions are more than 3: leave out 1."


def test_a_full_view_says_that_it_is_full() -> None:
    """One more leaderboard would be one dimension too many."""
    options = list_options(VIEW, Rules(dimensions=2))
    assert options[Dimension.ACTION].reason == "3 dimensions are more than 2: leave out 1."
