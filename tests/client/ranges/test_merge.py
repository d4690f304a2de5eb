"""Merging windows' files: the rules that the catalog gives, exact numbers, the order of rows, and bounded memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport import MergeRefused, Metric, ReportQuery
from reelport.additivity import Added, Rate
from reelport.client.ranges.merge import compute_cell, merge
from reelport.client.ranges.plan import MergePlan, MergeRule, needs_whole_months, plan_merge

START, END = date(2024, 1, 1), date(2025, 12, 31)


def asked(metrics: str, dimensions: str = "", **filters: str) -> ReportQuery:
    """A query of two years from names set apart by spaces."""
    return ReportQuery.of(metrics.split(), dimensions.split(), START, END, filters)


def how(query: ReportQuery, *, months: bool = True, ordered: bool = True) -> MergePlan:
    return plan_merge(query, months=months, ordered=ordered)


class Kept:
    """An output that keeps what is written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def rewind(self) -> None:
        """Keep nothing."""
        self.data.clear()


def merged(made: MergePlan, folder: Path, files: Sequence[str | bytes], *, held: int = 1 << 20) -> str:
    """What the files come to; nothing else is left in the folder."""
    paths = [folder / f"window{number:04}.csv" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    output = Kept()
    for _ in merge(made, paths, output, folder, held=held):
        pass
    assert sorted(folder.iterdir()) == paths
    return output.data.decode()


@pytest.mark.parametrize(
    ("dimensions", "way"),
    [
        ("DAY", MergeRule.APPENDED),
        ("HOUR VIDEO_ID", MergeRule.APPENDED),
        ("MONTH VIDEO_ID", MergeRule.APPENDED),
        ("MONTH DAY", MergeRule.APPENDED),
        ("VIDEO_ID DAY", MergeRule.SORTED),
        ("CONTENT_TAG MONTH", MergeRule.SORTED),
        ("VIDEO_ID", MergeRule.SUMMED),
        ("", MergeRule.SUMMED),
    ],
)
def test_a_time_dimension_decides_how_windows_are_merged(dimensions: str, way: MergeRule) -> None:
    """Time first: one after another. Time elsewhere: put in order. No time: added up."""
    assert how(asked("VIEWS", dimensions)).rule is way


def test_rows_of_a_service_whose_order_is_not_known_are_put_in_order() -> None:
    """Only a service that promises sorted rows has its windows put one after another as they are."""
    assert how(asked("VIEWS", "DAY"), ordered=False).rule is MergeRule.SORTED


def test_months_are_kept_whole_where_nothing_finer_keeps_windows_apart() -> None:
    """MONTH aligns windows; beside DAY it does so only where a month fits into a window."""
    assert needs_whole_months(asked("VIEWS", "MONTH"), 180)
    assert needs_whole_months(asked("VIEWS", "MONTH"), 7)
    assert needs_whole_months(asked("VIEWS", "DAY MONTH"), 31)
    assert not needs_whole_months(asked("VIEWS", "DAY MONTH"), 30)
    assert not needs_whole_months(asked("VIEWS", "DAY"), 180)
    assert how(asked("VIEWS", "MONTH VIDEO_ID DAY"), months=False).rule is MergeRule.SORTED
    assert how(asked("VIEWS", "MONTH DAY"), months=False).rule is MergeRule.APPENDED


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (asked("LIVE_VIEWERS"), "LIVE_VIEWERS is a distinct count"),
        (asked("STORAGE_USED_BYTES", "VIDEO_ID"), "days don't add up"),
        (asked("VIEW_THROUGH_RATE"), "VIEW_THROUGH_RATE is a rate, and the parts"),
        (asked("VIEWS", "CONTENT_TAG"), "CONTENT_TAG gives one fact to several rows"),
        (asked("ECPM_EUR"), "ECPM_EUR is a rate, and the parts"),
        (asked("ERPM_USD", "BUYER"), "ERPM_USD is a rate, and the parts"),
        (asked("VIEWS_IN_SPACE"), "VIEWS_IN_SPACE is not known"),
        (asked("VIEWS", "PLANET"), "PLANET is not known"),
    ],
)
def test_what_cannot_be_right_is_refused_with_advice(query: ReportQuery, said: str) -> None:
    """The reason is named, and what would work; with a DAY all of these are merged."""
    with pytest.raises(MergeRefused, match=said) as caught:
        how(query)
    assert "Add DAY or MONTH" in str(caught.value)
    assert "keep_windows" in str(caught.value)
    with_day = ReportQuery.of(query.metrics, ["DAY", *query.dimensions], START, END)
    assert how(with_day).rule is MergeRule.APPENDED


