"""Every metric: its family, how it adds up, its unit. Names are the wire's.

The rules name measures; only the engine's mapping knows in which tables those are.
"""

from __future__ import annotations

from enum import unique

from reelport.catalog.families import Family
from reelport.catalog.families import Family as F  # noqa: N817 - a table wants short names
from reelport.catalog.row_types import (
    DOCUMENTED_COUNT,
    DOCUMENTED_RATE,
    SCHEMA_COUNT,
    SCHEMA_RATE,
    STOCK,
    CellType,
    Difference,
    Distinct,
    Known,
    KnownRow,
    Ratio,
    Rule,
    Standing,
    Stock,
    Sum,
    Total,
    Unit,
)
from reelport.catalog.row_types import Unit as U  # noqa: N817 - a table wants short names
from reelport.language import N_

_D, _S = DOCUMENTED_COUNT, SCHEMA_COUNT
_RATE, _SCHEMA_RATE = DOCUMENTED_RATE, SCHEMA_RATE
_DOCUMENTED, _SCHEMA, _INFERRED, _CHOSEN = Standing
_TOTAL, _SCHEMA_TOTAL = _D.but(formula=_INFERRED), _S.but(formula=_INFERRED)
_DIFFERENCE = _D.but(formula=_DOCUMENTED)
_DISTINCT = _D.but(meaning=_CHOSEN, formula=_CHOSEN, adding=_CHOSEN)
_SEEN_RATE = Known(_DOCUMENTED, _CHOSEN, None, _INFERRED, _INFERRED, _INFERRED, _CHOSEN)
_READ_RATE = _RATE.but(meaning=_INFERRED, formula=_INFERRED)
# No source tells whose money a row is.
_MONEY, _SCHEMA_MONEY = _D.but(formula=_CHOSEN, scale=_CHOSEN), _S.but(formula=_CHOSEN, scale=_CHOSEN)
_MONEY_RATE, _SCHEMA_MONEY_RATE = _RATE.but(formula=_CHOSEN), _SCHEMA_RATE.but(formula=_CHOSEN)

_CONSENTS = (
    "gdpr_empty_consent_inventory",
    "gdpr_error_consent_inventory",
    "gdpr_full_consent_inventory",
    "gdpr_other_consent_inventory",
    "gdpr_refuse_consent_inventory",
)
_TRAFFIC = ("invalid_traffic_inventory", "valid_traffic_inventory")
_INVENTORY = ("sellable_inventory", "no_ads")


