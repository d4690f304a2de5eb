"""Pages are in the language of the visit; each language has every text and nothing stale."""

from __future__ import annotations

import contextvars
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po
from jinja2 import nodes
from tests.server.studio.conftest import MEMBER, Visitors

import reelport
from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import label_value
from reelport.charts.amounts import format_short
from reelport.charts.time_axis import describe_time
from reelport.language import localize, write_in
from reelport.server.access.audit_log import Action, Actor, AuditEntry, describe_action
from reelport.server.studio import pages
from reelport.server.studio.formats import write_number, write_share
from reelport.server.studio.languages import choose_language, load_languages
from reelport.wording import format_day, format_days, format_size

PACKAGE = Path(reelport.__file__).parent
SETTINGS = Path(__file__).parents[3] / "pyproject.toml"
OTHERS = [code for code in load_languages() if code != "en"]
# Attributes whose text is shown or read out.
READ_OUT = re.compile(r'(?:aria-label|title|placeholder|alt|data-label)="([^"]*)"')
# What a translation may not change: values that are filled in, and tags with their attributes.
FIXED = re.compile(r"%\(\w+\)s|<[^>]+>")


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Every text that code and templates mark."""
    path = tmp_path_factory.mktemp("texts") / "all.pot"
    words = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-o", str(path)]
    subprocess.run([*words, "-F", str(SETTINGS), str(PACKAGE)], check=True)
    with path.open("rb") as file:
        return read_po(file)


def read_language(code: str) -> Catalog:
    """The file of a language."""
    folder = resources.files("reelport.server.studio.languages")
    with folder.joinpath(f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def ids(catalog: Catalog) -> set[object]:
    """The texts of a catalog, those with a plural as tuples."""
    return {tuple(message.id) if message.pluralizable else message.id for message in catalog if message.id}


def translations(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Each text with each of its translations; a plural's are compared with the plural."""
    for message in catalog:
        text = message.id if isinstance(message.id, str) else message.id[-1]
        for translated in [message.string] if isinstance(message.string, str) else message.string or [""]:
            if text:
                yield text, translated or ""


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_has_every_text_and_none_that_is_gone(marked: Catalog, code: str) -> None:
    """`make texts` brings new texts into the file, where their translations are to be written."""
    found = read_language(code)
    assert (ids(marked) - ids(found), ids(found) - ids(marked)) == (set(), set())
    assert [text for text, translated in translations(found) if not translated] == []
    assert [message.id for message in found if message.fuzzy and message.id] == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_keeps_values_and_tags_and_brings_no_markup(code: str) -> None:
    """A text stands in pages as markup, and within attributes: a sign of markup would break out of its place."""
    for text, translated in translations(read_language(code)):
        assert Counter(FIXED.findall(text)) == Counter(FIXED.findall(translated)), text
        assert not set('"<>') & set(FIXED.sub("", translated)), text


def test_templates_translate_their_own_texts_alone() -> None:
    """What is translated is markup: a value in its place would bring its own tags into the page."""
    environment = pages.load_templates()
    for name in environment.list_templates(extensions=["html"]):
        source, _, _ = environment.loader.get_source(environment, name) if environment.loader else ("", "", "")
        for call in environment.parse(source).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in {"_", "ngettext"}:
                texts = call.args[: 1 if call.node.name == "_" else 2]
                assert all(isinstance(each, nodes.Const) for each in texts), (name, call.lineno)


def test_templates_mark_every_text() -> None:
    """What stands in a template as it is, in its text or in what is read out, would be English in each language."""
    environment, names = pages.load_templates(), {"Reelport", "Studio", "www.example.com"}
    for name in environment.list_templates(extensions=["html"]):
        source, _, _ = environment.loader.get_source(environment, name) if environment.loader else ("", "", "")
        written = re.sub(
            r"(?s)<(pre|code|style)\b.*?</\1>", "", re.sub(r"\{([{%#]).*?[}%#]\}", "", source, flags=re.DOTALL)
        )
        texts = [*re.split(r"\n|·", re.sub(r"<[^>]*>", "\n", written)), *READ_OUT.findall(written)]
        found = [text for text in texts if re.search(r"[^\W\d_]{2}", text)]
        assert [text for text in found if text.strip() not in names and "data-" not in text] == [], name


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "fr", "fr"),
        (None, "fr-CA,en;q=0.5", "fr"),
        (None, "FR-fr", "fr"),
        (None, "de, en;q=0.7, fr;q=0.8", "fr"),
        (None, "fr;q=0, en", "en"),
        (None, "fr;q=x, zz", "en"),
        ("fr", "en", "fr"),
        ("en", "fr", "en"),
        ("zz", "fr", "fr"),
    ],
)
def test_the_users_choice_comes_first_then_the_browsers(chosen: str | None, accepted: str, code: str) -> None:
    """A language that isn't there any more counts as none, and English is for everybody else."""
    assert choose_language(chosen, accepted).code == code


