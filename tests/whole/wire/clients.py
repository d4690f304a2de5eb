"""Two programs as publishers write them, from their description in the reference and with the standard library alone.

They know nothing of Reelport: what works against Dailymotion's host by these habits must work here.
"""

from __future__ import annotations

import csv
import io
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of a POST."""
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=300) as reply:
        return reply.status, reply.read()


class Checker:
    """The careful one: 200, a `data` key and no `errors` key are success; it looks at a fixed rhythm."""

    def __init__(self, host: str, key: str, secret: str, rhythm: float) -> None:
        self.host = host
        self.rhythm = rhythm
        form = {
            "grant_type": "client_credentials",
            "client_id": key,
            "client_secret": secret,
            "scope": "access_ads access_revenue create_reports delete_reports",
        }
        # As the older guide's sample: a form under a JSON header.
        status, body = post(
            f"{host}/oauth/v1/token", urllib.parse.urlencode(form).encode(), {"Content-Type": "application/json"}
        )
        reply = json.loads(body)
        if status != 200 or "access_token" not in reply:
            raise RuntimeError(body)
        self.token = reply["access_token"]

    def call(self, query: str, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """The data of an answer, or an error."""
        status, body = post(
            f"{self.host}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        reply = json.loads(body)
        if status != 200 or "errors" in reply or "data" not in reply:
            raise RuntimeError(reply["errors"][0]["message"] if "errors" in reply else body)
        return reply["data"]

    def report(self, given: dict[str, Any]) -> list[str]:
        """The files of one report."""
        asked = self.call(
            "mutation ($input: AskPartnerReportFileInput!) {"
            " askPartnerReportFile(input: $input) { reportFile { reportToken } } }",
            {"input": given},
        )
        token = asked["askPartnerReportFile"]["reportFile"]["reportToken"]
        while True:
            looked = self.call(
                "query ($reportToken: String!) { partner { reportFile(reportToken: $reportToken)"
                " { status downloadLinks { edges { node { link } } } } } }",
                {"reportToken": token},
            )
            file = looked["partner"]["reportFile"]
            if file["status"] != "IN_PROGRESS":
                break
            time.sleep(self.rhythm)
        if file["status"] != "FINISHED":
            raise RuntimeError(file["status"])
        links = [edge["node"]["link"] for edge in file["downloadLinks"]["edges"]]
        return [urllib.request.urlopen(link, timeout=300).read().decode("utf-8") for link in links]


class Nightly:
    """The one in production: several aliased asks in one document, one poll for all, a token finder that walks."""

    def __init__(self, host: str, key: str, secret: str) -> None:
        self.host = host
        fields = {
            "grant_type": "client_credentials",
            "client_id": key,
            "client_secret": secret,
            "scope": "create_reports delete_reports manage_reports",
        }
        parts = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
        _, body = post(
            f"{host}/oauth/v1/token", f"{parts}--b--\r\n".encode(), {"Content-Type": "multipart/form-data; boundary=b"}
        )
        reply = json.loads(body)
        self.token, self.refresh = reply["access_token"], reply["refresh_token"]

    def call(self, query: str, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """The whole reply."""
        _, body = post(
            f"{self.host}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        return json.loads(body)

    def tokens(self, reply: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        """Every report token, wherever it stands in a reply."""
        match reply:
            case dict():
                for name, value in reply.items():
                    if name == "reportToken":
                        yield value
                    else:
                        yield from self.tokens(value)
            case list():
                for value in reply:
                    yield from self.tokens(value)

    def reports(self, *asks: dict[str, Any]) -> list[list[dict[str, str]]]:
        """The rows of each report, all asked for at once."""
        names = [f"report{number}" for number in range(1, len(asks) + 1)]
        # Variable definitions are separated by blanks only, which GraphQL allows.
        defined = " ".join(f"${name}: AskPartnerReportFileInput!" for name in names)
        fields = " ".join(
            f"{name}: askPartnerReportFile(input: ${name}) {{ reportFile {{ reportToken }} }}" for name in names
        )
        reply = self.call(f"mutation ({defined}) {{ {fields} }}", dict(zip(names, asks, strict=True)))
        tokens = list(self.tokens(reply))
        looks = " ".join(
            f"{name}: reportFile(reportToken: ${name}) {{ status downloadLinks {{ edges {{ node {{ link }} }} }} }}"
            for name in names
        )
        defined = " ".join(f"${name}: String!" for name in names)
        pause = 0.05
        while True:
            reply = self.call(f"query ({defined}) {{ partner {{ {looks} }} }}", dict(zip(names, tokens, strict=True)))
            files = reply["data"]["partner"]
            if all(files[name]["status"] == "FINISHED" for name in names):
                break
            time.sleep(pause)
            pause *= 2
        return [list(self.rows(files[name]["downloadLinks"]["edges"])) for name in names]

    def rows(self, edges: list[Any]) -> Iterator[dict[str, str]]:
        """The rows of all files of one report; each file has a header of its own."""
        for edge in edges:
            text = urllib.request.urlopen(edge["node"]["link"], timeout=300).read().decode("utf-8")
            yield from csv.DictReader(io.StringIO(text))
