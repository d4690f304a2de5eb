"""A mapping to start from: what is recognised, of numbers too, what is left to a person, and that it loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out

from reelport.cli.service_commands.facts_output import write_suggestion
from reelport.errors import BadInput, StorageError, UsageError
from reelport.facts.loading.load import load
from reelport.facts.mapping_suggestion import Suggestion, format_map, read_synonyms, suggest_for_files
from reelport.facts.tables import TABLES

Ask = Callable[..., list[tuple[object, ...]]]
CONSOLE = """date,Video ID,channelId,Views,Watch time (hours),Country Code,deviceType,Video title,is_live
07/25/2023,v1,c1,1234,12.5,us,Mobile phone,"a, b",false
07/26/2023,v2,c1,5,0.25,ZZ,Computer,x,true
07/27/2023,v2,c1,five,0.25,DE,Tablet,x,true
"""


@pytest.fixture
def suggested(tmp_path: Path, root: Path) -> Callable[..., tuple[Suggestion, Path, Path]]:
    """What is suggested for an export of this text, the file and its mapping."""

    def run(table: str, text: str, name: str = "export.csv") -> tuple[Suggestion, Path, Path]:
        path, to = tmp_path / name, tmp_path / "made.map.sql"
        path.write_text(text)
        found = suggest_for_files(root, table, [path])
        to.write_text(format_map(found, [path], to))
        return found, path, to

    return run


def _from(found: Suggestion) -> dict[str, str]:
    """The export's column for each of the table's."""
    return {guess.column.name: guess.given.name for guess in found.guesses}


def _gaps(found: Suggestion) -> list[str]:
    return [gap.column.name for gap in found.gaps if gap.column.required]


def test_an_export_of_a_console_loads_through_what_is_suggested(
    suggested: Callable[..., tuple[Suggestion, Path, Path]], root: Path, ask: Ask
) -> None:
    """Names with blanks and units, dates of another form, words of its own: all land converted."""
    found, path, to = suggested("plays", CONSOLE)
    assert _gaps(found) == []
    done = load(root, "plays", [path], mapping=to)
    assert (done.rows, done.rejects) == (2, 1)
    assert ask(
        "plays",
        "SELECT started_at, video_id, owner_channel_id, media_type, views, time_watched_seconds, visitor_country, "
        "visitor_device_type FROM t ORDER BY started_at",
    ) == [
        (datetime(2023, 7, 25, tzinfo=UTC), "v1", "c1", "video", 1234, 45_000, "US", "mobile"),
        (datetime(2023, 7, 26, tzinfo=UTC), "v2", "c1", "live", 5, 900, None, "desktop"),
    ]
    assert done.rejects_file is not None
    told = done.rejects_file.read_text().splitlines()[1]
    assert told.startswith("the mapping's output,3,views: 'five' is no whole number")


NAMES = {
    "started_at": ["date", "event_timestamp", "Day", "dateHour", "report date", "ts"],
    "video_id": ["videoId", "VIDEO_ID", "content id", "assetId", "media_id", "external-video-id"],
    "owner_channel_id": ["channel_id", "Channel", "channelId", "uploader id", "owner"],
    "views": ["Views", "plays", "view_count", "Video Starts", "video_views", "total plays"],
    "time_watched_seconds": [
        "watch_time",
        "estimatedMinutesWatched",
        "Watch time (hours)",
        "minutes watched",
        "watchTimeMs",
    ],
    "visitor_country": ["country", "Country code", "geo_country", "viewerCountry", "country_iso_code"],
    "visitor_device_type": ["device", "deviceCategory", "Device type", "viewer_device_category"],
}
SAMPLES = {
    "started_at": "2023-07-01",
    "video_id": "v1",
    "owner_channel_id": "c1",
    "views": "7",
    "time_watched_seconds": "60",
    "visitor_country": "FR",
    "visitor_device_type": "mobile",
}


@pytest.mark.parametrize("column", thin_out(NAMES, 3, nightly=True))
def test_names_of_exports_are_known(suggested: Callable[..., tuple[Suggestion, Path, Path]], column: str) -> None:
    """Snake case, camel case, blanks and brackets: each name is taken for its column, beside the others' own names."""
    for name in NAMES[column]:
        others = [other for other in SAMPLES if other != column]
        header = ",".join([name, *others])
        found, _, _ = suggested("plays", f"{header}\n{','.join(SAMPLES[each] for each in (column, *others))}\n")
        assert _from(found)[column] == name, name


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    thin_out(
        [
            ("watch_time_seconds", "90", 90),
            ("watch_time_ms", "1500", 2),
            ("minutesWatched", "1.5", 90),
            ("Watch time (hours)", "0.5", 1800),
            ("Watch Time (min)", "1000.5", 60_030),
        ],
        3,
        nightly=True,
    ),
)
def test_units_are_converted(
    suggested: Callable[..., tuple[Suggestion, Path, Path]], root: Path, ask: Ask, name: str, value: str, seconds: int
) -> None:
    """The unit that a name tells, or the form of the values, becomes an expression that converts."""
    header = "started_at,video_id,owner_channel_id,media_type,views"
    found, path, to = suggested("plays", f"{header},{name}\n2023-07-01,v1,c1,video,1,{value}\n")
    assert _gaps(found) == []
    assert load(root, "plays", [path], mapping=to).rejects == 0
    assert ask("plays", "SELECT time_watched_seconds FROM t") == [(seconds,)]


