"""Declare every table: columns, types, units, and the Parquet and Delta schema."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from reelport.errors import UsageError
from reelport.facts import allowed_values as allowed
from reelport.similar_names import nearest

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(StrEnum):
    """The type of a column, in the words of its reference page."""

    TEXT = "text"
    COUNT = "count"
    MONEY = "money"
    DAY = "day"
    MOMENT = "moment"
    TEXTS = "list of texts"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name, kind, description (`sentence`), unit, and whether it is required.

    `default` replaces a missing value. It also replaces the whole column when the input doesn't have it,
    or when a data file was written before the column was added. Without a default, a missing value is
    empty; so a column that is added later can't be `required`. `choices` lists the only texts that are
    allowed, and `called` names the list where it is too long to print. If the list is `decisive`, numbers
    depend on it, and not even a lenient load keeps another text. A count is a whole number from 0; money
    may be negative (a correction).
    """

    name: str
    kind: Kind
    sentence: str
    required: bool = False
    unit: str | None = None
    default: int | str | None = None
    choices: tuple[str, ...] = ()
    called: str | None = None
    decisive: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table. A fact table has a `time` column, an object table a `key`.

    `born` is the column with the moment at which an object came into being, where objects are counted by its day.
    No load gives two objects the same value of the `unique` column, if there is one.
    """

    name: str
    sentence: str
    columns: tuple[Column, ...]
    time: str | None = None
    key: str | None = None
    unique: str | None = None
    born: str | None = None

    @property
    def is_fact(self) -> bool:
        """Whether rows are facts with a time, by month, rather than objects replaced by key."""
        return self.time is not None

    def column(self, name: str) -> Column:
        """Find the column by name; KeyError when there is none."""
        return {column.name: column for column in self.columns}[name]


def _text(
    name: str, sentence: str, *, required: bool = False, choices: tuple[str, ...] = (), decisive: bool = False
) -> Column:
    return Column(name, Kind.TEXT, sentence, required, choices=choices, decisive=decisive)


def _counts(unit: str, default: int | None, *pairs: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, Kind.COUNT, sentence, unit=unit, default=default) for name, sentence in pairs)


_MOMENT = Column(
    "started_at", Kind.MOMENT, "Start of the hour that the row sums up, or the exact moment of one event (UTC).", True
)
_DAY = Column("day", Kind.DAY, "The day that the row sums up (UTC).", required=True)

_CHANNELS = (
    _text("owner_channel_id", "Channel that owns the video.", required=True),
    _text("publisher_channel_id", "Channel whose player or page showed the video; otherwise empty."),
    _text("claimer_channel_id", "Channel that claimed the video; otherwise empty."),
)
_PLACE = (
    _text("playlist_id", "Playlist that the video was played from."),
    Column("video_position", Kind.COUNT, "Place of the video in the play sequence, from 1.", unit="position"),
    _text("player_id", "Player configuration."),
)
_VISITOR = (
    Column(
        "visitor_country",
        Kind.TEXT,
        "Country of the visitor; empty if unknown.",
        choices=allowed.COUNTRIES,
        called="country code of ISO 3166-1 alpha-2, in capitals",
    ),
    _text("visitor_device_type", "Kind of device; empty if unknown.", choices=allowed.DEVICES),
    _text("visitor_domain_group", "Group of domains that the page belongs to."),
    _text("visitor_subdomain", "Host that the page was on."),
)
_PAGE = _text("visitor_page_url", "Address of the page.")
_MONETIZATION_TYPE = _text(
    "monetization_type", "Kind of monetization.", choices=allowed.MONETIZATION_TYPES, decisive=True
)
_SELLING = (
    _text("inventory_position", "Position of the opportunity in the content.", choices=allowed.INVENTORY_POSITIONS),
    _text("inventory_position_index", "Slot in the pre-roll sequence.", choices=allowed.INVENTORY_POSITION_INDEXES),
    _text("ad_format", "Format of the ad."),
    _text("buyer", "Who bought the impression."),
    _text("buyertype", "Kind of buyer: the platform's, or the partner's own."),
    _MONETIZATION_TYPE,
    _text("monetization_product", "Product under which the opportunity was sold."),
    _text("content_type", "Kind of content."),
    _text(
        "payee_channel_id",
        "Channel that gets the money; if empty, monetization_type decides.",
    ),
)

PLAYS = Table(
    "plays",
    "Playback of one hour (or one playback) at one combination of dimensions.",
    (
        _MOMENT,
        _text("video_id", "The video.", required=True),
        *_CHANNELS,
        _text("media_type", "Video or live.", required=True, choices=allowed.MEDIA_TYPES, decisive=True),
        _text("action", "How the play was started."),
        *_PLACE,
        *_VISITOR,
        _PAGE,
        _MONETIZATION_TYPE,
        _text("viewer", "A hash that stands for one viewer; only needed for live."),
        Column("views", Kind.COUNT, "Views that began.", required=True, unit="views"),
        Column("time_watched_seconds", Kind.COUNT, "Time watched.", required=True, unit="seconds"),
        Column(
            "watchable_seconds",
            Kind.COUNT,
            "Views times the length of the video; empty when the length isn't known.",
            unit="seconds",
        ),
    ),
    time="started_at",
)

ADS = Table(
    "ads",
    "Ad opportunities of one hour at one combination of dimensions.",
    (
        _MOMENT,
        _text("video_id", "The video."),
        *_CHANNELS,
        _text("media_type", "Video or live.", required=True, choices=allowed.MEDIA_TYPES, decisive=True),
        *_PLACE,
        _text("player_size", "Size of the player, such as 640x360."),
        _text("player_size_bucket", "Class of that size."),
        *_VISITOR,
        _PAGE,
        *_SELLING,
        _text("ads_txt_status", "What the page's ads.txt says about the seller."),
        _text("ad_error_code", "Code of the ad error."),
        _text("ad_error_readable", "The ad error in words."),
        _text("noad_reason_readable", "Why there was no ad, in words."),
        _text("outcome", "Why an opportunity was not filled.", choices=allowed.OUTCOMES),
        *_counts(
            "ad opportunities",
            0,
            ("sellable_inventory", "Opportunities that could be sold."),
            ("no_ads", "Opportunities that were not eligible."),
            ("gdpr_empty_consent_inventory", "Opportunities with an empty consent string."),
            ("gdpr_error_consent_inventory", "Opportunities with a consent string that could not be read."),
            ("gdpr_full_consent_inventory", "Opportunities with full consent."),
            ("gdpr_other_consent_inventory", "Opportunities with another state of consent."),
            ("gdpr_refuse_consent_inventory", "Opportunities with consent refused."),
            ("inventory_gdpr_missing_full_consent", "Opportunities that lacked full consent."),
            ("invalid_traffic_inventory", "Opportunities from invalid traffic."),
            ("valid_traffic_inventory", "Opportunities from valid traffic."),
            ("no_ads_txt_inventory", "Opportunities without an ads.txt entry."),
            ("no_brandsafe_inventory", "Opportunities on content that isn't brand safe."),
            ("no_monetized_inventory", "Opportunities that were not monetized."),
        ),
        *_counts(
            "impressions",
            0,
            ("nb_impression", "Ads displayed."),
            ("impressions", "Ads displayed, by a second count that the schema names IMPRESSIONS."),
            ("nb_p1_impression", "Ads displayed in the first pre-roll position."),
            ("ad_view_completed", "Ads watched to the end."),
            ("ad_view_not_completed", "Ads not watched to the end."),
            ("high_viewable_impressions", "Ads displayed with high viewability."),
            ("low_viewable_impressions", "Ads displayed with low viewability."),
        ),
        *_counts(
            "ad requests",
            0,
            ("no_fills", "Requests answered with no ad."),
            ("ad_errors", "Requests that ended in an error."),
            ("timeouts", "Requests without a valid answer in time."),
        ),
    ),
    time="started_at",
)

EARNINGS = Table(
    "earnings",
    "Estimated earnings of one day at one combination of dimensions.",
    (
        _DAY,
        _text("video_id", "The video."),
        *_CHANNELS,
        _text("media_type", "Video or live.", choices=allowed.MEDIA_TYPES, decisive=True),
        *_PLACE,
        *_VISITOR,
        _PAGE,
        *_SELLING,
        Column("eur", Kind.MONEY, "Estimated earnings.", required=True, unit="EUR"),
        Column("usd", Kind.MONEY, "Estimated earnings.", required=True, unit="USD"),
        Column("eur_old", Kind.MONEY, "Estimated earnings by the legacy count.", unit="EUR"),
        Column("usd_old", Kind.MONEY, "Estimated earnings by the legacy count.", unit="USD"),
    ),
    time="day",
)

USAGE = Table(
    "usage",
    "What an account used in one day at one combination of dimensions: delivery, encoding, storage or AI.",
    (
        _DAY,
        _text(
            "kind",
            "Kind of use: the row fills the columns that begin with this word.",
            required=True,
            choices=allowed.USAGE_KINDS,
            decisive=True,
        ),
        _text("video_id", "The video."),
        *_CHANNELS,
        _text("media_type", "Video or live.", choices=allowed.MEDIA_TYPES, decisive=True),
        _text("action", "How the play was started."),
        _text("player_id", "Player configuration."),
        *_VISITOR,
        _text("rendition_format", "Format of the rendition."),
        _text("rendition_resolution", "Resolution of the rendition."),
        _text("rendition_fps", "Frames a second of the rendition."),
        _text("ai_feature_name", "AI feature."),
        *_counts(
            "bytes",
            None,
            ("bandwidth_vod_bytes", "Videos delivered."),
            ("bandwidth_live_bytes", "Live streams delivered."),
            ("storage_bytes", "Stored at the end of the day."),
            ("storage_lifetime_bytes", "Ever stored, up to the end of the day."),
        ),
        *_counts(
            "seconds",
            None,
            ("bandwidth_vod_seconds", "Videos delivered."),
            ("bandwidth_live_seconds", "Live streams delivered."),
            ("transcoding_vod_seconds", "Videos encoded."),
            ("transcoding_live_seconds", "Live streams encoded."),
            ("storage_seconds", "Stored at the end of the day."),
            ("storage_lifetime_seconds", "Ever stored, up to the end of the day."),
        ),
        *_counts(
            "media",
            None,
            ("bandwidth_media_count", "Media delivered."),
            ("transcoding_vod_media_count", "Videos encoded."),
            ("transcoding_live_media_count", "Live streams encoded."),
            ("storage_media_count", "Media stored at the end of the day."),
            ("storage_lifetime_media_count", "Media ever stored, up to the end of the day."),
        ),
        *_counts(
            "renditions",
            None,
            ("storage_rendition_count", "Renditions stored at the end of the day."),
            ("storage_lifetime_rendition_count", "Renditions ever stored, up to the end of the day."),
        ),
        *_counts("credits", None, ("ai_credits", "AI credits used.")),
    ),
    time="day",
)

VIDEOS = Table(
    "videos",
    "One video.",
    (
        _text("id", "Public id of the video.", required=True),
        _text("title", "Title of the video."),
        _text("owner_channel_id", "Channel that owns the video.", required=True),
        Column("duration_seconds", Kind.COUNT, "Length of the video.", unit="seconds"),
        _text("thumbnail_url", "Address of a picture of the video, which Studio shows if thumbnail_hosts allows it."),
        Column("tags", Kind.TEXTS, "Tags of the video. The load drops repeated and empty tags."),
        _text("visibility", "Who may see the video (public, private, password …)."),
        Column("created_at", Kind.MOMENT, "When the video was uploaded (UTC). UPLOADS counts it on this day."),
        Column("deleted_at", Kind.MOMENT, "When the video was deleted (UTC); otherwise empty."),
    ),
    key="id",
    born="created_at",
)
CHANNELS = Table(
    "channels",
    "One channel.",
    (
        _text("id", "Id of the channel; it never changes.", required=True),
        _text("slug", "Slug of the channel, as in addresses. Two channels cannot have one slug.", required=True),
        _text("name", "Name of the channel."),
        _text("account_id", "Account that the channel belongs to."),
    ),
    key="id",
    unique="slug",
)
PLAYERS = Table(
    "players",
    "One player configuration.",
    (
        _text("id", "Id of the configuration.", required=True),
        _text("title", "Title of the configuration."),
        _text("type", "Type of the player."),
    ),
    key="id",
)
PLAYLISTS = Table(
    "playlists",
    "One playlist.",
    (
        _text("id", "Id of the playlist.", required=True),
        _text("title", "Title of the playlist."),
        _text("type", "Type of the playlist."),
    ),
    key="id",
)
ACCOUNTS = Table(
    "accounts",
    "One account, which holds channels and may belong to a parent account.",
    (
        _text("id", "Id of the account.", required=True),
        _text("username", "User name of the account."),
        _text("parent_account_id", "Id of the parent account; empty if there is no parent."),
    ),
    key="id",
)

TABLES: dict[str, Table] = {
    table.name: table for table in (PLAYS, ADS, EARNINGS, USAGE, VIDEOS, CHANNELS, PLAYERS, PLAYLISTS, ACCOUNTS)
}
"""Every table by name, fact tables first."""


MONTH = "month"
"""The partition column of fact tables. It is never stored in the files."""
BATCH = "batch"
"""The last column of every fact file: the batch that the row was loaded with."""
OWNER = "owner_channel_id"


def find_table(name: str) -> Table:
    """Find the table by name; UsageError with the nearest name when there is none."""
    if name in TABLES:
        return TABLES[name]
    hint = nearest(name, TABLES)
    guess = f"did you mean {hint}?" if hint else f"there are {', '.join(TABLES)}"
    raise UsageError(f"there is no table {name!r}: {guess}")


@cache
def _arrow_types() -> dict[Kind, pa.DataType]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import; not needed to list tables

    return {
        Kind.TEXT: pa.string(),
        Kind.COUNT: pa.int64(),
        Kind.MONEY: pa.decimal128(18, 6),
        Kind.DAY: pa.date32(),
        Kind.MOMENT: pa.timestamp("us", "UTC"),
        Kind.TEXTS: pa.list_(pa.string()),
    }


def stored_names(table: Table) -> tuple[str, ...]:
    """List the columns of the table's Parquet files, in order."""
    return (*(column.name for column in table.columns), *((BATCH,) if table.is_fact else ()))


