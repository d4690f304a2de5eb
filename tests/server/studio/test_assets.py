"""Files of the pages: what a browser gets, and how long it may keep it."""

from __future__ import annotations

from tests.server.studio.conftest import Visitors

from reelport.charts import write_page_stylesheet
from reelport.server.studio.assets import address_of


def test_the_styles_of_charts_are_a_file_of_the_pages(visitors: Visitors) -> None:
    """Nobody signs in for them; a browser keeps them for good under the address that names their content."""
    answer = visitors(None).get(address_of("charts.css"))
    assert answer.text == write_page_stylesheet()
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert visitors(None).get("/studio/static/charts.css").headers["cache-control"] == "no-cache"