@pytest.mark.parametrize(
    ("values", "moment"),
    thin_out(
        [
            (["20230725", "20230801"], datetime(2023, 7, 25, tzinfo=UTC)),
            (["2023072505", "2023072506"], datetime(2023, 7, 25, 5, tzinfo=UTC)),
            (["25/07/2023", "01/08/2023"], datetime(2023, 7, 25, tzinfo=UTC)),
            (["07/25/2023", "08/01/2023"], datetime(2023, 7, 25, tzinfo=UTC)),
            (["25.07.2023", "26.07.2023"], datetime(2023, 7, 25, tzinfo=UTC)),
            (['"Jul 25, 2023"', '"Aug 1, 2023"'], datetime(2023, 7, 25, tzinfo=UTC)),
            (["2023-07-25 05:00:00 UTC", "2023-07-25 06:00:00 UTC"], datetime(2023, 7, 25, 5, tzinfo=UTC)),
            (["1690261200", "1690264800"], datetime(2023, 7, 25, 5, tzinfo=UTC)),
            (["1690261200000", "1690264800000"], datetime(2023, 7, 25, 5, tzinfo=UTC)),
            (["2023-07-25T05:00:00Z", "2023-07-26"], datetime(2023, 7, 25, 5, tzinfo=UTC)),
        ],
        9,
        nightly=True,
    ),
)
def test_dates_are_read_in_the_form_that_all_of_them_have(
    suggested: Callable[..., tuple[Suggestion, Path, Path]],
    root: Path,
    ask: Ask,
    values: Sequence[str],
    moment: datetime,
) -> None:
    """A form that reads each value, and is the only one, is taken."""
    rows = "".join(f"{value},v1,c1,video,1,1\n" for value in values)
    found, path, to = suggested(
        "plays", "date,video_id,owner_channel_id,media_type,views,time_watched_seconds\n" + rows
    )
    assert _gaps(found) == []
    assert load(root, "plays", [path], mapping=to).rejects == 0
    assert ask("plays", "SELECT min(started_at) FROM t") == [(moment,)]


def test_what_can_be_read_in_two_ways_is_left_to_a_person(
    suggested: Callable[..., tuple[Suggestion, Path, Path]], root: Path, ask: Ask
) -> None:
    """The first of February or the second of January: both lines stand as comments, and either one loads."""
    found, path, to = suggested("earnings", "date,channel,revenue\n01/02/2023,c1,1.5\n")
    assert _gaps(found) == ["day", "eur", "usd"]
    text = to.read_text()
    with pytest.raises(BadInput, match="column day is missing"):
        load(root, "earnings", [path], mapping=to)
    filled = [
        line.replace("-- ", "", 1) if "'%d/%m/%Y'" in line or " AS eur," in line or " AS usd," in line else line
        for line in text.splitlines()
    ]
    to.write_text("\n".join(filled))
    assert load(root, "earnings", [path], mapping=to).rejects == 0
    assert ask("earnings", "SELECT day, eur FROM t") == [(date(2023, 2, 1), Decimal("1.5"))]


@pytest.mark.parametrize(
    "dates", [("2023-07-25", "2023-07-26"), ("25/07/2023", "26/07/2023"), ("2023-07-25T00:00:00Z", "2023-07-26")]
)
def test_days_without_hours_are_said_to_count_at_midnight(
    suggested: Callable[..., tuple[Suggestion, Path, Path]], dates: Sequence[str]
) -> None:
    """They are taken and want a look; a column of hours beside them is listed as one that nothing is made of."""
    rows = "".join(f"{day},7,v1\n" for day in dates)
    found, _, to = suggested("plays", f"date,hour,video_id\n{rows}")
    assert (_from(found)["started_at"], found.guesses[0].confidence, found.unused) == ("date", "guess", ("hour",))
    assert "it has no hours, so each row counts at midnight" in " ".join(to.read_text().replace("--", "").split())
    found, _, _ = suggested("earnings", f"date,hour,video_id\n{rows}")
    assert (_from(found)["day"], found.guesses[0].confidence) == ("date", "likely")


