"""Pages in French have no English left: each is compared with the same page in English."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient
from tests.server.studio.conftest import OPERATOR, OWNER, make_visitors
from tests.server.studio.test_limited_people import make_report
from tests.server.studio.visitor import Visitor

from reelport.server.access import operator_access
from reelport.server.access.roles import Role
from reelport.server.studio.routes import ROUTES

pytestmark = pytest.mark.long

DAYS = "from=2026-07-01&to=2026-07-14"
VIEW = f"metric=VIEWS&metric=AVERAGE_WATCH_TIME_SEC&by=VISITOR_COUNTRY&by=VISITOR_DEVICE_TYPE&{DAYS}"
# Words of English sentences that no French one has.
ENGLISH = re.compile(
    r"\b(?:the|and|of|is|are|was|to|with|by|this|that|these|for|from|than|its|it|in|at|can't|isn't|doesn't|which"
    r"|you|your|there|more|empty|may|shown?|days?|hours?|highest|lowest)\b",
    re.IGNORECASE,
)
WORDS = re.compile(r"(?<!\S)[^\W\d_]{2,}[,.:;]?(?!\S)")
# What holds data and programs, which are the same in each language; and what a reader never sees.
FOREIGN = {"data", "code", "pre", "bdi", "kbd", "style", "script", "textarea", "time"}
SAID = ("title", "aria-label", "placeholder", "alt", "data-failed", "data-changing", "data-copied", "data-select")


class _Texts(HTMLParser):
    """Collects what a page says: texts, attributes that are read out, readings of charts; and what is data."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.data: set[str] = set()
        self.chosen: set[str] = set()
        self._open: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and what it says by attributes."""
        given = {name: value or "" for name, value in attrs}
        self.said += [given[name] for name in SAID if name in given]
        for line in json.loads(given["data-readings"])["lines"] if "data-readings" in given else []:
            self.said += [line["name"], *line["texts"]]
        if tag not in {"input", "br", "meta", "link", "rect", "circle", "img", "hr", "path"}:
            self._open.append((tag, given.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Note a text, as said or as data."""
        tags, text = [tag for tag, _class in self._open], " ".join(data.split())
        sentences = {"says", "notice", "hint", "empty"}
        is_sentence = "h1" in tags or any(sentences & set(classes.split()) for _tag, classes in self._open)
        if FOREIGN.intersection(tags) and not (tags[-1] == "bdi" and is_sentence):
            self.data.add(text)
        elif text:
            self.said.append(text)
            self.chosen |= {text} if tags[-1:] == ["option"] else set()


def read_page(visitor: Visitor, path: str, language: str) -> _Texts:
    """Read what a page says in a language."""
    answer = visitor.get(path, headers={"Accept-Language": language})
    assert f'<html lang="{language}">' in answer.text, (path, answer.status_code)
    texts = _Texts()
    texts.feed(answer.text)
    return texts


def find_english(french: _Texts, english: _Texts) -> list[str]:
    """Find the texts of a French page that are English: as in English, or with words that no French text has."""
    data = sorted((each for each in french.data | english.data if len(each) > 2), key=len, reverse=True)
    found = []
    for text in french.said:
        rest = text
        for each in data:
            rest = rest.replace(each, " ")
        is_same = text in english.said and text not in french.chosen and len(WORDS.findall(rest)) > 2
        if is_same or ENGLISH.search(rest):
            found.append(text)
    return found


@pytest.fixture(scope="module")
def pages(app: TestClient) -> Iterator[dict[str, Visitor]]:
    """Every page that a path names, with whoever sees it, over sample facts, with a report, a key and a saved view."""
    for make in make_visitors(app):
        owner, operator, nobody = map(make, (OWNER, OPERATOR, None))
        operator_access.allow_platform(app.app.state.service.db, OPERATOR, Role.VIEWER)  # type: ignore[attr-defined]
        explored = owner.get(f"/studio/explore?{VIEW}")
        owner.send(explored, "/studio/saved", name="Matin")
        shared = owner.send(explored, "/studio/shared", name="Chef").text
        report = make_report(app.app.state.service, None)  # type: ignore[attr-defined]
        owner.send(owner.get("/studio/keys"), "/studio/keys", name="Agence", scope="create_reports")
        link = re.search(r"http://[^<]*(/studio/shared/[^<]+)</pre>", shared)
        assert link
        found = {
            route.path: operator if "operator" in route.path else nobody if "sign-in" in route.path else owner
            for route in ROUTES
            if route.method == "GET" and "{" not in route.path and not route.path.endswith("/export")
        }
        yield (
            found
            | {link[1]: nobody}
            | dict.fromkeys(
                (
                    f"/studio/explore?{VIEW}&compare=previous",
                    f"/studio/explore?{VIEW}&longer=VISITOR_COUNTRY&only=VISITOR_DEVICE_TYPE:",
                    "/studio/explore?metric=VIEWS&metric=FILL_RATE&by=BUYER&grain=hour&from=2026-01-01&to=x&nope=1",
                    f"/studio/explore?metric=LIVE_VIEWERS&metric=FILL_RATE&by=VIDEO_TITLE&visitorCountry=Q&{DAYS}",
                    f"/studio/countries/FR?{DAYS}",
                    f"/studio/reports/new?{VIEW}&only=VISITOR_COUNTRY:FR",
                    f"/studio/reports/{report}",
                    "/studio/people/nobody/channels",
                    *re.findall(r'href="(/studio/keys/[^"/]+)"', owner.get("/studio/keys").text),
                ),
                owner,
            )
        )


def test_a_page_in_french_has_no_english_left(pages: dict[str, Visitor]) -> None:
    """No text of any page, nor what is read out or shown when pointed at; names and titles stay."""
    left = {
        text: path
        for path, visitor in pages.items()
        for text in find_english(read_page(visitor, path, "fr"), read_page(visitor, path, "en"))
    }
    assert not left, "\n".join(f"{path}: {text}" for text, path in left.items())
