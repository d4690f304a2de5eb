"""The five reports that are measured: what is asked of the service, and where the same is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from benchmarks.facts import BIG_CHANNEL, DAYS, SMALL_CHANNEL, START
from reelport.query import ReportQuery

METRICS = ("VIEWS", "TIME_WATCHED_SECONDS")
_SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `organization` asks for it; `channel` owns its rows, None for those of the whole platform."""

    name: str
    organization: str
    channel: str | None
    days: int
    dimensions: tuple[str, ...]
    tables: tuple[str, ...]

    @property
    def questions(self) -> int:
        """How many different ranges of days there are to ask about."""
        return DAYS - self.days + 1

    def span(self, shift: int) -> tuple[date, date]:
        """Its first and last day. Another shift is another question of the same weight."""
        start = START + timedelta(days=shift % self.questions)
        return start, start + timedelta(days=self.days - 1)

    def query(self, shift: int) -> ReportQuery:
        """What is asked of the service."""
        start, end = self.span(shift)
        return ReportQuery.of(METRICS, self.dimensions, start, end)

    def sql(self, dialect: str, shift: int, sources: Mapping[str, str]) -> str:
        """The same by hand, `sources` being what stands for each table."""
        start, end = self.span(shift)
        text = (_SQL / f"{self.name}.{dialect}.sql").read_text()
        return text.format(start=_midnight(start), end=_midnight(end + timedelta(days=1)), **sources)


def _midnight(day: date) -> str:
    return f"{day} 00:00:00+00"


REPORTS = (
    Report("small", "one", SMALL_CHANNEL, 4, ("DAY", "VIDEO_TITLE"), ("plays", "videos")),
    Report("medium", "big", BIG_CHANNEL, 180, ("DAY", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE"), ("plays",)),
    Report(
        "huge",
        "big",
        BIG_CHANNEL,
        180,
        (
            "DAY",
            "VIDEO_ID",
            "VIDEO_TITLE",
            "MEDIA_TYPE",
            "ACTION",
            "VISITOR_COUNTRY",
            "VISITOR_DEVICE_TYPE",
            "VISITOR_SUBDOMAIN",
        ),
        ("plays", "videos"),
    ),
    Report("platform", "platform", None, 180, ("MONTH", "VIDEO_OWNER_CHANNEL_SLUG"), ("plays", "channels")),
    Report("daily", "platform", None, 180, ("DAY", "VIDEO_OWNER_CHANNEL_SLUG"), ("plays", "channels")),
)
