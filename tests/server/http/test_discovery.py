"""What describes the API: held against routes and answers, its reference page, and GraphiQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import httpx2
import jsonschema_rs
import pytest
from graphql import build_schema, print_schema
from starlette.routing import Route
from tests.server.api import ASK, INPUT, Api, open_api

from reelport.engine.report_format import FORM_TYPES, copy_options
from reelport.report_details import REPORTS_PATH
from reelport.server.api_memory import BODIES_BYTES
from reelport.server.graphql.faults import TYPES
from reelport.server.graphql.resolvers import build_sdl
from reelport.server.http.connections import Connection
from reelport.server.http.downloads import RECHECK_SECONDS
from reelport.server.http.health import HEALTH_PATH, LIVE_PATH, METRICS_PATH
from reelport.server.http.long_poll import MOST_POLLS
from reelport.server.http.openapi import OPENAPI_PATH, build_openapi
from reelport.server.limits import body_budget, document_limits
from reelport.server.limits.concurrency import MAX_CONCURRENT
from reelport.server.limits.download_slots import LEAST_RATE, PARTNER_DOWNLOADS, REPORT_DOWNLOADS
from reelport.server.limits.rate_limits import KEY_GRANTS
from reelport.server.settings import Settings, read_settings
from reelport.wire import FILES_PATH, GRAPHQL_PATH, LOOK, PUBLIC_GRAPHQL_PATH, TOKEN_PATH

OPENAPI = build_openapi()
OURS = re.compile(
    r"reelport-|ratelimit|retry-after|x-request-id|www-authenticate|etag|content-range|preference-applied"
)
ASK_QUERY = {"query": ASK, "variables": {"input": INPUT}}
FILE = f"{FILES_PATH}/{{file_id}}.csv"
REPORT = f"{REPORTS_PATH}/{{report_id}}"


def check_described(path: str, method: str, reply: httpx2.Response) -> None:
    """Hold an answer against what is described: its status, its headers, its media type, its body."""
    described = OPENAPI["paths"][path][method]["responses"].get(str(reply.status_code))
    assert described is not None, f"{method} {path} doesn't describe {reply.status_code}: {reply.text}"
    named = {name.lower() for name in described["headers"]}
    assert {name for name in reply.headers if OURS.match(name)} <= named
    kind = reply.headers.get("content-type", "").partition(";")[0]
    content = described.get("content", {})
    if reply.content:
        assert kind in content
        body = reply.json() if kind.endswith(("/json", "+json")) else reply.text
        schema = {**content[kind]["schema"], "components": OPENAPI["components"]}
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(body)


def test_every_route_is_described_and_every_described_one_is_there(api: Api) -> None:
    """But for Studio's pages; every method of a route that has any."""
    routes = [route for route in api.client.app.routes if isinstance(route, Route)]  # type: ignore[attr-defined]
    there = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in routes
        if not route.path.startswith("/studio")
        for method in (route.methods or {"POST"}) - {"HEAD"}
    }
    assert there == {(path, method) for path, described in OPENAPI["paths"].items() for method in described}


