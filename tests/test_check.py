"""Every reason to refuse a query has its case, all come at once, and each names what would work."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.patience import count_calls

from reelport.catalog import Dimension, Family, Filter, Metric, Product, Scope, find_synonyms
from reelport.catalog.synonyms import SYNONYMS
from reelport.check import Rules, allowed_with, problems, scopes_of
from reelport.query import NULL, ReportQuery
from reelport.wire import Code

TODAY = date(2026, 3, 31)
START = date(2026, 3, 1)
ALL_SCOPES = frozenset(Scope)
LENIENT = Rules(strict=False)


def query(
    metrics: str = "VIEWS",
    dimensions: str = "DAY",
    start: date = START,
    end: date = TODAY,
    product: str = "CONTENT",
    **filters: str,
) -> ReportQuery:
    return ReportQuery.of(metrics.split(), dimensions.split(), start, end, filters, product)


# Each case: what is wrong, the code, the path, what would work.
CASES = {
    "a mistyped metric": (query("VEIWS"), Code.UNKNOWN_METRIC, ("metrics", 0), "VIEWS"),
    "a metric in lower case": (query("views"), Code.UNKNOWN_METRIC, ("metrics", 0), "VIEWS"),
    "a metric like nothing": (query("VIEWS ZZZZ"), Code.UNKNOWN_METRIC, ("metrics", 1), None),
    "a mistyped dimension": (query(dimensions="DAYS"), Code.UNKNOWN_DIMENSION, ("dimensions", 0), "DAY"),
    "no metrics": (query(""), Code.NO_METRICS, ("metrics",), "VIEWS"),
    "no metrics for a dimension": (
        query("", "DAY OUTCOME"),
        Code.NO_METRICS,
        ("metrics",),
        "NB_MISSED_IMPRESSION",
    ),
    "no metrics for what goes with none": (
        query("", "OUTCOME RENDITION_FPS"),
        Code.NO_METRICS,
        ("metrics",),
        None,
    ),
    "a null metric": (query(f"VIEWS {NULL}"), Code.EMPTY_ITEM, ("metrics", 1), None),
    "a null dimension": (query(dimensions=NULL), Code.EMPTY_ITEM, ("dimensions", 0), None),
    "a metric twice": (query("VIEWS VIEWS"), Code.DUPLICATE, ("metrics", 1), None),
    "a dimension twice": (query(dimensions="DAY DAY"), Code.DUPLICATE, ("dimensions", 1), None),
    "a pair that can't be": (
        query(dimensions="DAY CHANNEL_SLUG"),
        Code.INCOMPATIBLE_PAIR,
        ("dimensions", 1),
        "VIDEO_OWNER_CHANNEL_SLUG",
    ),
    "hours of earnings": (query("ESTIMATED_EARNINGS_EUR", "HOUR"), Code.GRAIN_TOO_FINE, ("dimensions", 0), "DAY"),
    "minutes of views": (query(dimensions="MINUTE"), Code.GRAIN_TOO_FINE, ("dimensions", 0), "HOUR"),
    "hours of a mix": (query("VIEWS ESTIMATED_EARNINGS_USD", "HOUR"), Code.GRAIN_TOO_FINE, ("dimensions", 0), "DAY"),
    "hours beside days, which are the finest": (
        query("UPLOADS", "HOUR DAY"),
        Code.GRAIN_TOO_FINE,
        ("dimensions", 0),
        None,
    ),
    "nine dimensions": (
        query(
            dimensions="DAY VIDEO_ID VIDEO_TITLE MEDIA_TYPE PLAYER_ID PLAYLIST_ID VISITOR_COUNTRY ACTION PUBLISHER_ID"
        ),
        Code.TOO_MANY_DIMENSIONS,
        ("dimensions",),
        None,
    ),
    "an end before its start": (query(start=TODAY, end=START), Code.RANGE_REVERSED, ("endDate",), None),
    "181 days": (query(start=TODAY - timedelta(180)), Code.RANGE_TOO_LONG, ("endDate",), "2026-03-30"),
    "an end tomorrow": (query(end=TODAY + timedelta(1)), Code.RANGE_IN_FUTURE, ("endDate",), "2026-03-31"),
    "an unknown filter": (query(mediatype="LIVE"), Code.UNKNOWN_FILTER, ("filters", "mediatype"), "mediaType"),
    "an unknown value": (query(mediaType="LIV"), Code.UNKNOWN_FILTER_VALUE, ("filters", "mediaType"), "LIVE"),
    "a filter that can't be": (
        query("UPLOADS", mediaType="LIVE"),
        Code.INCOMPATIBLE_FILTER,
        ("filters", "mediaType"),
        None,
    ),
    "an unknown product": (query(product="CONTENTS"), Code.UNKNOWN_PRODUCT, ("product",), "CONTENT"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_wrong_query_gets_its_one_problem(
    case: tuple[ReportQuery, Code, tuple[str | int, ...], str | None],
) -> None:
    """Each mistake is one problem with code, path and what would work, and is fatal for a service of ours."""
    asked, code, path, near = case
    (found,) = problems(asked, today=TODAY)
    assert (found.code, found.path, found.nearest) == (code, path, near)
    assert found.fatal
    assert found.sentence.endswith((".", "?"))
    assert near is None or near in found.sentence or code == Code.NO_METRICS


@pytest.mark.parametrize(("start", "days"), [(0, 400), (-10, 400), (5, 3), (5, 400), (-300, 301), (-300, 302)])
def test_what_is_said_of_a_range_would_work(start: int, days: int) -> None:
    """Too long, in the future, or both: with each date as it was named, nothing is said of the range any more."""
    first = TODAY + timedelta(start)
    found = problems(query(start=first, end=first + timedelta(days)), today=TODAY)
    near = {each.path[0]: date.fromisoformat(each.nearest or "") for each in found}
    assert {(each.path[0], each.nearest) for each in found} == {(name, day.isoformat()) for name, day in near.items()}
    assert not problems(query(start=near.get("startDate", first), end=near["endDate"]), today=TODAY)


def test_every_code_of_a_query_has_a_case() -> None:
    """No reason to refuse a query goes untested."""
    elsewhere = {
        Code.SYNTAX,
        Code.BAD_BODY,
        Code.INVALID_DOCUMENT,
        Code.INVALID_VALUE,
        Code.BAD_DATE,
        Code.SCOPE_MISSING,
        Code.TOO_MANY_REPORTS,
        Code.TOO_LARGE,
        Code.UNAUTHENTICATED,
        Code.UNAVAILABLE,
        Code.INTERNAL,
        Code.NOT_FOUND,
        Code.WRONG_METHOD,
    }
    assert {code for _, code, _, _ in CASES.values()} == set(Code) - elsewhere


def test_all_problems_come_at_once() -> None:
    """A query with many mistakes hears of all of them, in the order of its parts."""
    asked = query("VEIWS VIEWS", "BUYER DAYS", TODAY, START, "NOTHING", foo="x")
    assert [each.code for each in problems(asked, today=TODAY)] == [
        Code.UNKNOWN_METRIC,
        Code.UNKNOWN_DIMENSION,
        Code.INCOMPATIBLE_PAIR,
        Code.RANGE_REVERSED,
        Code.UNKNOWN_FILTER,
        Code.UNKNOWN_PRODUCT,
    ]


@pytest.mark.parametrize(
    ("metrics", "dimensions", "near"),
    [
        ("VIEWS", "CHANNEL", "VIDEO_OWNER_CHANNEL_SLUG"),
        ("VIEWS", "CHANEL_SLUG", "VIDEO_OWNER_CHANNEL_SLUG"),
        ("ESTIMATED_EARNINGS_EUR", "CHANEL_SLUG", "CHANNEL_SLUG"),
        ("VEIWS", "CHANEL_SLUG", "VIEWS CHANNEL_SLUG"),
        ("REVENUE", "DAY", "ESTIMATED_EARNINGS_EUR"),
        ("REVENUE", "HOUR", "ESTIMATED_EARNINGS_EUR"),
        ("earnings", "countries", "ESTIMATED_EARNINGS_EUR VISITOR_COUNTRY"),
        ("watch-time", "device title", "TIME_WATCHED_SECONDS VISITOR_DEVICE_TYPE VIDEO_TITLE"),
        ("plays impressions", "date", "VIEWS IMPRESSIONS DAY"),
        ("VIEWS", "DAY DAYS", "DAY"),
    ],
)
def test_what_is_suggested_goes_with_the_rest(metrics: str, dimensions: str, near: str) -> None:
    """A word of the trade leads to the wire's name; of similar names one that the query can have comes first."""
    found = problems(query(metrics, dimensions), today=TODAY)
    unknown = [each for each in found if each.code in {Code.UNKNOWN_METRIC, Code.UNKNOWN_DIMENSION}]
    assert [each.nearest for each in unknown] == near.split()


