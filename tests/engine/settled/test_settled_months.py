"""Months that are kept give later reports the same bytes, and none where the facts behind them changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import thin_out
from tests.engine import sample
from tests.engine.drawn import queries
from tests.engine.rollups.conftest import MINE as OWN
from tests.engine.rollups.conftest import Facts
from tests.engine.world import World

from reelport.catalog import Product
from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.duckdb.engine import Engine, Session
from reelport.engine.pieces import plan_pieces
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList
from reelport.engine.settled.aggregator import SettledAggregator, list_whole_months
from reelport.engine.settled.store import KeptMonths
from reelport.engine.tenant import Tenant
from reelport.errors import DiskFull
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery

MINE = Tenant(sample.MINE)
LATER = date(2030, 1, 1)


@dataclass
class Months:
    """Makes reports of one version of the facts, with months kept in a folder."""

    snapshot: Snapshot
    engine: Engine
    folder: Path
    space: int = 10**8
    tenant: Tenant = MINE
    settled: date = LATER

    def kept(self) -> KeptMonths:
        """The months that are kept, as each process sees them."""
        return KeptMonths(self.folder / "facts", self.space, self.folder / "drafts")

    def report(self, query: ReportQuery, *, worth: int = 0) -> int:
        """Hold the report to the one without kept months; how many of them were read."""
        session, plain = self.engine.session(), self.engine.session()
        settled = SettledAggregator(self.kept(), DUCKDB, session.run_beside, self.settled, least_rows=1)
        texts = [self._write(session, query, settled, worth), self._write(plain, query, DUCKDB, worth)]
        assert texts[0] == texts[1]
        return len(settled.used)

    def _write(self, session: Session, query: ReportQuery, aggregator: Aggregator, worth: int) -> bytes:
        path = self.folder / "report.csv"
        session.write(plan_pieces(query, self.tenant, self.snapshot, aggregator=aggregator, worth=worth), path)
        session.close()
        return path.read_bytes()

    def stored(self) -> list[Path]:
        """The files of the months that are kept."""
        return sorted(self.kept().folder.glob("*.parquet"))


@pytest.fixture
def months(world: World, engine: Engine, tmp_path: Path) -> Months:
    return Months(world.snapshot, engine, tmp_path)


def of_days(start: date, end: date, *dimensions: str, metrics: tuple[str, ...] = ("VIEWS",)) -> ReportQuery:
    return ReportQuery.of(metrics, dimensions, start, end, {}, Product.ALL)


JUNE, JULY = date(2023, 6, 1), date(2023, 7, 1)
ALL_DAYS = JUNE, date(2023, 7, 31)


@pytest.mark.parametrize(
    "dimensions", thin_out([(("DAY", "CHANNEL_SLUG"),), (("MONTH",),), (("VISITOR_COUNTRY",),), ((),)], 4), ids=str
)
def test_a_month_is_kept_when_it_is_asked_for_again(months: Months, dimensions: tuple[str, ...]) -> None:
    """The first report leaves no file, the second keeps its months, and longer or shifted ranges read them."""
    assert months.report(of_days(*ALL_DAYS, *dimensions)) == 0
    assert months.stored() == []
    assert months.report(of_days(*ALL_DAYS, *dimensions)) == 2
    assert len(months.stored()) == 2
    assert months.report(of_days(JUNE - timedelta(days=40), date(2023, 8, 20), *dimensions)) == 2
    assert months.report(of_days(JUNE, date(2023, 7, 3), *dimensions)) == 1
    assert months.report(of_days(date(2023, 6, 27), date(2023, 7, 31), *dimensions)) == 1
    assert months.report(of_days(date(2023, 6, 2), date(2023, 7, 30), *dimensions)) == 0
    assert len(months.stored()) == 2


def test_another_question_finds_no_month(months: Months) -> None:
    """Other channels, filters, dimensions, metrics or products: each has months of its own."""
    for _ in range(2):
        months.report(of_days(*ALL_DAYS, "DAY"))
    others = [
        of_days(*ALL_DAYS, "DAY", "MEDIA_TYPE"),
        of_days(*ALL_DAYS, "DAY", metrics=("TIME_WATCHED_SECONDS",)),
        ReportQuery.of(["VIEWS"], ["DAY"], *ALL_DAYS, {"mediaType": "video"}, Product.ALL),
        ReportQuery.of(["VIEWS"], ["DAY"], *ALL_DAYS, {}, Product.EMBED),
    ]
    assert [months.report(query) for query in others] == [0] * 4
    months.tenant = Tenant(frozenset({"c-news"}))
    assert months.report(of_days(*ALL_DAYS, "DAY")) == 0


@settings(max_examples=max(settings().max_examples // 5, 3))
@given(query=queries(), whole=st.booleans())
def test_a_drawn_report_is_the_same_with_kept_months(
    world: World, engine: Engine, tmp_path_factory: pytest.TempPathFactory, query: ReportQuery, whole: bool
) -> None:
    """Whatever is asked, three times: not kept, being kept, kept. What doesn't add up over days is never kept."""
    months = Months(world.snapshot, engine, tmp_path_factory.mktemp("drawn"))
    longer = ReportQuery.of(query.metrics, query.dimensions, *ALL_DAYS, dict(query.filters), query.product)
    for asked in (longer, longer, longer if whole else query):
        months.report(asked)


