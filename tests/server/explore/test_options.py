"""A view says what can be added to it, and of everything else why it can't."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from tests.server.explore.views import DEFAULTS, RULES, views

from reelport import check
from reelport.catalog import Dimension, Filter, Grain, Metric
from reelport.check import Rules
from reelport.server.explore.view import View
from reelport.server.explore.view_parameters import list_options

VIEW = View((Metric.VIEWS,), (Dimension.VIDEO_ID,), DEFAULTS.today, DEFAULTS.today, Metric.VIEWS, Grain.DAY)


@given(views())
def test_every_option_without_a_reason_fits_and_every_other_has_a_reason(view: View) -> None:
    """What is offered makes a report that can be asked for; what isn't would be refused with that sentence."""
    options = list_options(view, RULES)
    for metric in options.metrics:
        if not metric.is_chosen:
            query = replace(view, metrics=(*view.metrics, metric.row)).report_query()
            found = check.problems(query, today=DEFAULTS.today, rules=RULES)
            assert next((problem.sentence for problem in found), None) == metric.reason
    for dimension in options.dimensions:
        if not dimension.is_chosen:
            query = replace(view, dimensions=(*view.dimensions, dimension.row)).report_query()
            assert bool(check.problems(query, today=DEFAULTS.today, rules=RULES)) == (dimension.reason is not None)


def test_what_a_view_has_is_chosen() -> None:
    """Times are no leaderboards, and no option."""
    options = list_options(replace(VIEW, filters=((Filter.mediaType, "LIVE"),)), RULES)
    assert [option.row for option in options.metrics if option.is_chosen] == [Metric.VIEWS]
    assert [option.row for option in options.dimensions if option.is_chosen] == [Dimension.VIDEO_ID]
    assert [option.row for option in options.filters if option.is_chosen] == [Filter.mediaType]
    assert all(option.row.grain is None for option in options.dimensions)


def test_what_only_narrows_a_view_may_become_a_leaderboard() -> None:
    """It isn't chosen, and its dimension is no second one."""
    options = list_options(replace(VIEW, kept=((Dimension.VISITOR_COUNTRY, "FR"),)), Rules(dimensions=3))
    (country,) = (option for option in options.dimensions if option.row is Dimension.VISITOR_COUNTRY)
    assert (country.is_chosen, country.reason) == (False, None)
    (device,) = (option for option in options.dimensions if option.row is Dimension.VISITOR_DEVICE_TYPE)
    assert device.reason == "4 dimensions are more than 3: leave out 1."


def test_a_full_view_says_that_it_is_full() -> None:
    """One more leaderboard would be one dimension too many."""
    options = list_options(VIEW, Rules(dimensions=2))
    reasons = {option.reason for option in options.dimensions if option.row is Dimension.ACTION}
    assert reasons == {"3 dimensions are more than 2: leave out 1."}