def test_synonyms_lead_to_names_of_the_catalog() -> None:
    """To all of one kind, and each is found however it is written; none is a name itself."""
    for word, names in SYNONYMS.items():
        assert any(set(names) <= kind.__members__.keys() for kind in (Metric, Dimension))
        assert word not in {**Metric.__members__, **Dimension.__members__}
        for spelling in (word, word.lower(), f"{word}s", word.replace("_", "-")):
            assert find_synonyms(spelling) == names


def test_unknown_names_beside_no_metric_are_problems_of_their_own() -> None:
    """What could be asked for instead is told by the names that are known."""
    asked = query("", "DAY OUTCOMES OUTCOME", foo="x")
    assert [(each.code, each.nearest) for each in problems(asked, today=TODAY)] == [
        (Code.NO_METRICS, "NB_MISSED_IMPRESSION"),
        (Code.UNKNOWN_DIMENSION, "OUTCOME"),
        (Code.UNKNOWN_FILTER, None),
    ]


def test_where_none_is_near_and_few_can_be_meant_all_are_named() -> None:
    """Products, filters, and the values of a filter; metrics are too many."""
    wrong = problems(query("ZZZ", mediaType="ZZZ", product="ZZZ", zzz="x"), today=TODAY)
    assert [each.sentence for each in wrong] == [
        "There is no metric 'ZZZ'.",
        "There is no mediaType 'ZZZ'. There are LIVE, VIDEO.",
        f"There is no filter 'zzz'. There are {', '.join(Filter.__members__)}.",
        "There is no product 'ZZZ'. There are CONTENT, EMBED, CLAIM, ALL.",
    ]