def test_money_is_taken_where_its_currency_is_told(suggested: Callable[..., tuple[Suggestion, Path, Path]]) -> None:
    """By its name; the other currency is left to a person."""
    for name in ("Estimated revenue (USD)", "revenue_usd"):
        found, _, _ = suggested("earnings", f"day,channel_id,{name}\n2023-07-01,c1,1.5\n")
        assert (_from(found)["usd"], _gaps(found)) == (name, ["eur"])


def test_gaps_are_filled_in_place(
    suggested: Callable[..., tuple[Suggestion, Path, Path]], root: Path, ask: Ask
) -> None:
    """A required column that nothing looks like is a comment; written out, the file loads as it is."""
    found, path, to = suggested("plays", "when,what\n2023-07-01,v1\n")
    assert _gaps(found) == ["started_at", "video_id", "owner_channel_id", "media_type", "views", "time_watched_seconds"]
    text = to.read_text()
    for name, value in (("started_at", '"when"'), ("video_id", "what"), ("owner_channel_id", "'c1'")):
        assert f"    -- … AS {name},\n" in text
        text = text.replace(f"-- … AS {name},", f"{value} AS {name},")
    for name in ("media_type", "views", "time_watched_seconds"):
        line = next(line for line in text.splitlines() if f" AS {name}," in line)
        text = text.replace(line, line.replace("-- ", "", 1))
    to.write_text(text)
    assert load(root, "plays", [path], mapping=to).rejects == 0
    assert ask("plays", "SELECT video_id, media_type, views, time_watched_seconds FROM t") == [("v1", "video", 1, 0)]


def test_types_tell_where_names_do_not(tmp_path: Path, root: Path, ask: Ask) -> None:
    """The only column of moments is the time; a number is read as a count, a boolean as live or not."""
    path, to = tmp_path / "a.parquet", tmp_path / "a.map.sql"
    moment = datetime(2023, 7, 1, 5, tzinfo=UTC)
    row = {"x1": moment, "video": "v1", "channel": 7, "live": False, "plays": 3, "watched_s": 1.6, "player": [1]}
    pq.write_table(pa.Table.from_pylist([row, row]), path)
    found = suggest_for_files(root, "plays", [path])
    assert (_gaps(found), _from(found)["started_at"]) == ([], "x1")
    assert found.unused == ("player",)
    to.write_text(format_map(found, [path], to))
    assert load(root, "plays", [path], mapping=to).rejects == 0
    told = ask("plays", "SELECT DISTINCT started_at, owner_channel_id, media_type, views, time_watched_seconds FROM t")
    assert told == [(moment, "7", "video", 3, 2)]


def test_objects_of_ndjson_are_suggested_too(tmp_path: Path, root: Path, ask: Ask) -> None:
    """A table of objects takes its id by the names of its kind; what is nested and no such thing is left alone."""
    path, to = tmp_path / "v.ndjson", tmp_path / "v.map.sql"
    row = {"videoId": "v1", "channelId": "c1", "title": "One", "keywords": ["a", "b"], "length": 61, "more": {"a": 1}}
    path.write_text(json.dumps(row) + "\n")
    found = suggest_for_files(root, "videos", [path])
    to.write_text(format_map(found, [path], to))
    assert load(root, "videos", [path], mapping=to).rejects == 0
    assert ask("videos", "SELECT id, owner_channel_id, title, tags, duration_seconds FROM t") == [
        ("v1", "c1", "One", ["a", "b"], 61)
    ]
    assert found.unused == ("more",)


def test_no_name_ends_a_comment(suggested: Callable[..., tuple[Suggestion, Path, Path]], root: Path) -> None:
    """A header or a cell may hold line breaks, quotes and SQL: they stay text."""
    header = '"a\nDROP TABLE input; --","ti""tle",videoId,channel'
    _, path, to = suggested("videos", f'{header}\nx,"b\nFROM",v1,c1\n')
    assert load(root, "videos", [path], mapping=to).rows == 1