def test_all_reasons_are_told_at_once() -> None:
    """A query with three faults hears of three."""
    with pytest.raises(MergeRefused) as caught:
        how(asked("LIVE_VIEWERS STORAGE_USED_BYTES", "CONTENT_TAG"))
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "CONTENT_TAG",
        "LIVE_VIEWERS",
        "STORAGE_USED_BYTES",
        "Add",
    ]


def test_parts_of_rates_are_asked_for_silently_and_once() -> None:
    """A part that is asked for already is used; the others come behind the asked metrics."""
    made = how(asked("AVERAGE_WATCH_TIME_SEC VIEWS"))
    assert made.asked.metrics == ("AVERAGE_WATCH_TIME_SEC", "VIEWS", "TIME_WATCHED_SECONDS")
    assert made.silent == ("TIME_WATCHED_SECONDS",)
    assert made.cells == (Rate(2, (1,), 1, 2), Added(1, 0))
    assert how(asked("FILL_RATE VIEWABILITY_SCORE")).silent == (
        "NB_IMPRESSION",
        "SELLABLE_INVENTORY",
        "HIGH_VIEWABLE_IMPRESSIONS",
    )


def test_a_rate_is_computed_from_whichever_parts_go_with_the_query() -> None:
    """By a dimension that one part can't be split by, another metric with the same sum is taken."""
    assert how(asked("NO_AD_RATE")).silent == ("NO_ADS", "TOTAL_INVENTORY")
    by_reason = how(asked("NO_AD_RATE", "NOAD_REASON_READABLE"))
    assert by_reason.silent == ("NO_ADS", "TOTAL_INVENTORY")
    assert how(asked("NO_AD_RATE SELLABLE_INVENTORY NO_ADS")).silent == ()


def test_each_metric_is_merged_or_refused_and_no_part_needs_another_scope() -> None:
    """Over the whole catalog: additive is summed, a rate's parts are additive and need no more than the rate."""
    for metric in Metric:
        query = ReportQuery.of([metric], [], START, END)
        try:
            made = how(query)
        except MergeRefused:
            assert not metric.additive
            continue
        for name in made.silent:
            assert Metric[name].additive
            assert Metric[name].family.scopes <= metric.family.scopes


def test_windows_one_after_another_keep_their_bytes(tmp_path: Path) -> None:
    """Rows keep their quotes and line ends inside of cells; the header is there once; a last line gets its end."""
    made = how(asked("VIEWS", "DAY VIDEO_TITLE"))
    first = 'day,video_title,views\n2024-01-01,"a ""b"",\nc",1\n'
    assert merged(made, tmp_path, [first, "day,video_title,views\n", "day,video_title,views\n2024-07-01,x,2"]) == (
        first + "2024-07-01,x,2\n"
    )


def test_rows_of_windows_are_put_in_the_order_of_their_cells(tmp_path: Path) -> None:
    """By the cells' UTF-8 bytes in the asked order, empty ones last, whatever stands in quotes."""
    made = how(asked("VIEWS", "VIDEO_TITLE DAY"))
    header = "video_title,day,views\n"
    one = header + '"a ""b""",2024-01-01,1\nZ,2024-01-01,2\na,2024-01-01,3\né,2024-01-01,4\n,2024-01-01,5\n'
    other = header + '"a,b",2024-07-01,6\na,2024-07-01,7\n😀,2024-07-01,8\n,2024-07-01,9\n'
    found = merged(made, tmp_path, [one, other]).splitlines()[1:]
    assert [line[-1] for line in found] == list("237164" + "859")


def test_sums_are_exact_and_keep_their_digits(tmp_path: Path) -> None:
    """A cent is not lost among billions, and money keeps six digits."""
    made = how(asked("ESTIMATED_EARNINGS_EUR VIEWS", "VIDEO_ID"))
    header = "video_id,estimated_earnings_eur,views\n"
    files = [
        header + "v1,0.100000,9007199254740993\nv2,0.000000,0\n",
        header + "v1,0.200000,1\nv3,12345678901234567890.000001,5\n",
        header + "v1,-0.300000,0\nv3,0.000001,1\n",
    ]
    assert merged(made, tmp_path, files) == (
        header + "v1,0.000000,9007199254740994\nv2,0.000000,0\nv3,12345678901234567890.000002,6\n"
    )


