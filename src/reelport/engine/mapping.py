"""Maps the catalog to the tables: where measures, dimensions and payees are stored.

No other module knows this. This one doesn't know how a query is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from reelport.catalog import Dimension, Grain, Metric, Payee, Role, measures
from reelport.cells import TAG_ESCAPE, TAG_SEPARATOR
from reelport.facts.tables import TABLES, Kind, Table

WIDEST_DECIMAL = 38
"""Digits of the widest decimal, of DuckDB as of Arrow and Spark; overflow raises an error."""
TITLE = "title"
"""The column of a lookup with the title of what an id names."""
PICTURE = "thumbnail_url"
"""The column of a lookup, and of its table, with the address of a picture; no report has it."""


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one table that a family counts: all of them, or those that `where` keeps.

    `roles` maps each role of a channel to its column. `renamed` maps a usual column name to the table's own spelling.
    Rows of a `paid` source count for their payee alone.
    """

    name: str
    table: str
    roles: Mapping[Role, str]
    where: str | None = None
    time: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    paid: bool = False

    def column(self, name: str) -> str | None:
        """The table's own name for a usual column name; None when the table has no such column."""
        own = self.renamed.get(name, name)
        return own if any(column.name == own for column in TABLES[self.table].columns) else None

    def kind(self, name: str) -> Kind:
        """The kind of a column of the table."""
        return TABLES[self.table].column(name).kind


_OWNER = {Role.OWNER: "owner_channel_id"}
_ROLES = _OWNER | {Role.PUBLISHER: "publisher_channel_id", Role.CLAIMER: "claimer_channel_id"}

_WHENS = " ".join(f"WHEN '{row.kind}' THEN {_ROLES[row.role]}" for row in Payee if row.kind)
PAYEE = f"COALESCE(payee_channel_id, CASE monetization_type {_WHENS} ELSE {_ROLES[Payee.UNTOLD.role]} END)"
"""SQL of the channel that a row of a paid source counts for; NULL when the money belongs to nobody."""

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source("plays", "plays", _ROLES, time="started_at"),
        Source("live", "plays", _ROLES, "media_type = 'live'", time="started_at"),
        Source("uploads", "videos", _OWNER, time="created_at", renamed={"video_id": "id"}),
        Source("earnings", "earnings", _ROLES, time="day", paid=True),
        Source("ads", "ads", _ROLES, time="started_at"),
        Source("paid_ads", "ads", _ROLES, time="started_at", paid=True),
        Source("bandwidth", "usage", _ROLES, "kind = 'bandwidth'", time="day"),
        Source("transcoding", "usage", _OWNER, "kind = 'transcoding'", time="day"),
        Source("storage", "usage", _OWNER, "kind = 'storage'", time="day"),
        Source("ai", "usage", _OWNER, "kind = 'ai'", time="day"),
    )
}


@dataclass(frozen=True, slots=True)
class Measure:
    """Where a measure is stored: its source and column, and its decimal digits.

    Without a column it counts rows. With `known` a row counts only where that column isn't empty.
    """

    source: Source
    column: str | None
    digits: int = 0
    known: str | None = None

    @property
    def value(self) -> str:
        """SQL of its value in a row."""
        if self.known is not None:
            return f"CASE WHEN {self.known} IS NOT NULL THEN {self.column} END"
        return self.column or "1"

    @property
    def is_summable(self) -> bool:
        """Whether the measure of summed rows is the sum of the rows' measures.

        Rows with and without what must be `known` are summed apart.
        """
        return self.column is not None and self.source.kind(self.column) in {Kind.COUNT, Kind.MONEY}

    @property
    def is_distinct_count(self) -> bool:
        """Whether the different values of its column are counted, and not its sum."""
        return self.column is not None and not self.is_summable

    @property
    def type(self) -> str:
        """Its SQL type once aggregated.

        Sums are decimals, as DuckDB writes a HUGEINT to Parquet as a double.
        """
        return "BIGINT" if self.is_distinct_count else f"DECIMAL({WIDEST_DECIMAL}, {self.digits})"


def _columns(source: str, *names: str) -> dict[str, Measure]:
    return {name: Measure(SOURCES[source], name) for name in names}


def _counts(source: str, table: Table, prefix: str = "") -> dict[str, Measure]:
    counts = (column.name for column in table.columns if column.kind is Kind.COUNT)
    return _columns(source, *(name for name in counts if name.startswith(prefix)))