def test_a_month_whose_facts_changed_is_not_read(tmp_path: Path, engine: Engine) -> None:
    """A load into it, a replacement, an undo: other files, so another key; the other month stays."""
    facts = Facts(tmp_path / "facts", engine)
    days = [date(2026, 1, 5), date(2026, 2, 5)]
    facts.load(*days)
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 2, 28), {}, Product.ALL)

    def report() -> int:
        return Months(facts.pin(), engine, tmp_path, tenant=Tenant(frozenset({"c1", "c2"}))).report(query)

    assert [report(), report(), report()] == [0, 2, 2]
    facts.load(days[0])
    assert [report(), report()] == [1, 2]
    facts.load(days[1], span=(days[1], days[1]))
    assert report() == 1
    facts.undo(2)
    assert report() in {1, 2}
    facts.compact()
    assert report() <= 2


def test_a_month_is_kept_from_the_facts(tmp_path: Path, engine: Engine) -> None:
    """Not from a rollup, which may be wrong: what is then forgotten must not live on in the month."""
    facts = Facts(tmp_path / "facts", engine)
    facts.load(date(2026, 1, 5), rows=300)
    facts.add("visitor_country")
    facts.build()
    (segment,) = facts.root.glob(".rollups/*/*.parquet")
    with duckdb.connect() as session:
        rows = session.sql(f"SELECT * REPLACE (views * 2 AS views) FROM '{segment}'").to_arrow_table()
    pq.write_table(rows, segment)
    query = ReportQuery.of(["VIEWS"], ["MONTH"], date(2026, 1, 1), date(2026, 1, 31), {}, Product.ALL)
    months = Months(facts.pin(), engine, tmp_path, tenant=OWN)
    writer = engine.session()
    rollups = RollupAggregator(RollupList.read(facts.root))
    settled = SettledAggregator(months.kept(), rollups, writer.run_beside, LATER, least_rows=1)
    for _ in range(2):
        writer.write(plan_pieces(query, OWN, months.snapshot, aggregator=settled, worth=0), tmp_path / "report.csv")
    writer.close()
    assert rollups.was_used
    assert months.report(query) == 1


def test_a_month_that_may_still_change_is_not_kept(months: Months) -> None:
    """Until its last day is settled."""
    months.settled = date(2023, 7, 31)
    assert [months.report(of_days(*ALL_DAYS, "DAY")) for _ in range(2)] == [0, 1]
    months.settled = date(2023, 8, 1)
    assert [months.report(of_days(*ALL_DAYS, "DAY")) for _ in range(2)] == [1, 2]