@pytest.mark.parametrize(
    ("filters", "near", "advice"),
    [
        ({"mediaType": "LIVE"}, None, "channelSlug, videoOwnerChannelSlug would work."),
        ({"mediaType": "LIVE", "channelSlug": "a"}, "videoOwnerChannelSlug", "videoOwnerChannelSlug would work."),
        (
            {"mediaType": "LIVE", "channelSlug": "a", "videoOwnerChannelSlug": "b"},
            None,
            "No other filter goes with all of the metrics.",
        ),
    ],
)
def test_a_filter_that_cant_be_names_those_that_can(filters: dict[str, str], near: str | None, advice: str) -> None:
    """The filters that go with every metric and aren't used yet; one alone is what would work."""
    (found,) = problems(query("VIEWS UPLOADS", "DAY", **filters), today=TODAY)  # type: ignore[arg-type]
    assert (found.sentence, found.nearest) == (f"UPLOADS can't be narrowed by mediaType. {advice}", near)


def test_the_largest_query_is_checked_in_a_moment() -> None:
    """Every metric by every dimension, wrong in each of them, costs hardly a call more than it has pairs."""
    asked = ReportQuery.of(Metric, Dimension, START, TODAY)
    assert len(problems(asked, today=TODAY, scopes=ALL_SCOPES)) > len(Dimension) - 5
    calls = count_calls(lambda: problems(asked, today=TODAY, scopes=ALL_SCOPES))
    assert calls < 2 * len(Metric) * len(Dimension)


def test_a_whole_query_has_no_problem() -> None:
    """A common mix, 180 days up to today, with every filter and eight dimensions, is fine."""
    asked = query(
        "VIEWS ESTIMATED_EARNINGS_EUR",
        "DAY MONTH VIDEO_ID VIDEO_TITLE PLAYLIST_ID PLAYER_ID PUBLISHER_ID VISITOR_COUNTRY",
        TODAY - timedelta(179),
        channelSlug="a",
        videoOwnerChannelSlug="b",
        visitorDomainGroup="",
        mediaType="LIVE",
        monetizationType="CLAIM",
    )
    assert problems(asked, today=TODAY, scopes=ALL_SCOPES) == ()


def test_a_missing_scope_is_named_with_its_metric() -> None:
    """Each metric whose scope the token lacks is one problem that names both."""
    asked = query("VIEWS ECPM_EUR FILL_RATE", "MONTH")
    found = problems(asked, today=TODAY, scopes={Scope.CREATE_REPORTS, Scope.ACCESS_REVENUE})
    assert [(each.code, each.path, each.nearest) for each in found] == [
        (Code.SCOPE_MISSING, ("metrics", 1), "access_ads"),
        (Code.SCOPE_MISSING, ("metrics", 2), "access_ads"),
    ]
    assert scopes_of(asked) == {Scope.ACCESS_ADS, Scope.ACCESS_REVENUE}