def _leave_out(found: dict[str, Measure], *names: str) -> dict[str, Measure]:
    return {name: measure for name, measure in found.items() if name not in names}


_PLAYS, _LIVE, _EARNINGS = SOURCES["plays"], SOURCES["live"], SOURCES["earnings"]

MEASURES: Mapping[str, Measure] = {
    **_columns("plays", "views", "time_watched_seconds", "watchable_seconds"),
    "watched_of_known_length": Measure(_PLAYS, "time_watched_seconds", known="watchable_seconds"),
    "live_time_watched_seconds": Measure(_LIVE, "time_watched_seconds"),
    "live_viewer": Measure(_LIVE, "viewer"),
    "uploads": Measure(SOURCES["uploads"], None),
    "eur_of_payee": Measure(_EARNINGS, "eur", 6),
    "usd_of_payee": Measure(_EARNINGS, "usd", 6),
    "eur_old_of_payee": Measure(_EARNINGS, "eur_old", 6),
    "usd_old_of_payee": Measure(_EARNINGS, "usd_old", 6),
    **_leave_out(_counts("ads", TABLES["ads"]), "video_position"),
    "nb_impression_of_payee": Measure(SOURCES["paid_ads"], "nb_impression"),
    "sellable_inventory_of_payee": Measure(SOURCES["paid_ads"], "sellable_inventory"),
    **_counts("bandwidth", TABLES["usage"], "bandwidth_"),
    **_counts("transcoding", TABLES["usage"], "transcoding_"),
    **_counts("storage", TABLES["usage"], "storage_"),
    **_counts("ai", TABLES["usage"], "ai_"),
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """Columns of object tables to join by `id`, in SQL; `rows` has each table in braces.

    Where `id` is `unique`, a join keeps every row once; where it is not, a row counts once per match. `many` says that
    a report can have about as many different ids as rows.
    """

    columns: Mapping[str, str]
    rows: str
    id: str = "id"
    many: bool = False
    unique: bool = True

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it reads."""
        return tuple(dict.fromkeys(name for _, name, *_ in Formatter().parse(self.rows) if name))


_ESCAPED_TAGS = f"""
    LIST_TRANSFORM(tags, LAMBDA tag: REPLACE(
        REPLACE(tag, '{TAG_ESCAPE}', '{TAG_ESCAPE}{TAG_ESCAPE}'), '{TAG_SEPARATOR}', '{TAG_ESCAPE}{TAG_SEPARATOR}'
    ))
"""
_TITLED = {TITLE: "title", "type": "type"}

LOOKUPS: Mapping[str, Lookup] = {
    "video": Lookup(
        {
            TITLE: "title",
            PICTURE: PICTURE,
            "tag_list": f"NULLIF(ARRAY_TO_STRING({_ESCAPED_TAGS}, '{TAG_SEPARATOR}'), '')",
        },
        "{videos}",
        many=True,
    ),
    # A video without tags has no row here: the left join keeps its one row, with an empty tag.
    "tag": Lookup({"tag": "UNNEST(tags)"}, "{videos}", unique=False),
    "player": Lookup(_TITLED, "{players}"),
    "playlist": Lookup(_TITLED, "{playlists}"),
    "channel": Lookup({"slug": "slug", "account_id": "account_id"}, "{channels}"),
    # What a slug names, by the slug: one row, also where two channels came to share it.
    "slug": Lookup({TITLE: "NULLIF(MIN(name), slug)"}, "{channels} GROUP BY slug", id="slug"),
    "holder": Lookup(
        {
            "username": "own.username",
            "parent_account_id": "own.parent_account_id",
            "parent_username": "parent.username",
            "top_username": "CASE WHEN own.parent_account_id IS NULL THEN own.username ELSE parent.username END",
        },
        """
        {channels} AS channels
        LEFT JOIN {accounts} AS own ON own.id = channels.account_id
        LEFT JOIN {accounts} AS parent ON parent.id = own.parent_account_id
        """,
        id="channels.id",
    ),
}

QUALIFYING = "qualifying_channel_id"
"""Stands for the tenant's channel by which a row is the tenant's; no table has it as a column."""


@dataclass(frozen=True, slots=True)
class TimeCell:
    """A cell that is the source's time, truncated to a grain."""

    grain: Grain


@dataclass(frozen=True, slots=True)
class ColumnCell:
    """A cell that is a column of the facts."""

    column: str


@dataclass(frozen=True, slots=True)
class LookupCell:
    """A cell that is looked up: `column` of the lookup, by the id in the facts' column `key`."""

    key: str
    lookup: str
    column: str


Cell = TimeCell | ColumnCell | LookupCell

_D = Dimension
_HOLDER, _PUBLISHER, _CLAIMER = _ROLES[Role.OWNER], _ROLES[Role.PUBLISHER], _ROLES[Role.CLAIMER]

CELLS: Mapping[Dimension, Cell] = {
    # By default a dimension is the facts' column of its name.
    **{dimension: ColumnCell(dimension.header) for dimension in Dimension},
    **{dimension: TimeCell(dimension.grain) for dimension in Dimension if dimension.grain is not None},
    _D.CHANNEL_SLUG: LookupCell(QUALIFYING, "channel", "slug"),
    _D.VIDEO_OWNER_CHANNEL_SLUG: LookupCell(_HOLDER, "channel", "slug"),
    _D.VIDEO_OWNER_ID: LookupCell(_HOLDER, "channel", "account_id"),
    _D.VIDEO_OWNER_USERNAME: LookupCell(_HOLDER, "holder", "username"),
    _D.OWNER_OR_PARENT_USERNAME: LookupCell(_HOLDER, "holder", "top_username"),
    _D.PUBLISHER_CHANNEL: LookupCell(_PUBLISHER, "channel", "slug"),
    _D.PUBLISHER_ID: LookupCell(_PUBLISHER, "channel", "account_id"),
    _D.PUBLISHER_OR_PARENT_USERNAME: LookupCell(_PUBLISHER, "holder", "top_username"),
    _D.CLAIMER_CHANNEL: LookupCell(_CLAIMER, "channel", "slug"),
    _D.CLAIMER_OR_PARENT_USERNAME: LookupCell(_CLAIMER, "holder", "top_username"),
    _D.ACCOUNT_ID: LookupCell(_HOLDER, "channel", "account_id"),
    _D.ACCOUNT_USERNAME: LookupCell(_HOLDER, "holder", "username"),
    _D.PARENT_ACCOUNT_ID: LookupCell(_HOLDER, "holder", "parent_account_id"),
    _D.PARENT_ACCOUNT_USERNAME: LookupCell(_HOLDER, "holder", "parent_username"),
    _D.VIDEO_TITLE: LookupCell("video_id", "video", "title"),
    _D.CONTENT_TAG: LookupCell("video_id", "tag", "tag"),
    _D.CONTENT_TAG_LIST: LookupCell("video_id", "video", "tag_list"),
    _D.PLAYLIST_TITLE: LookupCell("playlist_id", "playlist", "title"),
    _D.PLAYLIST_TYPE: LookupCell("playlist_id", "playlist", "type"),
    _D.PLAYER_TITLE: LookupCell("player_id", "player", "title"),
    _D.PLAYER_TYPE: LookupCell("player_id", "player", "type"),
}


def find_sources(metrics: tuple[Metric, ...]) -> tuple[Source, ...]:
    """Find the sources of these metrics' measures, each once, in the order of `SOURCES`."""
    needed = {MEASURES[name].source.name for metric in metrics for name in measures(metric.rule)}
    return tuple(source for source in SOURCES.values() if source.name in needed)


def can_split(source: Source, dimension: Dimension) -> bool:
    """Whether the source's rows can be split by the dimension."""
    match CELLS[dimension]:
        case TimeCell(grain):
            return grain >= Grain.DAY or source.kind(source.time) is Kind.MOMENT
        case ColumnCell(name) | LookupCell(key=name):
            return name == QUALIFYING or source.column(name) is not None


def title_tables(dimension: Dimension) -> tuple[str, ...]:
    """The tables with the titles of what a dimension's ids name; none where it has no titles."""
    found = find_title_cell(dimension)
    return LOOKUPS[found.lookup].tables if found else ()


def find_title_dimension(dimension: Dimension) -> Dimension | None:
    """Find the dimension of the titles of a dimension's ids; None where it has no titles."""
    found = find_title_cell(dimension)
    return next((row for row, cell in CELLS.items() if cell == found), None)


def find_title_cell(dimension: Dimension) -> LookupCell | None:
    """Find the cell that is a title for each id, or slug of a channel, in a dimension."""
    match CELLS[dimension]:
        case ColumnCell(column):
            titled = (cell for cell in CELLS.values() if isinstance(cell, LookupCell) and cell.column == TITLE)
            return next((cell for cell in titled if cell.key == column), None)
        case LookupCell(_, "channel", "slug" as column):
            return LookupCell(column, column, TITLE)
        case _:
            return None