@cache
def stored_schema(name: str) -> pa.Schema:
    """Make the Arrow schema of a table's files; those of facts end with the batch column."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    table = TABLES[name]
    fields = [pa.field(column.name, _arrow_types()[column.kind]) for column in table.columns]
    return pa.schema(fields + ([pa.field(BATCH, _arrow_types()[Kind.TEXT])] if table.is_fact else []))


@cache
def delta_schema(name: str) -> pa.Schema:
    """Make a Delta table's Arrow schema: stored columns, and of facts the partition."""
    table = TABLES[name]
    if not table.is_fact:
        return stored_schema(name)
    import pyarrow as pa  # noqa: PLC0415 - see above

    return stored_schema(name).append(pa.field(MONTH, _arrow_types()[Kind.TEXT]))


def partition_columns(table: Table) -> list[str]:
    """List the Delta partition columns."""
    return [MONTH] if table.is_fact else []


def sort_keys(table: Table) -> tuple[str, ...]:
    """List the columns that files are sorted by.

    The rows of a channel lie together, ordered by time, so that a report on one channel reads
    few row groups; the video comes next, for reports by video and for compression.
    """
    if table.key is not None:
        return (table.key,)
    assert table.time is not None  # noqa: S101 - a table has a time or a key
    extra = ("kind",) if any(column.name == "kind" for column in table.columns) else ()
    return (OWNER, table.time, *extra, "video_id")
