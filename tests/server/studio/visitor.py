"""A visitor of Studio in this process: signs in, follows links, sends the forms that pages show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import httpx2
from starlette.testclient import TestClient
from tests import quick_users

from reelport.server.http.service import Service

PASSWORD = "a long enough password"  # noqa: S105 - of tests alone


@dataclass
class FoundForm:
    """A form of a page: where it goes, and its fields as a browser would send them untouched."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class _Forms(HTMLParser):
    """Collects the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[FoundForm] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field, or the chosen option of a select."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(FoundForm(given.get("action", ""), given.get("method", "get").lower()))
        elif self.found and "name" in given:
            self.found[-1].names.add(given["name"])
            if tag == "select":
                self._select = given["name"]
            elif tag == "input" and (given.get("type") not in {"checkbox", "radio", "submit"} or "checked" in given):
                self.found[-1].fields.append((given["name"], given.get("value", "")))
        elif tag == "option" and "selected" in given and self.found:
            self.found[-1].fields.append((self._select, given.get("value", "")))


def find_forms(page: str) -> list[FoundForm]:
    """Every form of a page."""
    forms = _Forms()
    forms.feed(page)
    return forms.found


def text_of(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


def links(page: str, words: str) -> list[str]:
    """Where the links with these words lead."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return [unescape(address) for address, inside in found if words in text_of(inside)]


class Visitor:
    """A browser without a script. Close it, or use it in a `with` block."""

    def __init__(self, running: TestClient) -> None:
        # No context: whoever made the app runs its lifespan, on whose loop requests run too: else each would begin one.
        self.client = TestClient(running.app, base_url="http://127.0.0.1:8642", follow_redirects=True)
        self.client.portal = running.portal

    @property
    def csrf(self) -> str:
        """What each form of this visitor's pages carries."""
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get("/studio/account").text)
        assert found
        return found[1]

    def get(self, path: str, **given: object) -> httpx2.Response:
        """The page at a path, wherever it leads."""
        return self.client.get(path, **given)  # type: ignore[arg-type]

    def send(
        self, page: httpx2.Response, action: str, *, follow: bool = True, **values: str | list[str]
    ) -> httpx2.Response:
        """Send a page's form that goes to `action` with these values instead of those shown."""
        form = next(form for form in find_forms(page.text) if form.action == action and form.method == "post")
        fields: dict[str, list[str]] = {}
        for name, value in form.fields:
            if name not in values:
                fields.setdefault(name, []).append(value)
        data = {**fields, **{name: [value] if isinstance(value, str) else value for name, value in values.items()}}
        return self.client.post(action, data=data, follow_redirects=follow)

    def sign_in(self, email: str, password: str = PASSWORD, *, follow: bool = True) -> httpx2.Response:
        """Sign in by the page's form."""
        return self.send(self.get("/studio/sign-in"), "/studio/sign-in", email=email, password=password, follow=follow)


def add_user(service: Service, email: str, role: str = "owner", organization: str | None = "demo") -> None:
    """Add a user with the password of all users of these tests."""
    quick_users.add_user(service.db, organization, email, role, PASSWORD, datetime.now(UTC))


def guess_until_refused(guess: Callable[[], int], most: int = 100) -> list[int]:
    """Guess until it is too often, and return the statuses of all answers.

    Guesses come back with time, six a minute: a slow machine makes some more than the burst before one is refused.
    """
    statuses: list[int] = []
    while len(statuses) < most and 429 not in statuses:
        statuses.append(guess())
    return statuses
