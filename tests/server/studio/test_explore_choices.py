"""What the explorer offers: metrics and dimensions in groups, and several values from a list."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

from tests.server.studio.test_explore import DAYS
from tests.server.studio.test_subjects import find_total
from tests.server.studio.visitor import Visitor, links, text_of

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import DIMENSION_GROUPS, FAMILY_LABELS, capitalize


def test_what_does_not_fit_is_greyed_with_its_reason(visitor: Visitor) -> None:
    """In the page's words, once for all of a family that the same refuses; the fields are disabled and described."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}").text
    assert re.search(
        r'<fieldset disabled class="off" aria-describedby="why-UPLOADS"><small id="why-UPLOADS">'
        r"Uploads can&#39;t be split by country\. Choose another split for these\.</small>\s*"
        r'<div><label><input type="checkbox">Uploads</label>',
        page,
    )
    assert page.count("Stock can&#39;t be split by country.") == 1
    assert "Views can&#39;t be split by this. What can: ads missed." in page
    assert re.search(r'value="TIME_WATCHED_SECONDS">', page)


def test_metrics_and_dimensions_stand_in_groups_with_their_sentences(visitor: Visitor) -> None:
    """Each once, that fits or not, below the heading of its family or of what it tells of."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}").text
    for id_, rows in (("metrics", list(Metric)), ("dimensions", [row for row in Dimension if row.grain is None])):
        part = re.search(rf'<details id="{id_}">.*?</details>', page, re.DOTALL)
        assert part is not None
        offered = re.findall(
            r'<div><label><input type="checkbox"[^>]*>[^<]*</label><small>([^<]*)</small></div>', part[0]
        )
        assert sorted(map(unescape, offered)) == sorted(row.sentence for row in rows)
    headings = re.findall("<legend>([^<]*)</legend>", page)
    assert headings == [capitalize(label) for label in (*FAMILY_LABELS.values(), *DIMENSION_GROUPS)]


def test_several_values_are_chosen_from_a_searched_list(visitor: Visitor) -> None:
    """Without a script: a long leaderboard is searched, and the view is narrowed to any of the checked rows."""
    listed = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&longer=VISITOR_COUNTRY&{DAYS}")
    assert 'name="only" value="VISITOR_COUNTRY:FR"' in listed.text
    found = visitor.get(f"{listed.url}&search=f").text
    assert set(re.findall(r'value="VISITOR_COUNTRY:(\w+)"', found)) == {"FR"}
    fields = re.search(r'<form[^>]*id="pick-VISITOR_COUNTRY".*?</form>', listed.text, re.DOTALL)
    assert fields is not None
    pairs = [(name, unescape(value)) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', fields[0])]
    query = urlencode([*pairs, ("only", "VISITOR_COUNTRY:FR"), ("only", "VISITOR_COUNTRY:DE")])
    both = visitor.get(f"/studio/explore?{query}").text
    assert "of country France or Germany alone" in text_of(both)
    totals = [int(find_total(visitor.get(f"{listed.url}&only=VISITOR_COUNTRY:{code}").text)) for code in ("FR", "DE")]
    assert int(find_total(both)) == sum(totals)
    report = visitor.get(links(both, "As a report")[0])
    assert "a report can't be narrowed so" in text_of(report.text)


def test_choices_notes_and_headings_are_french_in_french(visitor: Visitor) -> None:
    """No sentence of the catalog stays English, nor what the page says of its days, columns and refusals."""
    address = f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&compare=previous&{DAYS}"
    page = visitor.get(address, headers={"Accept-Language": "fr"}).text
    said = text_of(page)
    assert [row.name for row in (*Metric, *Dimension) if f"<small>{row.sentence}</small>" in page] == []
    for french in (
        "Vues par jour",
        "complet jusqu\N{RIGHT SINGLE QUOTATION MARK}au 31 juillet 2026",
        "Par rapport à : 17",
        "pas de répartition par pays",
        "valeurs ; les autres font",
        "Part du total Évolution",
        "Mesures : vues",
    ):
        assert french in said
    for english in (
        "Views by day",
        "Share of total",
        "Changed by",
        "can&#39;t be",
        "Compared with 1",
        " more<",
        "Days before",
    ):
        assert english not in page
