"""Suggest a mapping: which columns of an export fill a table's columns.

A value that can't be converted is left unchanged, so that the load refuses its row and reports it; none is dropped.
Known names come from video platforms' own analytics, web analytics, warehouses, ad servers and hand-made sheets. A name
can belong to several columns; its place in each column's list says which column is likelier.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from textwrap import wrap

import duckdb

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    open_reading_workspace,
    parquet_source,
    translate_engine_errors,
)
from reelport.facts.defaults import MEMORY
from reelport.facts.input.files import FileFormat, InputFile, ProgressMeter, detect_format
from reelport.facts.input.mapping import create_json_view
from reelport.facts.input.sources import ReaderFailure, Reading, read_parquet_columns
from reelport.facts.input.text_batches import add_conversion, read_batches, read_header
from reelport.facts.row_rules import FILE, LINE
from reelport.facts.tables import Column, Kind, Table, find_table
from reelport.sql_quoting import quote_name, quote_text

_WHEN = "event date;report date;stat date;activity date;date;day;period;dt;ds;event day;date utc;day utc"
_HOUR = (
    "timestamp;event timestamp;event time;time;datetime;date time;date hour;hour;start time;started;"
    "ts;occurred;view start"
)
_COUNTRY = (
    "country code;country;viewer country;geo country;country iso;iso country;country iso code;geo;location country;"
    "visitor country;user country;geo country code;geography;territory"
)
_DEVICE = "device type;device;device category;viewer device category;device class;device kind;user device;player device"
_POSITION = "position;playlist position;sequence;video index;index in playlist"
_HOST = "host;hostname;domain;embed domain;site;subdomain;page host;source domain;website"
_PAGE = "page url;url;page;embed url;page location;embedded player location;referrer url;location;source url"
_MONEY = (
    "revenue;estimated revenue;earnings;estimated earnings;amount;net revenue;partner revenue;payout;"
    "estimated partner revenue"
)

NAMES: Mapping[str, str] = {
    "started_at": f"{_HOUR};{_WHEN}",
    "day": f"{_WHEN};{_HOUR}",
    "video_id": (
        "video;content id;media id;asset id;clip id;entry id;external video id;video xid;xid;content;"
        "media;asset;yt video id"
    ),
    "owner_channel_id": (
        "channel id;owner id;owner channel;channel;uploader id;video owner id;partner id;content owner id;channel xid;"
        "publisher account id;property id;uploader;owner;account id"
    ),
    "publisher_channel_id": "publisher id;publisher;embedder id;embedding channel id;site owner id",
    "claimer_channel_id": "claimer id;claimer;claimed by;rights holder id;claiming channel id",
    "payee_channel_id": "payee id;payee;paid to;beneficiary id",
    "media_type": (
        "stream type;video type;live or on demand;content delivery type;is live;live;vod or live;delivery type"
    ),
    "action": "start type;play method;autoplay;play trigger;play reason",
    "playlist_id": "playlist;list id;playlist xid",
    "video_position": _POSITION,
    "player_id": "player;player configuration id;embed id;player key",
    "visitor_country": _COUNTRY,
    "visitor_device_type": _DEVICE,
    "visitor_domain_group": "domain group;site group;property group",
    "visitor_subdomain": _HOST,
    "visitor_page_url": _PAGE,
    "monetization_type": "monetisation type;revenue type;monetization",
    "viewer": "viewer id;viewer user id;visitor id;user id;client id;user pseudo id;viewer hash;cookie id",
    "views": (
        "view count;video views;plays;play count;video plays;starts;video starts;total views;"
        "total plays;video view;hits"
    ),
    "time_watched_seconds": (
        "watch time;watched;estimated watched;watched time;viewing time;view time;time viewed;played;play time;viewed;"
        "video viewed;watch duration;playing time;engagement time;total watch time;time played"
    ),
    "watchable_seconds": "watchable;possible watch time;content duration total",
    "sellable_inventory": "ad opportunities;opportunities;inventory;sellable opportunities;ad opportunity",
    "nb_impression": "impressions;ad impressions;impression count;served impressions;monetized impressions",
    "no_fills": "unfilled;unfilled impressions;no fill;unfilled requests",
    "ad_errors": "errors;ad error count;error count",
    "timeouts": "timed out;timeout count;time outs",
    "ad_view_completed": "completions;ad completions;completed views;complete views",
    "ad_format": "format;creative format;ad type;creative type",
    "inventory_position": "ad position;position;slot type;ad slot;break type",
    "inventory_position_index": "ad index;position index",
    "buyer": "advertiser;buyer name;demand partner;bidder",
    "buyertype": "buyer kind;demand type;deal type",
    "monetization_product": "product;ad product;revenue source",
    "player_size": "size;player dimensions;dimensions",
    "eur": _MONEY,
    "usd": _MONEY,
    "kind": "usage type;usage kind;metric kind;service",
    "bandwidth_vod_bytes": "bandwidth;traffic;delivered;egress;transferred;data transfer;bandwidth vod;vod traffic",
    "bandwidth_live_bytes": "bandwidth live;live bandwidth;live traffic;live egress",
    "storage_bytes": "storage;stored;storage used;disk usage",
    "ai_credits": "credits;ai usage",
    "title": "name;video title;content title;headline;media title;asset name",
    "thumbnail_url": "thumbnail;thumbnail link;poster;poster url;image url;image;preview image;cover",
    "duration_seconds": "duration;length;video length;video duration;media duration;runtime;content duration",
    "tags": "keywords;labels;categories;video tags",
    "visibility": "privacy;privacy status;status;access",
    "created_at": (
        "uploaded;upload date;upload time;published;publish time;publish date;video publish time;"
        "creation date;created;date added;published date"
    ),
    "deleted_at": "deleted;removed;deletion date;date deleted",
    "slug": "handle;custom url;short name;channel handle;alias",
    "name": "channel name;channel title;display name;title;channel",
    "account_id": "account;owner account;customer id",
    "type": "kind;category",
    "username": "user name;login;account name;name",
    "parent_account_id": "parent id;parent account;parent;organization id",
}
"""Names that exports use for each column, the likeliest first."""

KEYS: Mapping[str, str] = {
    "videos": "video id;content id;media id;asset id;video;clip id;entry id;xid;content",
    "channels": "channel id;owner id;uploader id;channel xid;channel",
    "players": "player id;player;embed id",
    "playlists": "playlist id;playlist;list id",
    "accounts": "account id;account;customer id;user id",
}
"""Names that exports use for the `id` of each object table."""

_UNKNOWN = ("zz", "xx", "t1", "a1", "a2", "o1", "??", "-", "--", "n/a", "unknown", "(not set)", "null", "none")
_PHONES = ("mobile phone", "mobile_phone", "phone", "smartphone")
_TELEVISIONS = ("connected tv", "connected_tv", "ctv", "smart tv", "smart_tv", "television")
_RECORDED = ("vod", "on demand", "on_demand", "ondemand", "recorded", "false")
_LIVE = ("live stream", "live_stream", "livestream", "true")

WORDS: Mapping[str, Mapping[str, str | None]] = {
    "visitor_country": dict.fromkeys(_UNKNOWN),
    "visitor_device_type": {
        **dict.fromkeys(_PHONES, "mobile"),
        **dict.fromkeys(("computer", "pc", "laptop"), "desktop"),
        **dict.fromkeys(_TELEVISIONS, "tv"),
    },
    "media_type": dict.fromkeys(_RECORDED, "video") | dict.fromkeys(_LIVE, "live"),
}
"""For columns with a closed list: what exports write, in lower case, and the column's own text; None is empty."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_SIGNS = {"€": " eur ", "$": " usd ", "#": " count ", "%": " percent "}
_UNITS: Mapping[str, tuple[str, str]] = {
    word: (unit, factor)
    for unit, factor, words in (
        ("seconds", "0.001", "ms millis msec milliseconds millisecond"),
        ("seconds", "1", "s sec secs seconds second"),
        ("seconds", "60", "min mins minutes minute m"),
        ("seconds", "3600", "h hr hrs hours"),
        ("bytes", "1", "bytes byte b"),
        ("bytes", "1000", "kb kilobytes"),
        ("bytes", "1000000", "mb megabytes"),
        ("bytes", "1000000000", "gb gigabytes"),
        ("bytes", "1000000000000", "tb terabytes"),
        ("EUR", "1", "eur euro euros"),
        ("USD", "1", "usd dollars dollar"),
    )
    for word in words.split()
}
_IDLE = {"in", "of", "the", "count", "number", "total", "nb", "utc", "at", "sum", "per"}
"""Words that carry little meaning; names are matched without them."""
_LONGEST = 200
"""Characters of a name that are read: no known name is half as long."""


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column's name as words: `whole` has all, `bare` those with meaning, without the unit.

    `unit` is what the name says that it measures (`seconds`, `bytes`, `EUR`, `USD`). A value times `factor`, a number
    in SQL, is in that unit.
    """

    whole: str
    bare: str
    unit: str | None
    factor: str


def parse_column_name(name: str) -> ColumnName:
    """Parse a name in snake case, camel case, with blanks, or with its unit in brackets."""
    name = name[:_LONGEST]
    for sign, word in _SIGNS.items():
        name = name.replace(sign, word)
    words = [part.lower() for word in _WORD.findall(name) for part in _CAMEL.split(word)]
    rest = list(words)
    # The last unit word counts. A short one, such as "h" or "mb", counts only at the end of a longer name.
    is_long, end = len(rest) > 1, len(rest) - 1
    ends = (at for at in range(end, -1, -1) if rest[at] in _UNITS and (len(rest[at]) > 2 or (is_long and at == end)))  # noqa: PLR2004 - such as "h" or "mb"
    place = next(ends, None)
    unit, factor = _UNITS[rest.pop(place)] if place is not None else (None, "1")
    bare = [word for word in rest if word not in _IDLE] or rest
    return ColumnName(" ".join(words), " ".join(bare), unit, factor)


_ROWS, _VALUES = 2_000, 500
_INPUT = "_reelport_export"
_WIDTH = 110
_SHOWN = 3
_MARGIN = "    "
_SHOWN_NAME, _SHOWN_VALUE = 80, 40
"""Characters of a column's name, and of a value, that a comment shows."""
_OFTEN = {
    "media_type": ("'video'", "if nothing is live"),
    "views": ("1", "if each row is one view"),
    "time_watched_seconds": ("0", "if the export doesn't tell it"),
}
"""For columns that exports often lack: a value to fill in, and when it is right; not offered if the column exists."""
_MIDNIGHT = r"[T ]00:00(:00(\.0+)?)?( ?(Z|[+]00(:?00)?))?"
_ISO_DAY = rf"\d{{4}}-\d{{2}}-\d{{2}}({_MIDNIGHT})?"
_ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?"
_INTEGERS = r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?"
_NUMBERS = rf"{_INTEGERS}|DOUBLE|FLOAT(16)?|DECIMAL\(.*\)"
_WHOLE, _NUMBER = r"-?\d+(\.0+)?", r"-?\d+(\.\d*)?([eE][+-]?\d+)?"
_MEASURES = {"seconds", "bytes"}
_EPOCHS = {10: "to_timestamp({})", 13: "epoch_ms({})", 16: "make_timestamp({})"}
"""SQL that converts seconds, milliseconds or microseconds since 1970 to a moment, by the number's count of digits."""
_DAYS = ("%Y%m%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%y.%d.%m", "%b %d, %Y")
_FORMATS = (*_DAYS, *(f"{day} %H:%M:%S" for day in _DAYS), "%Y%m%d%H", "%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export: name, SQL type, and distinct texts of its first rows."""

    name: str
    type: str
    values: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return quote_name(self.name)

    @property
    def text(self) -> str:
        """The column as a text, in SQL."""
        return self.sql if self.type == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    @property
    def is_date(self) -> bool:
        """Whether the column has a type of dates or moments."""
        return self.type == "DATE" or self.type.startswith("TIMESTAMP")

    def mostly_matches(self, form: str) -> bool:
        """Whether most values match: a few wrong ones don't matter, as the load refuses them."""
        return sum(re.fullmatch(form, value) is not None for value in self.values) * 2 > len(self.values)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A way to convert a column: SQL, a note on it, and whether a person should check it.

    `needs_person` is true where the values don't show whether it is right, so that it is only offered.
    """

    sql: str
    note: str = ""
    is_doubtful: bool = False
    needs_person: bool = False


Conversions = Sequence[Conversion]
"""Ways to convert a column: none if its values don't fit, several if the values don't show which one is right."""


class Confidence(StrEnum):
    """How certain a match of two columns is."""

    SURE = "sure"
    LIKELY = "likely"
    GUESS = "guess"


@dataclass(frozen=True, slots=True)
class Guess:
    """A column of the table, the export's column used for it, why, and its conversion."""

    column: Column
    given: ExportColumn
    confidence: Confidence
    why: str
    way: Conversion = Conversion("")


@dataclass(frozen=True, slots=True)
class Gap:
    """A column that a person must fill in: why, and possible `ways` from `given`.

    `given` is the export's column that looks like it, unless another column of the table uses that one.
    """

    column: Column
    why: str
    given: ExportColumn | None = None
    ways: Conversions = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggested mapping, in the table's order; `unused` are the export's other columns."""

    table: Table
    guesses: tuple[Guess, ...]
    gaps: tuple[Gap, ...]
    unused: tuple[str, ...]


def suggest_for_files(root: Path, table: str, files: Sequence[Path], memory: str = MEMORY) -> Suggestion:
    """Suggest the mapping that fits the files to the table, by the first file only.

    Raises BadInput when that file can't be read, UsageError when there is no such table.
    """
    found = find_table(table)
    first = detect_format([Path(file) for file in files])[0]
    with open_reading_workspace(root, memory) as space, translate_engine_errors(first.path):
        return suggest(space.session, found, _read_columns(space, first))


def suggest(session: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[ExportColumn]) -> Suggestion:
    """Suggest which of the export's columns fill the table's; each is used at most once."""
    usable = [given for given in columns if given.name]  # SQL can't name a column without one
    guesses: dict[str, Guess] = {}
    gaps: dict[str, Gap] = {}
    used: set[str] = set()
    for _, match in sorted(_find_matches(table, usable), key=lambda found: found[0]):
        column, given = match.column, match.given
        if column.name in guesses or given.name in used:
            continue
        ways = _find_conversions(session, column, given)
        if len(ways) == 1 and not ways[0].needs_person:
            confidence = Confidence.GUESS if ways[0].is_doubtful else match.confidence
            guesses[column.name] = replace(match, confidence=confidence, way=ways[0])
            gaps.pop(column.name, None)
            used.add(given.name)
        else:
            gaps.setdefault(column.name, Gap(column, f"{match.why}, but {_explain(match, ways)}", given, ways))
    for column in table.columns:
        if column.required and column.name not in guesses:
            gaps.setdefault(column.name, Gap(column, "no column of the file looks similar"))
    for name, gap in gaps.items():
        if gap.given and gap.given.name in used and not gap.ways:
            gaps[name] = replace(gap, given=None)
    offered = {gap.given.name for gap in gaps.values() if gap.given and gap.ways}
    return Suggestion(
        table,
        tuple(guesses[column.name] for column in table.columns if column.name in guesses),
        tuple(gaps[column.name] for column in table.columns if column.name in gaps),
        tuple(given.name for given in columns if given.name not in used | offered),
    )


def _explain(match: Guess, ways: Conversions) -> str:
    shown = ", ".join(repr(value[:40]) for value in match.given.values[:3])
    unit = parse_column_name(match.given.name).unit
    if ways:
        return ways[0].note if len(ways) == 1 else f"its values ({shown}) can be read in {len(ways)} ways"
    if unit is not None and match.column.unit not in {None, unit}:
        return f"it counts {unit}, and the table {match.column.unit}"
    return f"its values ({shown}) aren't what the table takes" if shown else "it is empty in the first rows"


def _find_matches(table: Table, columns: Sequence[ExportColumn]) -> Iterator[tuple[int, Guess]]:
    """Find columns of the export that may fill one of the table's; the best have low numbers."""
    dates = [given for given in columns if given.is_date]
    names = [(given, parse_column_name(given.name)) for given in columns]
    for column in table.columns:
        synonyms = KEYS.get(table.name, "") if column.name == table.key else NAMES.get(column.name, "")
        own, *known = (parse_column_name(name) for name in (column.name, *filter(None, synonyms.split(";"))))
        places = {name.bare: place for place, name in reversed([*enumerate(known, 3)])}
        for given, name in names:
            if name.whole == own.whole:
                yield int(given.name != column.name), Guess(column, given, Confidence.SURE, "the same name")
            elif name.bare == own.bare and (name.bare or name.unit):
                yield 2, Guess(column, given, Confidence.SURE, "the same name but for its unit")
            elif name.bare in places and (name.bare or name.unit):
                yield places[name.bare], Guess(column, given, Confidence.LIKELY, f"a known name of {column.name}")
            elif column.required and column.kind in {Kind.DAY, Kind.MOMENT} and dates == [given]:
                yield 1_000, Guess(column, given, Confidence.GUESS, "the only column of dates")


def _read_columns(space: Workspace, file: InputFile) -> tuple[ExportColumn, ...]:
    match file.format:
        case FileFormat.CSV:
            return _read_csv_columns(file)
        case FileFormat.PARQUET:
            types = dict(read_parquet_columns(space.session, file))
            relation = parquet_source([str(file.path)])
        case FileFormat.NDJSON:
            reading = Reading(space, lambda *_: None, ReaderFailure(), ProgressMeter([file], None))
            create_json_view(reading, _INPUT, [file])
            described = space.session.execute(f"DESCRIBE {_INPUT}").fetchall()
            types, relation = {name: kind for name, kind, *_ in described}, _INPUT
    texts = ", ".join(f"CAST({quote_name(name)} AS VARCHAR)" for name in types if name) or "NULL"
    rows = space.session.execute(f"SELECT {texts} FROM {relation} LIMIT {_ROWS}").fetchall()  # noqa: S608 - quoted
    named = [(name, kind) for name, kind in types.items() if name]
    return tuple(
        ExportColumn(name, kind, _distinct_values(row[at] for row in rows)) for at, (name, kind) in enumerate(named)
    )


def _read_csv_columns(file: InputFile) -> tuple[ExportColumn, ...]:
    names = read_header(file)
    broken: list[str] = []

    def reject(_: int, line: int, reason: str, __: str) -> None:
        if not broken:
            broken.append(f"line {line}: {add_conversion(reason)}")

    part = next(read_batches([(0, file)], names, reject, ProgressMeter([file], None)), None)
    if part is None:
        why = f" ({broken[0]})" if broken else ""
        raise BadInput(f"{file.path} has a header and no row that can be read{why}: a mapping is guessed by rows too")
    rows = part.slice(0, _ROWS).drop_columns([FILE, LINE])
    return tuple(ExportColumn(name, "VARCHAR", _distinct_values(rows.column(name).to_pylist())) for name in names)


def _distinct_values(cells: Iterable[str | None]) -> tuple[str, ...]:
    """Return the distinct non-empty texts of the cells in order, at most 500."""
    return tuple(islice(dict.fromkeys(cell.strip() for cell in cells if cell is not None and cell.strip()), _VALUES))


def _find_conversions(session: duckdb.DuckDBPyConnection, column: Column, given: ExportColumn) -> Conversions:
    match column.kind:
        case Kind.DAY | Kind.MOMENT:
            return list(_convert_moments(session, column, given))
        case Kind.COUNT | Kind.MONEY:
            return _convert_numbers(column, given)
        case Kind.TEXTS:
            is_list = given.type in {"VARCHAR", "JSON"} or given.type.endswith("[]")
            return (Conversion(given.sql),) if is_list else ()
        case Kind.TEXT if column.choices:
            return _convert_choices(column, given)
        case Kind.TEXT:
            is_text = given.type in {"VARCHAR", "UUID", "JSON"} or given.type.startswith("ENUM(")
            return (Conversion(given.sql),) if is_text or re.fullmatch(_INTEGERS, given.type) else ()


def _convert_moments(session: duckdb.DuckDBPyConnection, column: Column, given: ExportColumn) -> Iterator[Conversion]:
    def convert(sql: str, *notes: str, is_day: bool) -> Conversion:
        is_doubtful = is_day and column.kind is Kind.MOMENT
        notes += ("it has no hours, so each row counts at midnight",) if is_doubtful else ()
        return Conversion(sql, "; ".join(notes), is_doubtful)

    if given.is_date or (given.type == "VARCHAR" and given.mostly_matches(_ISO)):
        yield convert(given.sql, is_day=given.mostly_matches(_ISO_DAY))
    elif given.values:
        digits = len(given.values[0])
        if digits in _EPOCHS and given.mostly_matches(f"1[0-9]{{{digits - 1}}}"):
            made = _EPOCHS[digits].format(f"TRY_CAST({given.sql} AS BIGINT)")
            yield Conversion(_or_original_sql(made, given), "counted since 1970")
            return
        for form in _find_formats(session, given.values):
            made = f"strftime(try_strptime({given.text}, {quote_text(form)}), '%Y-%m-%dT%H:%M:%S')"
            yield convert(_or_original_sql(made, given), f"read as {form}", is_day=form in _DAYS)


def _find_formats(session: duckdb.DuckDBPyConnection, values: Sequence[str]) -> list[str]:
    fits = (f"coalesce(year(try_strptime(one, {quote_text(form)})) BETWEEN 1990 AND 2100, false)" for form in _FORMATS)
    sql = f"SELECT {', '.join(f'bool_and({fit})' for fit in fits)} FROM unnest(?) AS t(one)"  # noqa: S608 - our formats
    (row,) = session.execute(sql, [list(values)]).fetchall()
    return [form for form, does_fit in zip(_FORMATS, row, strict=True) if does_fit]


def _convert_numbers(column: Column, given: ExportColumn) -> Conversions:
    """Convert to a count or to money, by the unit that the column's name tells."""
    name, is_money, is_measure = parse_column_name(given.name), column.kind is Kind.MONEY, column.unit in _MEASURES
    is_number = given.type == "VARCHAR" or re.fullmatch(_NUMBERS, given.type)
    form = _NUMBER if is_money or is_measure else _WHOLE
    if name.unit not in {None, column.unit} or not is_number or not given.mostly_matches(form):
        return ()
    is_unknown = (is_money or is_measure) and name.unit is None
    is_rounded = is_measure and not given.mostly_matches(_WHOLE)
    what, then = ("currency", "only if it is") if is_money else ("unit", "taken for")
    notes = [
        f"times {name.factor}, to {column.unit}" * (name.factor != "1"),
        f"its name tells no {what}: {then} {column.unit}" * is_unknown,
        "rounded" * is_rounded,
    ]
    made = given.sql
    if is_rounded or name.factor != "1":
        scaled = f"TRY_CAST({made} AS DECIMAL(24,6)) * {name.factor}"
        made = _or_original_sql(f"round({scaled}, 6)" if is_money else f"TRY_CAST(round({scaled}) AS BIGINT)", given)
    return (Conversion(made, "; ".join(filter(None, notes)), is_unknown, is_unknown and is_money),)


def _convert_choices(column: Column, given: ExportColumn) -> Conversions:
    """Convert to texts of the column's list, if most values are on it or known words for one."""
    words = {word: own for word, own in WORDS.get(column.name, {}).items() if word.upper() not in column.choices}
    known = {choice.lower() for choice in column.choices}
    strange = [value for value in given.values if value.lower() not in {*known, *words}]
    if not given.values or len(strange) * 2 > len(given.values):
        return ()
    if all(value in column.choices for value in given.values):
        return (Conversion(given.text),)
    spelled = f"{'upper' if column.choices[0].isupper() else 'lower'}({given.text})"
    cases = "".join(
        f" WHEN lower({given.text}) IN ({', '.join(quote_text(word) for word, of in words.items() if of == own)})"
        f" THEN {quote_text(own) if own else 'NULL'}"
        for own in dict.fromkeys(words.values())
    )
    note = "written like the table's" + ("; unknown ones left empty" if None in words.values() else "")
    if strange:
        more = " …" if len(strange) > 3 else ""  # noqa: PLR2004 - three are shown
        note += f"; {', '.join(map(repr, strange[:3]))}{more} would be refused, or kept by --lenient"
    return (Conversion(f"CASE{cases} ELSE {spelled} END" if cases else spelled, note),)


def _or_original_sql(made: str, given: ExportColumn) -> str:
    """Write SQL of the converted text, or of the original, which the load then refuses."""
    return f"coalesce(CAST({made} AS VARCHAR), {given.text})"


def format_map(found: Suggestion, files: Sequence[Path], to: Path) -> str:
    """Format the SQL: first the columns to fill in, then those that were found."""
    gaps = [line for gap in sorted(found.gaps, key=lambda gap: not gap.column.required) for line in _format_gap(gap)]
    guesses = [line for guess in found.guesses for line in _format_guess(guess, is_last=guess is found.guesses[-1])]
    lines = [*_format_head(found, files, to), "SELECT", *gaps, *guesses, "FROM input", *_format_foot(found)]
    return "\n".join(lines) + "\n"


def _format_head(found: Suggestion, files: Sequence[Path], to: Path) -> Iterator[str]:
    yield from _wrap_comment(
        f"A mapping of {files[0].name} to the table {found.table.name}, to start from: guessed by "
        "names, types and the first rows. [sure] is the same name, [likely] one that other exports give it, [guess] "
        "wants a look. A value that can't be converted stays as it is, and the load rejects its row."
    )
    if len(files) > 1:
        yield from _wrap_comment("The other files weren't looked at: a column that only they have isn't below.")
    words = ["reelport", "load", found.table.name, *map(str, files), "--map", str(to), "--dry-run"]
    yield f"-- Try it: {_to_printable(shlex.join(words))}"


def _format_gap(gap: Gap) -> Iterator[str]:
    column = gap.column
    need = "TO FILL IN" if column.required else "LEFT OUT"
    seen = f"{_format_name(gap.given.name)}: " if gap.given else ""
    yield from _wrap_comment(f"{need}: {column.name}, a {column.kind.value}: {seen}{gap.why}.", _MARGIN)
    yield from _wrap_comment(column.sentence, _MARGIN)
    if column.choices and not column.called:
        yield from _wrap_comment(f"One of: {', '.join(column.choices)}.", _MARGIN)
    for sql, note in _list_ways(gap):
        comment = f"  -- {note}" if note else ""
        yield f"{_MARGIN}-- {_to_printable(f'{sql} AS {column.name},{comment}')}"


def _list_ways(gap: Gap) -> Iterator[tuple[str, str]]:
    if gap.given is not None and gap.ways:
        for way in gap.ways:
            yield way.sql, f"{_format_name(gap.given.name)} {way.note}"
    elif gap.given is not None and not gap.given.values:
        yield gap.given.sql, "if later rows fill it"
    elif gap.given is not None:
        yield f"… {gap.given.sql} …", "write how its values become the table's"
    elif gap.column.required:
        yield _OFTEN.get(gap.column.name, ("…", ""))


def _format_guess(guess: Guess, *, is_last: bool) -> Iterator[str]:
    values = ", ".join(repr(_to_printable(value[:_SHOWN_VALUE])) for value in guess.given.values[:_SHOWN])
    note = f"; {guess.way.note}" if guess.way.note else ""
    shown = f" (such as {values})" if values else ""
    name = _format_name(guess.given.name)
    yield from _wrap_comment(f"[{guess.confidence.value}] {name}: {guess.why}{shown}{note}.", _MARGIN)
    yield f"{_MARGIN}{guess.way.sql} AS {quote_name(guess.column.name)}{'' if is_last else ','}"


def _format_foot(found: Suggestion) -> Iterator[str]:
    done = {guess.column.name for guess in found.guesses} | {gap.column.name for gap in found.gaps}
    rest = [column.name for column in found.table.columns if column.name not in done]
    if found.unused:
        names = ", ".join(map(_shorten, found.unused))
        yield from _wrap_comment(f"Columns of the file that nothing is made of: {names}.")
    if rest:
        yield from _wrap_comment(f"Columns of the table that stay empty: {', '.join(rest)}.")


def _wrap_comment(text: str, margin: str = "") -> list[str]:
    lines = wrap(_to_printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"{margin}-- {line}" for line in lines]


def _format_name(name: str) -> str:
    return repr(_to_printable(_shorten(name)))


def _shorten(name: str) -> str:
    return name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}…"


def _to_printable(text: str) -> str:
    """Replace characters that could end the comment's line by blanks."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
