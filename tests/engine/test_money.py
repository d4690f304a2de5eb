"""Whose money is whose, and what it is divided by, each sentence on the fewest facts that show it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .few import CHANNELS, Ask, Row, earned, play
from .world import Tables

PAYEES = [
    earned("1", monetization_type="video_monetization", publisher_channel_id="c9"),
    earned("2", monetization_type="website_monetization", publisher_channel_id="c9"),
    earned("4", monetization_type="claim", claimer_channel_id="c9"),
    earned("8", owner_channel_id="c9", monetization_type="website_monetization", publisher_channel_id="c2"),
    earned("16", owner_channel_id="c9", monetization_type="claim", claimer_channel_id="c2"),
    earned("32", owner_channel_id="c2", monetization_type="website_monetization", publisher_channel_id="c2"),
    earned("64", publisher_channel_id="c9", claimer_channel_id="c9"),
    earned("128", monetization_type="website_monetization", claimer_channel_id="c1"),
    earned("256", monetization_type="claim", publisher_channel_id="c1"),
    earned("512", owner_channel_id="c1", monetization_type="website_monetization", publisher_channel_id="c2"),
]


@pytest.mark.parametrize(
    ("product", "eur"),
    [("CONTENT", 1 + 32 + 64), ("EMBED", 8 + 32 + 512), ("CLAIM", 16), ("ALL", 1 + 8 + 16 + 32 + 64 + 512)],
)
def test_money_is_its_payees_alone(facts: Callable[[Tables], Ask], product: str, eur: int) -> None:
    """A video's is the owner's, a website's the publisher's, a claim's the claimer's, untold the owner's."""
    ask = facts({"earnings": PAYEES, "channels": CHANNELS})
    assert ask("ESTIMATED_EARNINGS_EUR", "", product) == [[f"{eur}.000000"]]


def test_the_channel_slug_of_money_is_the_payees(facts: Callable[[Tables], Ask]) -> None:
    """CHANNEL_SLUG, and the filter by it, look at whom the money is paid to, not at who owns the video."""
    ask = facts({"earnings": PAYEES, "channels": CHANNELS})
    paid = [["slug1", "65.000000"], ["slug2", "568.000000"]]
    assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG", "ALL") == paid
    assert ask("ESTIMATED_EARNINGS_EUR", "", "ALL", channelSlug="slug1") == [["65.000000"]]
    assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG") == [["slug1", "65.000000"], ["slug2", "32.000000"]]


NAMED = [
    earned("1", payee_channel_id="c1"),
    earned("2", payee_channel_id="c9"),
    earned("4", owner_channel_id="c9", monetization_type="website_monetization", payee_channel_id="c2"),
    earned("8", owner_channel_id="c9", publisher_channel_id="c2", payee_channel_id="c2"),
    earned("16", owner_channel_id="c9", claimer_channel_id="c1", publisher_channel_id="c1", payee_channel_id="c1"),
    earned("32", monetization_type="claim", claimer_channel_id="c2", payee_channel_id="c1"),
    earned("64", monetization_type="website_monetization", publisher_channel_id="c2", payee_channel_id="c9"),
]


@pytest.mark.parametrize(
    ("product", "eur"), [("CONTENT", 1 + 32), ("EMBED", 8 + 16), ("CLAIM", 16), ("ALL", 1 + 4 + 8 + 16 + 32)]
)
def test_a_payee_that_the_platform_names_wins(facts: Callable[[Tables], Ask], product: str, eur: int) -> None:
    """Whatever the kind of money; in the products of the roles that it has in the row, and in ALL also without one."""
    ask = facts({"earnings": NAMED, "channels": CHANNELS})
    assert ask("ESTIMATED_EARNINGS_EUR", "", product) == [[f"{eur}.000000"]]
    if product == "ALL":
        assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG", "ALL") == [["slug1", "49.000000"], ["slug2", "12.000000"]]


def shown(impressions: int, **more: object) -> Row:
    return play() | {"nb_impression": impressions, "sellable_inventory": 2 * impressions} | more


def test_a_rate_divides_money_by_the_ads_that_earned_it(facts: Callable[[Tables], Ask]) -> None:
    """In each product by the ads of the same payees, though the ads of others are still counted as ads."""
    foreign = {"owner_channel_id": "c9", "publisher_channel_id": "c1"}
    website = foreign | {"monetization_type": "website_monetization"}
    video = foreign | {"monetization_type": "video_monetization"}
    ads = [shown(1000), shown(2000, **website), shown(500, **video)]
    ask = facts({"earnings": [earned("3"), earned("1", **website), earned("9", **video)], "ads": ads})
    assert ask("ECPM_EUR ERPM_EUR NB_IMPRESSION") == [["3.0000", "1.5000", "1000"]]
    assert ask("ECPM_EUR ERPM_EUR NB_IMPRESSION", "", "EMBED") == [["0.5000", "0.2500", "2500"]]
    assert ask("ECPM_EUR NB_IMPRESSION", "", "ALL") == [["1.3333", "3500"]]
    assert ask("ECPM_EUR", "MONETIZATION_TYPE", "EMBED") == [["website_monetization", "0.5000"]]


def test_ads_of_a_named_payee_are_its_divisor(facts: Callable[[Tables], Ask]) -> None:
    """A platform that names the payee of earnings names that of ads too: no money goes without its ads."""
    named = {"owner_channel_id": "c9", "payee_channel_id": "c1"}
    ads = [shown(1000), shown(500, **named), shown(250, payee_channel_id="c9")]
    ask = facts({"earnings": [earned("3"), earned("1", **named), earned("9", payee_channel_id="c9")], "ads": ads})
    assert ask("ECPM_EUR NB_IMPRESSION") == [["3.0000", "1250"]]
    assert ask("ECPM_EUR NB_IMPRESSION", "", "ALL") == [["2.6667", "1250"]]


@pytest.mark.parametrize(
    ("eur", "impressions", "expected"),
    [
        ("0.000050", 1000, "0.0001"),
        ("0.000049", 1000, "0.0000"),
        ("-0.000050", 1000, "-0.0001"),
        ("1.000000", 3, "333.3333"),
        ("-2.000000", 3, "-666.6667"),
        ("999999999999.999999", 1, "999999999999999.9990"),
        ("5.000000", 0, ""),
    ],
)
def test_rates_are_rounded_half_up_from_whole_numbers(
    facts: Callable[[Tables], Ask], eur: str, impressions: int, expected: str
) -> None:
    """A rate is exact until it is rounded once, half up and away from zero, to the catalog's digits."""
    ask = facts({"earnings": [earned(eur)], "ads": [play(nb_impression=impressions)]})
    assert ask("ECPM_EUR") == [[expected]]