def test_a_page_is_in_the_language_that_the_browser_asks_for(visitors: Visitors) -> None:
    """The page says so to screen readers; without a wish it is English."""
    visitor = visitors(None)
    french = visitor.get("/studio/sign-in", headers={"Accept-Language": "fr-FR,fr;q=0.9"}).text
    assert '<html lang="fr">' in french
    assert "Aller au contenu" in french
    assert '<html lang="en">' in visitor.get("/studio/sign-in").text


def test_the_choice_on_the_account_page_comes_before_the_browsers_language(visitors: Visitors) -> None:
    """In every browser of that user, until the browser's language is chosen again."""
    visitor, accepted = visitors(MEMBER), {"Accept-Language": "en"}
    account = visitor.get("/studio/account", headers=accepted)
    french = visitor.send(account, "/studio/account/language", language="fr")
    assert "La langue est changée." in french.text
    assert '<html lang="fr">' in visitors(MEMBER).get("/studio/account", headers=accepted).text
    assert '<html lang="en">' in visitor.send(french, "/studio/account/language", language="").text


@pytest.mark.parametrize(
    ("code", "written"),
    [
        (
            "en",
            [
                *("1,234.57", "€1,234.57", "12.3\N{NO-BREAK SPACE}k", "12.3%"),
                *("1 to 4 July 2026", "1 Jul 2026", "4 July 2026", "Sat 4 Jul 2026", "France", "Phone", "1.2 MB"),
            ],
        ),
        (
            "fr",
            [
                "1\N{NARROW NO-BREAK SPACE}234,57",
                "1\N{NARROW NO-BREAK SPACE}234,57\N{NO-BREAK SPACE}€",
                "12,3\N{NO-BREAK SPACE}k",
                "12,3\N{NARROW NO-BREAK SPACE}%",
                "1er \N{EN DASH} 4 juillet 2026",
                "1er juil. 2026",
                "4 juillet 2026",
                "sam. 4 juil. 2026",
                "France",
                "Téléphone",
                "1,2 Mo",
            ],
        ),
    ],
)
def test_numbers_days_and_codes_are_written_as_the_language_does(code: str, written: list[str]) -> None:
    """With its signs, its months and its names; money has the sign of its currency."""
    context = contextvars.copy_context()
    context.run(write_in, load_languages()[code])
    assert context.run(_write_examples) == written


def test_a_french_log_says_that_a_key_reads_all_channels_in_french() -> None:
    """Words of details are translated; ids and the scopes of the wire are not."""
    details = {"permissions": ["access_ads"], "channels": "all"}
    actor = Actor("ann@demo.example", "")
    entry = AuditEntry(1, datetime.now(UTC), "demo", actor, Action.KEY_CREATED, "rpk_1", details)
    context = contextvars.copy_context()
    context.run(write_in, load_languages()["fr"])
    assert context.run(describe_action, entry).endswith("rpk_1 (autorisations access_ads, chaînes toutes)")


def _write_examples() -> list[str]:
    return [
        localize("1,234.57"),
        write_number(Metric.ESTIMATED_EARNINGS_EUR, Decimal("1234.567")),
        format_short(12_345),
        write_share(Decimal("0.1234")),
        format_days(date(2026, 7, 1), date(2026, 7, 4)),
        describe_time("2026-07-01"),
        format_day(date(2026, 7, 4)),
        describe_time("2026-07-04", with_weekday=True),
        label_value(Dimension.VISITOR_COUNTRY, "fr"),
        label_value(Dimension.VISITOR_DEVICE_TYPE, "mobile"),
        format_size(1_234_567),
    ]