def test_towards_another_host_what_we_do_not_know_is_a_warning() -> None:
    """Unknown names and pairs that no documentation rules out don't stop a query to another host."""
    asked = query("NEW_METRIC FILL_RATE", "NEW_DIMENSION BUYER", product="NEW", newFilter="x")
    found = problems(asked, today=TODAY, rules=LENIENT)
    assert len(found) == 5
    assert not any(each.fatal for each in found)


def test_towards_another_host_what_is_documented_stays_an_error() -> None:
    """A pair that the printed matrix rules out, and a documented limit, stop a query to any host."""
    asked = query(dimensions="CHANNEL_SLUG", start=TODAY - timedelta(180))
    found = problems(asked, today=TODAY, rules=LENIENT)
    assert len(found) == 2
    assert all(each.fatal for each in found)


@pytest.mark.parametrize("dimensions", ["BUYER", "PLAYER_TYPE", "MINUTE"])
def test_towards_another_host_a_pair_that_no_page_speaks_of_is_a_warning(dimensions: str) -> None:
    """The printed matrix can't rule out a dimension that it doesn't know, nor a grain."""
    (found,) = problems(query(dimensions=dimensions), today=TODAY, rules=LENIENT)
    assert not found.fatal
    assert "isn't known to be" in found.sentence


def test_permissive_rules_let_through_what_the_facts_carry() -> None:
    """With inferred rows permissive, FILL_RATE goes by BUYER; a documented row stays as it is."""
    asked = query("FILL_RATE", "BUYER")
    assert problems(asked, today=TODAY)
    assert not problems(asked, today=TODAY, rules=Rules(permissive=True))
    assert problems(query(dimensions="BUYER"), today=TODAY, rules=Rules(permissive=True))


def test_limits_are_settings() -> None:
    """A service set to 30 days and 2 dimensions refuses more, by its own numbers."""
    asked = query(dimensions="DAY VIDEO_ID VIDEO_TITLE")
    found = problems(asked, today=TODAY, rules=Rules(dimensions=2, days=30))
    assert [each.code for each in found] == [Code.TOO_MANY_DIMENSIONS, Code.RANGE_TOO_LONG]
    assert found[1].nearest == "2026-03-30"


METRICS = some.lists(some.sampled_from(Metric), unique=True, max_size=3)
DIMENSIONS = some.lists(some.sampled_from(Dimension), unique=True, max_size=4)


def can_be(asked: ReportQuery) -> bool:
    """Whether nothing is wrong with it, or only that it has no metric yet, though there is one that goes with it."""
    found = problems(asked, today=TODAY)
    return all(each.code == Code.NO_METRICS and each.nearest for each in found)


@given(METRICS, DIMENSIONS)
def test_what_may_be_added_makes_no_new_problem(metrics: list[Metric], dimensions: list[Dimension]) -> None:
    """To a query without problems, each thing that `allowed_with` gives, and no other, may be added."""
    base = ReportQuery.of(metrics, dimensions, START, TODAY)
    if not can_be(base):
        return
    may = allowed_with(base)
    for metric in set(Metric) - set(metrics):
        grown = ReportQuery.of([*metrics, metric], dimensions, START, TODAY)
        assert (metric in may.metrics) == (not problems(grown, today=TODAY))
    for dimension in set(Dimension) - set(dimensions):
        grown = ReportQuery.of(metrics, [*dimensions, dimension], START, TODAY)
        assert (dimension in may.dimensions) == can_be(grown)
    for each in Filter:
        grown = ReportQuery.of(metrics, dimensions, START, TODAY, {each.name: (each.choices or ("x",))[0]})
        assert (each in may.filters) == can_be(grown)
    assert may.products == tuple(Product)


def test_nothing_may_be_added_to_eight_dimensions() -> None:
    """A full query has no room for another dimension."""
    full = query(dimensions="DAY VIDEO_ID VIDEO_TITLE MEDIA_TYPE PLAYER_ID PLAYLIST_ID VISITOR_COUNTRY ACTION")
    assert allowed_with(full).dimensions == ()


@given(some.text(max_size=300), some.text(max_size=300))
def test_any_text_is_a_name_that_can_be_refused(metric: str, dimension: str) -> None:
    """Whatever is sent as a name, the answer is a list of problems with short sentences."""
    asked = ReportQuery((metric,), (dimension,), START, TODAY)
    assert all(len(each.sentence) < 400 for each in problems(asked, today=TODAY))


def test_metrics_of_one_family_share_their_row() -> None:
    """A family is a row of the matrix: two of its metrics never differ in what they go with."""
    for family in Family:
        members = [metric for metric in Metric if metric.family is family]
        assert len({metric.family.dimensions() for metric in members}) == 1
