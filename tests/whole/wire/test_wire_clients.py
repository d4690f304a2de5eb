"""Programs written for Dailymotion's host work here with only the host name changed."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from reelport.testing import Service

from .clients import Checker, Nightly

DATES = {"startDate": "2026-01-02", "endDate": "2026-01-03"}


def test_the_careful_client_gets_its_files(service: Service) -> None:
    """Old sample's form, whole input, fixed rhythm, links only at the end."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    given = {"metrics": ["VIEWS", "NB_IMPRESSION"], "dimensions": ["DAY", "VIDEO_ID"], "product": "ALL", **DATES}
    (file,) = client.report(given)
    header, *rows = file.splitlines()
    assert header == "day,video_id,views,nb_impression"
    assert rows
    assert {row[:10] for row in rows} == {"2026-01-02", "2026-01-03"}


def test_the_careful_client_sees_a_refusal(service: Service) -> None:
    """The first error's message says what to change."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    with pytest.raises(RuntimeError, match=r"Did you mean VIEWS\?"):
        client.report({"metrics": ["VIEWZ"], "dimensions": ["DAY"], **DATES})


def test_the_nightly_client_gets_all_its_reports(service: Service) -> None:
    """Aliases on both sides, one poll for three tokens, earnings by manage_reports alone."""
    key = service.key("demo")
    client = Nightly(service.url, key.id, key.secret)
    assert client.refresh is None
    views, earnings, hours = client.reports(
        {"metrics": ["VIEWS", "VIEW_THROUGH_RATE"], "dimensions": ["DAY", "VIDEO_ID", "MEDIA_TYPE"], **DATES},
        {"metrics": ["ESTIMATED_EARNINGS_EUR"], "dimensions": ["DAY", "VIDEO_ID", "VISITOR_PAGE_URL"], **DATES},
        {"metrics": ["VIEWS"], "dimensions": ["HOUR"], **DATES},
    )
    assert views[0].keys() == {"day", "video_id", "media_type", "views", "view_through_rate"}
    assert earnings[0].keys() == {"day", "video_id", "visitor_page_url", "estimated_earnings_eur"}
    per_day: Counter[str] = Counter()
    for row in views:
        per_day[row["day"]] += int(row["views"])
    per_day_of_hours: Counter[str] = Counter()
    for row in hours:
        per_day_of_hours[row["hour"][:10]] += int(row["views"])
    assert per_day == per_day_of_hours
    assert {date.fromisoformat(day) for day in per_day} == {date(2026, 1, 2), date(2026, 1, 3)}


def test_no_secret_of_these_tests_is_in_the_services_log(service: Service) -> None:
    """Whatever ran before: no token, no secret, no signature stands in what the processes wrote."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    client.report({"metrics": ["VIEWS"], "dimensions": [], **DATES})
    log = service.log
    assert "/oauth/v1/token" in log
    for mark in (key.secret, client.token, "rps_", "rpt_", "rpr_", "signature=", "Bearer r"):
        assert mark not in log
