"""What an engine keeps of the system's memory while it does nothing."""

from __future__ import annotations

from pathlib import Path

from tests.patience import until

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import Plan

LARGE = Plan(
    "SELECT count(*) AS n FROM (SELECT hash(i)::TEXT AS s, count(*) FROM range(1500000) t(i) GROUP BY s)", ("n",)
)


def read_anonymous() -> int:
    """Bytes of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def test_an_idle_engine_gives_back_what_a_large_report_took(tmp_path: Path) -> None:
    """Its allocator would keep the pages for good otherwise, and each worker would rest in its largest report."""
    with QueryEngine("1GB", 2, tmp_path) as engine:
        session = engine.session()
        before = read_anonymous()
        assert session.fetch(LARGE, "a test") == [(1_500_000,)]
        taken = read_anonymous() - before
        assert taken > 50_000_000
        assert until(lambda: read_anonymous() - before < taken / 3)
        session.close()