def test_what_was_used_least_recently_goes_first(months: Months) -> None:
    """Within the space, and each use counts."""
    store = months.kept()
    store = KeptMonths(store.root, 100, store.drafts)
    for name in ("one", "two", "three"):
        store.keep(name, lambda draft: _write(draft, 10))
        os.utime(store.folder / f"{name}.parquet", (1, len(name)))
    assert store.find("one") is not None
    for number in range(8):
        assert store.keep(f"more {number}", lambda draft: _write(draft, 10)) is not None
    assert store.find("two") is None
    assert store.find("one") is not None
    assert sum(path.stat().st_size for path in months.stored()) == 100


def _write(draft: Path, size: int) -> None:
    draft.write_bytes(b"x" * size)


def test_a_month_that_takes_too_much_is_not_tried_again(months: Months) -> None:
    """A tenth of the space is the most; the report is made as if nothing were kept."""
    months.space = 1000
    query = of_days(*ALL_DAYS, "DAY")
    assert [months.report(query) for _ in range(2)] == [0, 0]
    months.space = 10**8
    assert months.report(query) == 0
    assert months.stored() == []


def test_a_full_disk_only_means_that_nothing_is_kept(months: Months, tmp_path: Path) -> None:
    """Neither an error of the system nor one of the engine ends a report."""
    full = DiskFull("the disk is full: make room")
    for error in (OSError(28, "No space left on device"), full):

        def refuse(draft: Path, error: Exception = error) -> None:
            draft.write_bytes(b"half")
            raise error

        store = months.kept()
        if isinstance(error, OSError):
            assert store.keep("key", refuse) is None
        else:
            with pytest.raises(DiskFull):
                store.keep("key", refuse)
        assert months.stored() == []
        assert list((tmp_path / "drafts").iterdir()) == []


def test_a_disk_that_is_full_for_the_engine_keeps_no_month(months: Months) -> None:
    """The engine tells its own error of a full disk as one, which ends no report."""
    months.report(of_days(*ALL_DAYS, "DAY"))
    session = months.engine.session()

    def fill(_sql: str) -> None:
        session.run_beside("COPY (SELECT range FROM range(100000)) TO '/dev/full' (FORMAT CSV)")

    with pytest.raises(DiskFull):
        fill("")
    settled = SettledAggregator(months.kept(), DUCKDB, fill, LATER, least_rows=1)
    plan = plan_pieces(of_days(*ALL_DAYS, "DAY"), MINE, months.snapshot, aggregator=settled, worth=0)
    session.write(plan, months.folder / "report.csv")
    session.close()
    assert (settled.used, months.stored()) == ([], [])


def test_two_keep_one_month(months: Months) -> None:
    """Both write drafts of their own; the first stays, for reports may be reading it, and no draft does."""
    store = months.kept()
    inner = store.keep("key", lambda draft: _keep_inside(store, draft))
    assert inner is not None
    assert inner.read_bytes() == b"inner"
    assert [path.name for path in months.stored()] == ["key.parquet"]
    assert list(store.drafts.iterdir()) == []


def _keep_inside(store: KeptMonths, draft: Path) -> None:
    draft.write_bytes(b"outer")
    assert store.keep("key", _write_inner) is not None


def _write_inner(draft: Path) -> None:
    draft.write_bytes(b"inner")


def test_whole_months_are_told() -> None:
    """Over the turn of a year, and none where the days hold no whole month."""
    found = list(list_whole_months(date(2025, 11, 2), date(2026, 2, 27)))
    assert found == [(date(2025, 12, 1), date(2025, 12, 31)), (date(2026, 1, 1), date(2026, 1, 31))]
    assert list(list_whole_months(date(2026, 1, 1), date(2026, 1, 30))) == []
    assert list(list_whole_months(date(2026, 2, 1), date(2026, 2, 28))) == [(date(2026, 2, 1), date(2026, 2, 28))]