def test_rates_are_computed_anew_and_their_parts_dropped(tmp_path: Path) -> None:
    """Half up, with the catalog's digits; empty where there is nothing to divide by."""
    made = how(asked("FILL_RATE", "VIDEO_ID"))
    header = "video_id,fill_rate,nb_impression,sellable_inventory\n"
    files = [header + "v1,0.5000,1,2\nv2,,0,0\nv3,0.1000,1,10\n", header + "v1,0.0000,0,30\nv2,,0,0\n"]
    assert merged(made, tmp_path, files) == "video_id,fill_rate\nv1,0.0313\nv2,\nv3,0.1000\n"


def test_totals_without_dimensions_are_one_row_or_none(tmp_path: Path) -> None:
    """Windows without facts add nothing; where none has any, only the header is left. An empty cell alone is a row."""
    made = how(asked("VIEWS"))
    assert merged(made, tmp_path, ["views\n3\n", "views\n", "views\n4\n"]) == "views\n7\n"
    assert merged(made, tmp_path, ["views\n", "views\n", "views\n"]) == "views\n"
    made = how(asked("FILL_RATE"))
    header = "fill_rate,nb_impression,sellable_inventory\n"
    assert merged(made, tmp_path, [header + ",0,0\n", header + ",0,0\n", header]) == "fill_rate\n\n"


def test_what_another_vendor_writes_is_understood_or_refused(tmp_path: Path) -> None:
    """Windows' line ends, a mark at the start, unsorted rows, exponents and empty cells; but no words for numbers."""
    made = how(asked("VIEWS ESTIMATED_EARNINGS_EUR", "VIDEO_ID"), ordered=False)
    header = "video_id,views,estimated_earnings_eur\n"
    files = [
        "\ufeff" + header.replace("\n", "\r\n") + "b,1,4e-05\r\na,2,\r\nb,1,1\r\n",
        header + "c,,0.5\nNA,5,1.5\na,1,",
    ]
    assert merged(made, tmp_path, files) == header + "NA,5,1.500000\na,3,\nb,2,1.000040\nc,,0.500000\n"
    with pytest.raises(MergeRefused, match="VIEWS holds 'NA'"):
        merged(made, tmp_path, [header + "a,NA,1\n", header + "a,1,1\n"])


@given(
    st.integers(-(10**20), 10**20) | st.decimals(-(10**12), 10**12, places=6),
    st.integers(0, 10**15),
    st.sampled_from([1, 100, 1000]),
    st.integers(0, 4),
)
def test_a_rate_is_rounded_half_up_from_exact_parts(above: int | Decimal, below: int, scale: int, digits: int) -> None:
    """Against the definition in fractions; no sum is ever a float."""
    found = compute_cell(Rate(0, (1,), scale, digits), [above, below])
    if below == 0:
        assert found == b""
        return
    exact = Fraction(above) * scale / below * 10**digits
    half_up = int(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
    assert Fraction(found.decode()) * 10**digits == half_up
    assert len(found.partition(b".")[2]) == digits


Table = dict[tuple[str, str], int]
cells = st.text(st.characters(exclude_characters="\r", codec="utf-8"), max_size=4)


@given(
    st.lists(st.dictionaries(st.tuples(cells, cells), st.integers(0, 9), max_size=6), min_size=1, max_size=5),
    st.booleans(),
    st.integers(1, 2000),
)
def test_any_tables_are_added_up_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, tables: list[Table], shuffled: bool, held: int
) -> None:
    """Whatever the cells hold, sorted or not, in memory or by way of the disk: the sums are a dictionary's."""
    folder = tmp_path_factory.mktemp("merge")
    made = how(asked("VIEWS", "VIDEO_TITLE VIDEO_ID"), ordered=not shuffled)
    files = [written(table, shuffled=shuffled) for table in tables]
    total: Table = {}
    for table in tables:
        for key, value in table.items():
            total[key] = total.get(key, 0) + value
    assert merged(made, folder, files, held=held) == written(total)


def written(table: Table, *, shuffled: bool = False) -> str:
    """A table as a service writes it, or in no order at all."""
    rows = sorted(table.items(), key=lambda row: tuple((cell == "", cell.encode()) for cell in row[0]))
    if shuffled:
        random.Random(len(rows)).shuffle(rows)  # noqa: S311 - any order will do
    lines = [",".join([*map(quoted, key), str(value)]) for key, value in rows]
    return "".join(f"{line}\n" for line in ["video_title,video_id,views", *lines])


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in '",\n') else cell