@unique
class Metric(KnownRow):
    """One metric: how well it is known, family, rule, unit, label, sentence."""

    # One metric per line or two reads best.
    # fmt: off
    VIEWS = _D, F.AUDIENCE, Sum("views"), U.VIEWS, N_("views"), N_("Views of videos and live streams.")
    TIME_WATCHED_SECONDS = _D, F.AUDIENCE, Sum("time_watched_seconds"), U.SECONDS, N_("watch time"), N_("Time watched.")
    VIEW_THROUGH_RATE = (_SEEN_RATE, F.AUDIENCE,
        Ratio("watched_of_known_length", ("watchable_seconds",), scale=100, digits=2),
        U.PERCENT, N_("view-through rate"),
        N_("Time watched, divided by the length of the viewed videos; videos of unknown length are left out."))
    AVERAGE_WATCH_TIME_SEC = (_RATE, F.AUDIENCE, Ratio("time_watched_seconds", ("views",), digits=2),
        U.SECONDS_PER_VIEW,
        N_("average watch time"), N_("Time watched a view; empty without views."))

    UPLOADS = (_D.but(meaning=_INFERRED), F.UPLOADS, Sum("uploads"), U.VIDEOS,
        N_("uploads"), N_("Videos uploaded, by the day of their creation."))

    LIVE_TIME_WATCHED_SECONDS = (_D, F.LIVE, Sum("live_time_watched_seconds"), U.SECONDS,
        N_("live watch time"), N_("Time that live streams were watched."))
    LIVE_VIEWERS = (_DISTINCT, F.LIVE, Distinct("live_viewer"), U.VIEWERS,
        N_("live viewers"), N_("Different viewers of live streams; a lower bound if some plays have no viewer."))

    ESTIMATED_EARNINGS_EUR = (_MONEY, F.REVENUE, Sum("eur_of_payee", digits=6), U.EUR,
        N_("estimated earnings (EUR)"), N_("Estimated earnings in EUR."))
    ESTIMATED_EARNINGS_USD = (_MONEY, F.REVENUE, Sum("usd_of_payee", digits=6), U.USD,
        N_("estimated earnings (USD)"), N_("Estimated earnings in USD."))

    ESTIMATED_EARNINGS_EUR_OLD = (_SCHEMA_MONEY, F.REVENUE_LEGACY, Sum("eur_old_of_payee", digits=6), U.EUR,
        N_("estimated earnings, legacy (EUR)"), N_("Estimated earnings in EUR by the legacy count."))
    ESTIMATED_EARNINGS_USD_OLD = (_SCHEMA_MONEY, F.REVENUE_LEGACY, Sum("usd_old_of_payee", digits=6), U.USD,
        N_("estimated earnings, legacy (USD)"), N_("Estimated earnings in USD by the legacy count."))

    ECPM_EUR = (_MONEY_RATE, F.REVENUE_ADS, Ratio("eur_of_payee", ("nb_impression_of_payee",), scale=1000),
        U.EUR_PER_1000_IMPRESSIONS,
        N_("eCPM (EUR)"), N_("Estimated earnings in EUR by a thousand impressions."))
    ECPM_USD = (_SCHEMA_MONEY_RATE, F.REVENUE_ADS, Ratio("usd_of_payee", ("nb_impression_of_payee",), scale=1000),
        U.USD_PER_1000_IMPRESSIONS,
        N_("eCPM (USD)"), N_("Estimated earnings in USD by a thousand impressions."))
    ERPM_EUR = (_SCHEMA_MONEY_RATE, F.REVENUE_ADS, Ratio("eur_of_payee", ("sellable_inventory_of_payee",), scale=1000),
        U.EUR_PER_1000_OPPORTUNITIES,
        N_("eRPM (EUR)"), N_("Estimated earnings in EUR by a thousand sellable ad opportunities."))
    ERPM_USD = (_SCHEMA_MONEY_RATE, F.REVENUE_ADS, Ratio("usd_of_payee", ("sellable_inventory_of_payee",), scale=1000),
        U.USD_PER_1000_OPPORTUNITIES,
        N_("eRPM (USD)"), N_("Estimated earnings in USD by a thousand sellable ad opportunities."))

    SELLABLE_INVENTORY = (_D, F.ADS, Sum("sellable_inventory"), U.AD_OPPORTUNITIES,
        N_("sellable ad opportunities"), N_("Ad opportunities that could be sold."))
    FILL_RATE = (_RATE, F.ADS, Ratio("nb_impression", ("sellable_inventory",)), U.SHARE,
        N_("fill rate"), N_("Share of the sellable opportunities that became impressions."))
    GDPR_EMPTY_CONSENT_INVENTORY = (_S, F.ADS, Sum("gdpr_empty_consent_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities with empty consent"), N_("Ad opportunities with an empty consent string."))
    GDPR_ERROR_CONSENT_INVENTORY = (_S, F.ADS, Sum("gdpr_error_consent_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities with unreadable consent"),
        N_("Ad opportunities with a consent string that could not be read."))
    GDPR_FULL_CONSENT_INVENTORY = (_S, F.ADS, Sum("gdpr_full_consent_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities with full consent"), N_("Ad opportunities with full consent."))
    GDPR_OTHER_CONSENT_INVENTORY = (_S, F.ADS, Sum("gdpr_other_consent_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities with other consent"), N_("Ad opportunities with another state of consent."))
    GDPR_REFUSE_CONSENT_INVENTORY = (_S, F.ADS, Sum("gdpr_refuse_consent_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities with refused consent"), N_("Ad opportunities with consent refused."))
    GDPR_FULL_CONSENT_SCORE = (_READ_RATE, F.ADS, Ratio("gdpr_full_consent_inventory", _CONSENTS), U.SHARE,
        N_("full consent rate"), N_("Share of opportunities with full consent among all five states of consent."))
    NB_INVENTORY_GDPR_MISSING_FULL_CONSENT = (_S, F.ADS, Sum("inventory_gdpr_missing_full_consent"), U.AD_OPPORTUNITIES,
        N_("ad opportunities without full consent"), N_("Ad opportunities that lacked full consent."))
    VALID_TRAFFIC_INVENTORY = (_S, F.ADS, Sum("valid_traffic_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities from valid traffic"), N_("Ad opportunities from valid traffic."))
    INVALID_TRAFFIC_INVENTORY = (_S, F.ADS, Sum("invalid_traffic_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities from invalid traffic"), N_("Ad opportunities from invalid traffic."))
    IVT_SCORE = (_SCHEMA_RATE, F.ADS, Ratio("invalid_traffic_inventory", _TRAFFIC), U.SHARE,
        N_("invalid traffic rate"), N_("Share of invalid traffic in all traffic."))
    NO_ADS_TXT_INVENTORY = (_S, F.ADS, Sum("no_ads_txt_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities without ads.txt"), N_("Ad opportunities without an ads.txt entry."))
    NO_BRANDSAFE_INVENTORY = (_S, F.ADS, Sum("no_brandsafe_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities that aren't brand safe"), N_("Ad opportunities on content that isn't brand safe."))
    NO_MONETIZED_INVENTORY = (_S, F.ADS, Sum("no_monetized_inventory"), U.AD_OPPORTUNITIES,
        N_("ad opportunities that weren't monetized"), N_("Ad opportunities that were not monetized."))
    IMPRESSIONS = (_S, F.ADS, Sum("impressions"), U.IMPRESSIONS, N_("impressions by the second count"),
        N_("Ads displayed, by a second count that the schema names IMPRESSIONS."))
    NB_P1_IMPRESSION = (_S, F.ADS, Sum("nb_p1_impression"), U.IMPRESSIONS,
        N_("impressions in the first pre-roll"), N_("Ads displayed in the first pre-roll position."))
    AD_VIEW_COMPLETED = (_S, F.ADS, Sum("ad_view_completed"), U.IMPRESSIONS,
        N_("ads watched to the end"), N_("Ads watched to the end."))
    AD_VIEW_NOT_COMPLETED = (_S, F.ADS, Sum("ad_view_not_completed"), U.IMPRESSIONS,
        N_("ads not watched to the end"), N_("Ads not watched to the end."))
    VTR_SCORE = (_READ_RATE, F.ADS, Ratio("ad_view_completed", ("ad_view_completed", "ad_view_not_completed")), U.SHARE,
        N_("ad completion rate"), N_("Share of ads watched to the end."))
    HIGH_VIEWABLE_IMPRESSIONS = (_S, F.ADS, Sum("high_viewable_impressions"), U.IMPRESSIONS,
        N_("impressions with high viewability"), N_("Ads displayed with high viewability."))
    LOW_VIEWABLE_IMPRESSIONS = (_S, F.ADS, Sum("low_viewable_impressions"), U.IMPRESSIONS,
        N_("impressions with low viewability"), N_("Ads displayed with low viewability."))
    VIEWABILITY_SCORE = (_RATE.but(formula=_INFERRED), F.ADS, Ratio("high_viewable_impressions", ("nb_impression",)),
        U.SHARE,
        N_("viewability rate"), N_("Share of impressions with high viewability."))

    NO_ADS = (_D, F.ADS_BLANK, Sum("no_ads"), U.AD_OPPORTUNITIES,
        N_("ineligible ad opportunities"), N_("Ad opportunities that were not eligible."))
    TOTAL_INVENTORY = (_TOTAL, F.ADS_BLANK, Total(_INVENTORY), U.AD_OPPORTUNITIES,
        N_("all ad opportunities"), N_("All ad opportunities, sellable or not eligible."))
    NO_AD_RATE = (_RATE, F.ADS_BLANK, Ratio("no_ads", _INVENTORY), U.SHARE,
        N_("ineligible rate"), N_("Share of ad opportunities that were not eligible."))

    NB_MISSED_IMPRESSION = (_DIFFERENCE, F.ADS_MISSED,
        Difference("sellable_inventory", "nb_impression"), U.AD_OPPORTUNITIES,
        N_("missed impressions"), N_("Sellable opportunities that got no impression."))
    NO_FILLS = (_D, F.ADS_MISSED, Sum("no_fills"), U.AD_REQUESTS,
        N_("unfilled ad requests"), N_("Ad requests answered with no ad."))
    AD_ERRORS = (_D, F.ADS_MISSED, Sum("ad_errors"), U.AD_REQUESTS,
        N_("ad errors"), N_("Ad requests that ended in an error."))
    TIMEOUTS = (_D, F.ADS_MISSED, Sum("timeouts"), U.AD_REQUESTS,
        N_("ad timeouts"), N_("Ad requests without a valid answer in time."))

    NB_IMPRESSION = _D, F.ADS_SOLD, Sum("nb_impression"), U.IMPRESSIONS, N_("impressions"), N_("Ads displayed.")

    BANDWIDTH_USED_VOD_BYTES = (_S, F.BANDWIDTH, Sum("bandwidth_vod_bytes"), U.BYTES,
        N_("video bandwidth"), N_("Videos delivered."))
    BANDWIDTH_USED_LIVE_BYTES = (_S, F.BANDWIDTH, Sum("bandwidth_live_bytes"), U.BYTES,
        N_("live bandwidth"), N_("Live streams delivered."))
    BANDWIDTH_USED_TOTAL_BYTES = (_SCHEMA_TOTAL, F.BANDWIDTH,
        Total(("bandwidth_vod_bytes", "bandwidth_live_bytes")), U.BYTES,
        N_("total bandwidth"), N_("Videos and live streams delivered."))
    BANDWIDTH_USED_VOD_SECONDS = (_S, F.BANDWIDTH, Sum("bandwidth_vod_seconds"), U.SECONDS,
        N_("video time delivered"), N_("Videos delivered."))
    BANDWIDTH_USED_LIVE_SECONDS = (_S, F.BANDWIDTH, Sum("bandwidth_live_seconds"), U.SECONDS,
        N_("live time delivered"), N_("Live streams delivered."))
    BANDWIDTH_USED_MEDIA_COUNT = (_S, F.BANDWIDTH, Sum("bandwidth_media_count"), U.MEDIA,
        N_("media delivered"), N_("Media delivered."))

    TRANSCODING_USED_VOD_SECONDS = (_S, F.TRANSCODING, Sum("transcoding_vod_seconds"), U.SECONDS,
        N_("video time encoded"), N_("Videos encoded."))
    TRANSCODING_USED_LIVE_SECONDS = (_S, F.TRANSCODING, Sum("transcoding_live_seconds"), U.SECONDS,
        N_("live time encoded"), N_("Live streams encoded."))
    TRANSCODING_USED_TOTAL_SECONDS = (_SCHEMA_TOTAL, F.TRANSCODING,
        Total(("transcoding_vod_seconds", "transcoding_live_seconds")),
        U.SECONDS,
        N_("total time encoded"), N_("Videos and live streams encoded."))
    TRANSCODING_USED_VOD_MEDIA_COUNT = (_S, F.TRANSCODING, Sum("transcoding_vod_media_count"), U.MEDIA,
        N_("videos encoded"), N_("Videos encoded."))
    TRANSCODING_USED_LIVE_MEDIA_COUNT = (_S, F.TRANSCODING, Sum("transcoding_live_media_count"), U.MEDIA,
        N_("live streams encoded"), N_("Live streams encoded."))

    STORAGE_USED_BYTES = (STOCK, F.STORAGE, Stock("storage_bytes"), U.BYTES,
        N_("storage"), N_("Stored at the end of your latest loaded day."))
    STORAGE_USED_SECONDS = (STOCK, F.STORAGE, Stock("storage_seconds"), U.SECONDS,
        N_("time stored"), N_("Stored at the end of your latest loaded day."))
    STORAGE_USED_MEDIA_COUNT = (STOCK, F.STORAGE, Stock("storage_media_count"), U.MEDIA,
        N_("media stored"), N_("Stored at the end of your latest loaded day."))
    STORAGE_USED_RENDITION_COUNT = (STOCK, F.STORAGE, Stock("storage_rendition_count"), U.RENDITIONS,
        N_("renditions stored"), N_("Stored at the end of your latest loaded day."))
    STORAGE_LIFETIME_USED_BYTES = (STOCK, F.STORAGE, Stock("storage_lifetime_bytes"), U.BYTES,
        N_("storage ever used"), N_("Ever stored at the end of your latest loaded day."))
    STORAGE_LIFETIME_USED_SECONDS = (STOCK, F.STORAGE, Stock("storage_lifetime_seconds"), U.SECONDS,
        N_("time ever stored"), N_("Ever stored at the end of your latest loaded day."))
    STORAGE_LIFETIME_USED_MEDIA_COUNT = (STOCK, F.STORAGE, Stock("storage_lifetime_media_count"), U.MEDIA,
        N_("media ever stored"), N_("Ever stored at the end of your latest loaded day."))
    STORAGE_LIFETIME_USED_RENDITION_COUNT = (STOCK, F.STORAGE, Stock("storage_lifetime_rendition_count"), U.RENDITIONS,
        N_("renditions ever stored"), N_("Ever stored at the end of your latest loaded day."))

    AI_USED_CREDITS = _S, F.AI, Sum("ai_credits"), U.CREDITS, N_("AI credits"), N_("AI credits used.")
    # fmt: on

    def __init__(self, known: Known, family: Family, rule: Rule, unit: Unit, label: str, sentence: str) -> None:
        self.known = known
        self.family = family
        self.rule = rule
        self.unit = unit
        self.label = label
        self.sentence = sentence

    @property
    def header(self) -> str:
        """Its column name in the CSV."""
        return self.name.lower()

    @property
    def digits(self) -> int:
        """Digits after the point of its cells; 0 for whole numbers."""
        match self.rule:
            case Sum(_, digits) | Ratio(digits=digits):
                return digits
            case _:
                return 0

    @property
    def type(self) -> CellType:
        """What its cells hold."""
        return CellType.DECIMAL if self.digits else CellType.INTEGER

    @property
    def additive(self) -> bool:
        """Whether its rows add up, over time and over every single-valued dimension."""
        return isinstance(self.rule, Sum | Total | Difference)
