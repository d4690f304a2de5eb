"""Ranges of 120 days: what is asked for, what a vendor was asked, and days whose reports fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from reelport import ReportQuery
from reelport.testing import Vendor

START, END = date(2025, 1, 1), date(2025, 4, 30)


def asked(metrics: str, dimensions: str = "", start: date = START, end: date = END) -> ReportQuery:
    """A query of 120 days from names set apart by spaces."""
    return ReportQuery.of(metrics.split(), dimensions.split(), start, end)


def days(vendor: Vendor) -> list[tuple[str, str]]:
    """The ranges that were asked for, the earliest first."""
    return sorted((wire["startDate"][5:], wire["endDate"][5:]) for wire in vendor.asks)


def bad(*bad_days: date) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an ask covers one of these days, whose reports fail."""
    return lambda wire: any(wire["startDate"] <= day.isoformat() <= wire["endDate"] for day in bad_days)