def test_the_description_is_the_one_that_is_served(api: Api) -> None:
    """To everybody: programs read it before they have a token. Each operation has a name of its own."""
    reply = api.client.get(OPENAPI_PATH)
    assert reply.json() == OPENAPI
    assert reply.headers["cache-control"] == "public, max-age=300"
    names = [operation["operationId"] for path in OPENAPI["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


def find_objects(described: object) -> Iterator[dict[str, Any]]:
    """Every schema of an object in a description."""
    if isinstance(described, dict):
        if "object" in (described.get("type") or ()):
            yield described
        described = list(described.values())
    for each in described if isinstance(described, list) else ():
        yield from find_objects(each)


def test_generators_find_the_keys_of_every_object() -> None:
    """An object without any would be one that never has a key. What GraphQL tells of reports is what `/v1/` tells."""
    objects = list(find_objects(OPENAPI))
    assert len(objects) > 10
    assert [each for each in objects if not each.keys() & {"properties", "additionalProperties"}] == []
    schemas = OPENAPI["components"]["schemas"]
    told = schemas["GraphqlAnswer"]["properties"]["extensions"]["properties"]["reelport"]["properties"]
    report = OPENAPI["paths"][REPORT]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert told["reports"]["items"] == report
    assert told["slots"] == schemas["Limits"]["properties"]["slots"]


def test_every_answer_is_described_by_more_than_a_pronoun() -> None:
    """Generators write the descriptions into their code."""
    answers = [
        each["description"]
        for path in OPENAPI["paths"].values()
        for operation in path.values()
        for each in operation["responses"].values()
    ]
    assert [text for text in answers if re.match(r"It\b", text)] == []


def test_the_answers_of_graphql_are_described(api: Api) -> None:
    """In both media types: data, errors, both, and refusals."""
    modern = {"Accept": "application/graphql-response+json", "Content-Type": "application/json"}
    bodies = [
        ASK_QUERY,
        {"query": "{"},
        {"query": "{ __typename }"},
        {"query": ASK, "variables": {"input": {**INPUT, "metrics": []}}},
    ]
    for headers in ({}, modern, {**modern, "Authorization": ""}, {**modern, "Content-Type": "text/plain"}):
        for body in bodies:
            check_described(GRAPHQL_PATH, "post", api.post(json.dumps(body).encode(), **headers))
    check_described(GRAPHQL_PATH, "post", api.post(b"x" * 2_000_000))
    check_described(PUBLIC_GRAPHQL_PATH, "post", api.client.post("/", json=ASK_QUERY))
    api.finish(b"day,views\n")


def test_the_answers_about_tokens_are_described(api: Api) -> None:
    """Granted and refused, by both ways to send a key."""
    check_described(TOKEN_PATH, "post", api.grant())
    check_described(TOKEN_PATH, "post", api.grant(client_id="x"))
    check_described(
        TOKEN_PATH, "post", api.client.post(TOKEN_PATH, data={"grant_type": "client_credentials"}, auth=("x", "y"))
    )
    check_described(TOKEN_PATH, "post", api.client.post(TOKEN_PATH, content=b"x" * 20_000))
    check_described(TOKEN_PATH, "post", api.client.post(TOKEN_PATH, headers={"Sec-Fetch-Site": "cross-site"}))
    form = {"grant_type": "client_credentials", "client_id": api.key.id, "client_secret": api.key.secret}
    check_described("/oauth/token", "post", api.client.post("/oauth/token", data=form))


def test_the_answers_about_reports_and_limits_are_described(api: Api) -> None:
    """From the queue to the file, and refused."""
    bearer = {"Authorization": f"Bearer {api.token}"}
    asked = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    for token in (asked, "x"):
        check_described(REPORT, "get", api.client.get(f"{REPORTS_PATH}/{token}", headers=bearer))
    api.finish(b"day,views\n2026-01-01,3\n", date(2026, 1, 1))
    check_described(REPORT, "get", api.client.get(f"{REPORTS_PATH}/{asked}", headers=bearer))
    look = json.dumps({"query": LOOK, "variables": {"reportToken": asked}}).encode()
    check_described(GRAPHQL_PATH, "post", api.post(look, Prefer="wait=1"))
    for headers in (bearer, {}, {"Authorization": "Bearer x"}):
        check_described("/v1/limits", "get", api.client.get("/v1/limits", headers=headers))
        check_described(REPORT, "get", api.client.get(f"{REPORTS_PATH}/{asked}", headers=headers))


@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=0-3"}, {"Range": "bytes=999-"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}],
    ids=str,
)
def test_the_answers_about_files_are_described(api: Api, headers: dict[str, str]) -> None:
    """Whole, in part, not again, and by a link that isn't ours."""
    link = urlsplit(api.link(api.finished(complete=date(2026, 1, 1))))
    for query in (link.query, link.query[:-1] + "_"):
        check_described(FILE, "get", api.client.get(f"{link.path}?{query}", headers=headers))


def test_the_answers_about_forms_are_described(api: Api) -> None:
    """By suffix and by Accept: whole, in part, and refused."""
    link = urlsplit(api.link(api.finished(complete=date(2026, 1, 1))))
    with api.making_forms():
        for suffix, form in FORM_TYPES.items():
            path, described = link.path.replace(".csv", suffix), FILE.replace(".csv", suffix)
            for query in (link.query, link.query[:-1] + "_"):
                check_described(described, "get", api.client.get(f"{path}?{query}", headers={"Range": "bytes=0-3"}))
            by_accept = api.client.get(f"{link.path}?{link.query}", headers={"Accept": form.media_type})
            check_described(FILE, "get", by_accept)


def test_what_needs_no_token_is_described(api: Api) -> None:
    """Health without a worker, metrics, the schema, the authorization server."""
    for path, described in OPENAPI["paths"].items():
        if "get" in described and "{" not in path:
            check_described(path, "get", api.client.get(path, headers={"Authorization": f"Bearer {api.token}"}))


def test_the_schema_is_served_as_it_is_executed(api: Api) -> None:
    """With the descriptions, for generators of clients."""
    reply = api.client.get("/schema.graphql")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == build_sdl()
    assert print_schema(build_schema(reply.text))


@pytest.fixture
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service that has an address of its own, behind a proxy."""
    settings = read_settings(data=tmp_path_factory.mktemp("named"), workers=0, public_url="https://reports.example/")
    with open_api(settings) as api:
        yield api


def test_the_authorization_server_says_only_what_is_true(api: Api, named: Api) -> None:
    """Its token endpoint grants what it names, in each way of authenticating that it names."""
    found: dict[str, Any] = api.client.get("/.well-known/oauth-authorization-server").json()
    assert (found["issuer"], found["response_types_supported"]) == ("http://testserver", [])
    key = api.key.id, api.key.secret
    for grant_type in found["grant_types_supported"]:
        form = {"grant_type": grant_type, "scope": " ".join(found["scopes_supported"])}
        for method in found["token_endpoint_auth_methods_supported"]:
            ways: dict[str, dict[str, Any]] = {
                "client_secret_basic": {"auth": key, "data": form},
                "client_secret_post": {"data": {**form, "client_id": key[0], "client_secret": key[1]}},
            }
            assert api.client.post(found["token_endpoint"], **ways[method]).status_code == 200
    elsewhere = named.client.get("/.well-known/oauth-authorization-server").json()
    assert elsewhere["issuer"] == "https://reports.example"
    assert elsewhere["token_endpoint"] == f"https://reports.example{TOKEN_PATH}"


PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "http.md").read_text("utf-8")

SETTINGS: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
BOUNDS = {
    "time until a request is complete": Connection.request_seconds,
    "time for a client to read 64 kB of its answer": Connection.stalled_seconds,
    "connections": Connection.max_connections,
    "bytes of answers that clients have not read yet": Connection.unsent_bytes,
    "downloads of one report": REPORT_DOWNLOADS,
    "downloads of one partner": PARTNER_DOWNLOADS,
    "bytes of a partner's request bodies that have no answer yet": body_budget.PARTNER_BODIES_BYTES,
    "bytes of all partners' request bodies that have no answer yet": BODIES_BYTES,
    "waiting status queries of one partner": MOST_POLLS // 2,
    "`reports`: waiting reports of one partner": SETTINGS["waiting_limit"],
    "`documents`: running requests of one partner": MAX_CONCURRENT,
    "tokens of one key, at each of the two paths": KEY_GRANTS,
}


def test_every_path_is_on_the_page() -> None:
    """A path that is served is explained."""
    for path in (TOKEN_PATH, GRAPHQL_PATH, FILES_PATH, HEALTH_PATH, LIVE_PATH, METRICS_PATH):
        assert f"`{path}" in PAGE


def test_the_csv_on_the_page_is_as_the_engine_writes_it(tmp_path: Path) -> None:
    """Read, put in the order that it tells of, and written by the engine's format: the same bytes."""
    (shown,) = re.findall(r"^```csv\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    page, written = tmp_path / "page.csv", tmp_path / "written.csv"
    page.write_text(shown, "utf-8")
    rows = f"SELECT * FROM read_csv('{page}', all_varchar = true) ORDER BY ALL NULLS LAST"
    duckdb.execute(f"COPY ({rows}) TO '{written}' ({copy_options(has_header=True)})")
    assert written.read_bytes() == shown.encode()


def test_every_type_of_error_is_on_the_page() -> None:
    """In the row that lists them."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `type`"))
    assert {word for word in row.split("`") if word in TYPES} == set(TYPES)


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    """Settings by their defaults, the others by their constants."""
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in PAGE.splitlines() if line.startswith("| ")
    }
    default, most = SETTINGS, document_limits.DocumentLimits()
    assert rows["body"] == f"{body_budget.BODY_BYTES:,} bytes, else 413"
    assert rows["tokens of a document"] == f"{most.tokens:,}"
    assert rows["nested levels"] == str(most.depth)
    aliases = f"{most.aliases}; {document_limits.MAX_INTROSPECTION_ALIASES} if the schema is requested"
    assert rows["aliases"] == aliases
    assert rows["fields"] == f"{document_limits.MAX_FIELDS:,}"
    assert rows["the same field under the same name"] == str(document_limits.MAX_REPEATS)
    sizes = f"{document_limits.MAX_CHARACTERS:,}, {document_limits.MAX_LINES:,}, {document_limits.MAX_COMMENTS}"
    assert rows["characters, lines, comments of a document"] == sizes
    assert (
        rows["operations and fragments; uses of fragments"]
        == f"{document_limits.MAX_DEFINITIONS}; {document_limits.MAX_FRAGMENT_SPREADS}"
    )
    assert (
        rows["items of a list, characters of a text"]
        == f"{document_limits.MAX_LIST_ITEMS}, {document_limits.MAX_TEXT_LENGTH:,}"
    )
    assert (
        f"({default['link_seconds'] // 60} minutes" in PAGE
        or f"valid for {default['link_seconds'] // 60} minutes" in PAGE
    )
    assert f"up to {document_limits.MAX_LISTED}" in PAGE
    assert f"`look_seconds` ({default['look_seconds']})" in PAGE
    assert f"can have {MOST_POLLS} waiting queries" in PAGE
    assert f"ends within about {RECHECK_SECONDS:.0f} seconds" in PAGE


def test_the_page_tells_what_a_caller_may_take() -> None:
    """Each bound by its number; of a setting, the one that holds where nobody sets it."""
    table = PAGE.partition("## What a caller may take")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    told = {row[1].strip(): found[0] for row in rows if (found := re.findall(r"\d[\d,]*", row[2]))}
    assert {name: float(told[name].replace(",", "")) for name in BOUNDS} == BOUNDS
    assert f"below {LEAST_RATE:,.0f} bytes a second (over two to four minutes)" in table
    named = {name for row in rows for name in re.findall(r"setting `(\w+)`", row[3])}
    assert named == {"waiting_limit"}


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service that shows GraphiQL."""
    with open_api(read_settings(data=tmp_path_factory.mktemp("graphiql"), workers=0, graphiql="yes")) as api:
        yield api


def utc_today() -> date:
    """Today, as the service takes it."""
    return datetime.now(UTC).date()


def test_by_default_there_is_none(api: Api) -> None:
    """Neither the page nor its files."""
    assert api.client.get(GRAPHQL_PATH, headers=BROWSER).status_code == 405
    assert api.client.get("/graphiql/graphiql.js").status_code == 404


def test_a_browser_gets_a_page_that_may_speak_with_this_service_alone(shown: Api) -> None:
    """Its policy names no other host, and takes no script that stands in the page."""
    page = shown.client.get(GRAPHQL_PATH, headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert page.headers["cache-control"] == "no-store"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [address for address in addresses if address != "data:,"]
    assert len(files) == 6
    for address in files:
        file = shown.client.get(address)
        assert file.status_code == 200, address
        assert file.headers["content-type"].startswith(("text/javascript", "text/css"))
        assert file.headers["x-content-type-options"] == "nosniff"


def test_the_page_says_how_to_get_a_token(shown: Api) -> None:
    """At the address that grants tokens to private keys."""
    assert TOKEN_PATH in shown.client.get(GRAPHQL_PATH, headers=BROWSER).text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_programs_are_answered_as_before(shown: Api, accept: str) -> None:
    """A GET of theirs is refused, and a POST is a request whatever it accepts."""
    assert shown.client.get(GRAPHQL_PATH, headers={"Accept": accept}).status_code == 405
    reply = shown.post(b'{"query": "{ __typename }"}', **BROWSER)
    assert reply.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("name", ["page.html", "licences.txt", "none.js", "..%2Fapp.py", "graphiql.js.gz"])
def test_no_other_file_is_had(shown: Api, name: str) -> None:
    """Only what the page needs."""
    assert shown.client.get(f"/graphiql/{name}").status_code == 404