def test_a_file_is_written_over_only_when_that_is_said(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mapping of a first try may have been filled in; and never is the export itself written over."""
    path, to = tmp_path / "c.csv", tmp_path / "c.map.sql"
    path.write_text("channel_id,handle\nc1,one\n")

    def write(place: Path, *, force: bool = False, as_json: bool = True) -> None:
        write_suggestion(root, "channels", [path], place, "1GB", force=force, as_json=as_json)

    write(to)
    told = json.loads(capsys.readouterr().out)
    assert {one["column"]: (one["from"], one["confidence"]) for one in told["found"]} == {
        "id": ("channel_id", "likely"),
        "slug": ("handle", "likely"),
    }
    to.write_text("mine")
    with pytest.raises(UsageError, match="is there already: name another place by --map, or write over it by --force"):
        write(to)
    assert to.read_text() == "mine"
    write(to, force=True, as_json=False)
    assert "FROM input" in to.read_text()
    assert "2 columns of channels found in the file" in capsys.readouterr().out
    with pytest.raises(UsageError, match="is the file that is to be loaded"):
        write(path, force=True)
    with pytest.raises(StorageError, match="can't be written"):
        write(tmp_path / "none" / "c.sql")


def test_a_file_without_rows_or_with_few_tells_so(suggested: Callable[..., tuple[Suggestion, Path, Path]]) -> None:
    """A header alone is refused; columns that are empty in the first rows are said to be."""
    with pytest.raises(BadInput, match="has a header and no row that can be read"):
        suggested("channels", "id,slug\n")
    found, _, to = suggested("plays", "date,video_id\n,v1\n")
    assert "it is empty in the first rows" in to.read_text()
    assert "started_at" in _gaps(found)


def _suggest(root: Path, table: str, header: str, rows: Sequence[str]) -> tuple[Suggestion, Path, Path]:
    """What is suggested for an export of these rows, the file and its mapping."""
    path = root.parent.parent / "export.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    found = suggest_for_files(root, table, [path])
    to = path.with_name("made.map.sql")
    to.write_text(format_map(found, [path], to))
    return found, path, to


def _gap_lines(to: Path, column: str) -> list[str]:
    """The commented lines that would fill the column."""
    return [line.strip() for line in to.read_text().splitlines() if f" AS {column}," in line]


PLAYS = "started_at,video_id,owner_channel_id,media_type"
WRITE = "-- write how its values become the table's"


@pytest.mark.parametrize(
    ("views", "seconds", "media", "column", "line"),
    [
        ("many", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("1e3", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("2,613", "1", "video", "views", f'… "views" … AS views,  {WRITE}'),
        ("1", "two", "video", "time_watched_seconds", f'… "watch_time" … AS time_watched_seconds,  {WRITE}'),
        ("1", "", "video", "time_watched_seconds", '"watch_time" AS time_watched_seconds,  -- if later rows fill it'),
        ("1", "1", "short", "media_type", f'… "media_type" … AS media_type,  {WRITE}'),
    ],
)
def test_no_constant_takes_the_place_of_a_column_that_exists(
    root: Path, views: str, seconds: str, media: str, column: str, line: str
) -> None:
    """A column that can't be converted is named in the only line that is offered."""
    header = "started_at,video_id,owner_channel_id,media_type,views,watch_time"
    found, _, to = _suggest(root, "plays", header, [f'2023-07-01,v1,c1,{media},"{views}",{seconds}'])
    assert [gap.column.name for gap in found.gaps] == [column]
    assert _gap_lines(to, column) == [f"-- {line}"]


def test_money_of_another_currency_is_said_to_be_so(root: Path) -> None:
    """Euros can't be made of a column of dollars, which is used for the dollars."""
    found, _, to = _suggest(root, "earnings", "day,owner_channel_id,revenue_usd", ["2023-07-01,c1,1.5"])
    assert [(gap.column.name, gap.given) for gap in found.gaps] == [("eur", None)]
    assert "it counts USD, and the table EUR" in to.read_text()
    assert _gap_lines(to, "eur") == ["-- … AS eur,"]


def test_synonyms_are_of_columns_that_exist_and_of_texts_on_their_lists() -> None:
    """A slip in the data file would be a name that is never found, without an error."""
    columns = [column for table in TABLES.values() for column in table.columns]
    keys = {f"{name.removesuffix('s')}_id" for name in TABLES}  # as other tables call the `id` of one
    synonyms = read_synonyms()
    assert synonyms.names.keys() <= {column.name for column in columns} | keys
    for name, words in synonyms.words.items():
        (choices,) = {frozenset(column.choices) for column in columns if column.name == name}
        assert words.keys() <= choices | {""}
    lists = [*synonyms.names.values(), *(texts for words in synonyms.words.values() for texts in words.values())]
    for texts in lists:
        assert [text.lower().strip() for text in texts] == texts
        assert len(set(texts)) == len(texts)
