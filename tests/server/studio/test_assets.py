"""Files of the pages: what a browser gets, and how long it may keep it."""

from __future__ import annotations

import pytest
from tests.server.studio.conftest import OWNER, Visitors

from reelport.charts import write_page_stylesheet
from reelport.server.studio.pages import address_of


def test_the_styles_of_charts_are_a_file_of_the_pages(visitors: Visitors) -> None:
    """Nobody signs in for them; a browser keeps them for good under the address that names their content."""
    answer = visitors(None).get(address_of("charts.css"))
    assert answer.text == write_page_stylesheet()
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert visitors(None).get("/studio/static/charts.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br", "gzip"), ("", None), ("gzip;q=0", None), ("identity, gzip;q=0.5", None)],
)
def test_styles_and_scripts_are_compressed_for_those_who_take_it(
    visitors: Visitors, accepted: str, coding: str | None
) -> None:
    """The content is the same, and caches in between keep both apart."""
    answer = visitors(None).client.get(address_of("studio.js"), headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "addEventListener" in answer.text


def test_no_page_is_compressed(visitors: Visitors) -> None:
    """A page holds secrets beside what its address says: its length must not tell of them."""
    answer = visitors(OWNER).client.get("/studio/explore?metric=guess", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