def test_more_windows_than_may_be_open_are_merged_by_stages(tmp_path: Path) -> None:
    """Three hundred windows of a day each: sums and rates are those of one pass."""
    made = how(asked("FILL_RATE NB_IMPRESSION", "VIDEO_ID"))
    header = "video_id,fill_rate,nb_impression,sellable_inventory\n"
    files = [header + f"v{number % 7},0.5000,{number},{2 * number + 1}\n" for number in range(300)]
    sums = [[sum(value) for value in zip(*rows, strict=True)] for rows in numbered(300)]
    wanted = [
        f"v{place},{compute_cell(Rate(0, (1,), 1, 4), each).decode()},{each[0]}" for place, each in enumerate(sums)
    ]
    assert merged(made, tmp_path, files).splitlines()[1:] == wanted


TITLE = '"a ""b"", #1\né"'


@pytest.mark.parametrize(
    ("windows", "rows"),
    [
        (
            [f"{TITLE},v1,0.500000,1.00,3,6\n", f"{TITLE},v1,0.250000,,1,9223372036854775807"],
            f"{TITLE},v1,0.750000,2305843009213693953.25,4\n",
        ),
        (['"",v1,1,,1,1\n', "", '"",v1,2.5,,2,1\n"",,,,,\n'], '"",v1,3.500000,0.67,3\n"",,,,\n'),
        (["a #1,v,0.000001,,0,1\n"], "a #1,v,0.000001,,0\n"),
    ],
)
def test_what_a_service_writes_is_added_up(tmp_path: Path, windows: list[str], rows: str) -> None:
    """Quotes, both kinds of empty cells, money, a last line without its end, and sums beyond 64 bits."""
    made = how(asked("ESTIMATED_EARNINGS_EUR AVERAGE_WATCH_TIME_SEC VIEWS", "VIDEO_TITLE VIDEO_ID"))
    header = ",".join((*made.asked.dimensions, *made.asked.metrics)).lower() + "\n"
    assert merged(made, tmp_path, [header + window for window in windows]).partition("\n")[2] == rows


def test_what_a_service_writes_is_put_in_order(tmp_path: Path) -> None:
    """By UTF-8 bytes, empty last, rows of one key as they came, a last line without its end."""
    windows = [f"😀,d,1\nb,d,9\n,d,2\n{TITLE},d,3\n", 'b,d,8\nb,d,\n"",d,4\né,d,5\n\uffff,d,6']
    wanted = f'{TITLE},d,3\nb,d,9\nb,d,8\nb,d,\né,d,5\n\uffff,d,6\n😀,d,1\n,d,2\n"",d,4\n'
    header = "video_title,day,views\n"
    found = merged(how(asked("VIEWS", "VIDEO_TITLE DAY")), tmp_path, [header + window for window in windows])
    assert found == header + wanted


def test_rows_of_equal_keys_stay_in_the_order_of_their_windows(tmp_path: Path) -> None:
    """Of however many: a row that a misbehaving vendor gives twice comes first from the oldest window."""
    made = how(asked("VIEWS", "VIDEO_ID DAY"))
    files = [f"video_id,day,views\nv,2024-01-01,{number}\n" for number in range(150)]
    assert merged(made, tmp_path, files).splitlines()[1:] == [f"v,2024-01-01,{number}" for number in range(150)]


def numbered(count: int) -> Iterator[list[tuple[int, int]]]:
    for place in range(7):
        yield [(number, 2 * number + 1) for number in range(count) if number % 7 == place]


@pytest.mark.long
def test_an_unsorted_file_is_sorted_within_a_bound_of_memory(tmp_path: Path) -> None:
    """Forty thousand rows in no order are sorted in about the memory that is given, the rest goes by way of files."""
    rows = [f"v{number * 7919 % 40_000:05},{number}" for number in range(40_000)]
    path, output = tmp_path / "window.csv", Kept()
    path.write_text("\n".join(["video_id,views", *rows, ""]), encoding="utf-8")
    tracemalloc.start()
    for _ in merge(how(asked("VIEWS", "VIDEO_ID")), [path], output, tmp_path, held=1 << 18):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30 << 20
    assert output.data.decode().splitlines()[1:] == sorted(rows)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.long
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Adding up four windows of 20,000 rows holds a few of them at a time."""
    made = how(asked("VIEWS", "VIDEO_ID"))
    text = "video_id,views\n" + "".join(f"v{number:06},1\n" for number in range(20_000))
    tracemalloc.start()
    found = merged(made, tmp_path, [text] * 4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == text.replace(",1\n", ",4\n")
    assert most < 12 << 20
