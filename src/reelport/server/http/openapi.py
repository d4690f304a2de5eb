"""What programs read first: descriptions of the API, and where tokens are to be had.

Nobody has to authenticate for it: it says nothing that isn't public with the package. `openapi.json` describes every
address but Studio's pages as OpenAPI 3.1, with short forms: an answer is a list of its description, its schema and its
headers; an operation is `like` another one; and an object has the properties that it names, all of them, unless it
says something else. Tests hold the description against the routes, and the answers against its schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reelport.engine.report_format import CSV, FORM_TYPES, FileType
from reelport.report_details import FailureReason, State
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.graphql import faults
from reelport.server.graphql.resolvers import build_sdl
from reelport.server.http.problems import PROBLEM_TYPE
from reelport.server.http.service import Service
from reelport.server.limits.quotas import Unit
from reelport.wire import (
    COMPLETE_HEADER,
    FILES_PATH,
    QUERY_HEADER,
    ROWS_HEADER,
    TOKEN_PATH,
    UNITS_HEADER,
    VERSION_HEADER,
    VERSIONS_HEADER,
    Code,
)

OPENAPI_PATH, SDL_PATH, OAUTH_PATH = "/openapi.json", "/schema.graphql", "/.well-known/oauth-authorization-server"
_HEADERS = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
_JSON, _CSV = "application/json", "text/csv"
_MEDIA_TYPES = {
    "GraphqlAnswer": [_JSON, "application/graphql-response+json"],
    "Problem": [PROBLEM_TYPE],
    "Text": ["text/plain"],
}
"""Media types of schemas that aren't just JSON."""
_OF_FILES = [ROWS_HEADER, COMPLETE_HEADER, QUERY_HEADER, VERSIONS_HEADER, UNITS_HEADER]
_ENUMS = {each.__name__: list(each) for each in (Code, State, FailureReason, Unit)} | {"ErrorType": list(faults.TYPES)}


async def answer_openapi(_: Request) -> Response:
    """Answer with the description of the API (OpenAPI 3.1)."""
    return Response(_write_openapi(), 200, _HEADERS, media_type=_JSON)


async def answer_sdl(_: Request) -> Response:
    """Answer with the schema of GraphQL as SDL."""
    return Response(build_sdl(), 200, _HEADERS, media_type="text/plain")


async def answer_oauth_server(request: Request) -> Response:
    """Answer with the metadata (RFC 8414) of how private keys get tokens."""
    service: Service = request.app.state.service
    issuer = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    metadata = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}{TOKEN_PATH}",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": list(REPORT_SCOPES),
    }
    return Response(json.dumps(metadata), 200, _HEADERS, media_type=_JSON)


@cache
def _write_openapi() -> bytes:
    return json.dumps(build_openapi(), separators=(",", ":")).encode()


def build_openapi() -> dict[str, Any]:
    """Build the description of this version of the API."""
    described = _read_short()
    paths, schemas = described["paths"], described["components"]["schemas"]
    described["info"]["version"] = version("reelport")
    schemas |= {name: {"enum": values} for name, values in _ENUMS.items()}
    for item in paths.values():
        for method, operation in item.items():
            if like := operation.pop("like", None):
                item[method] = paths[like][method] | operation
    of_csv = paths[f"{FILES_PATH}/{CSV.file_name('{file_id}')}"]["get"]
    for form in FORM_TYPES.values():
        paths[f"{FILES_PATH}/{form.file_name('{file_id}')}"] = {"get": _describe_form(of_csv, form)}
    for path, item in paths.items():
        for operation in item.values():
            kinds = [form.media_type for form in FORM_TYPES.values() if path.endswith((CSV.suffix, form.suffix))]
            media_types = _MEDIA_TYPES | {"File": [_CSV, *kinds] if path.endswith(CSV.suffix) else kinds}
            answers = operation["responses"]
            operation["responses"] = {status: _describe_answer(answers[status], media_types) for status in answers}
    for each in _find_objects(described):
        each.setdefault("required", list(each["properties"]))
        each.setdefault("additionalProperties", False)
    return described


def list_answer_headers() -> tuple[str, ...]:
    """List the headers of the API's own, which answers may have."""
    return tuple(_read_short()["components"]["headers"])


def _read_short() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(resources.files(__package__).joinpath("openapi.json").read_text("utf-8"))
    return described


def _describe_form(of_csv: dict[str, Any], form: FileType) -> dict[str, Any]:
    return of_csv | {
        "operationId": of_csv["operationId"] + "".join(map(str.capitalize, form.suffix.split("."))),
        "summary": of_csv["summary"].replace(CSV.suffix, form.suffix),
    }


def _describe_answer(answer: list[str | None], media_types: dict[str, list[str]]) -> dict[str, Any]:
    description, schema, *headers = answer
    named = [VERSION_HEADER, "X-Request-Id", *(_OF_FILES if schema in {"File", None} else ()), *headers]
    kinds = [] if schema is None else media_types.get(schema, [_JSON])
    # A generator can do nothing with the bytes of another file than the CSV.
    named_schemas = {kind: "Text" if kind == _CSV else schema for kind in kinds}
    content = {
        kind: {"schema": {} if name == "File" else {"$ref": f"#/components/schemas/{name}"}}
        for kind, name in named_schemas.items()
    }
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
        **({"content": content} if content else {}),
    }


def _find_objects(described: object) -> Iterator[dict[str, Any]]:
    if isinstance(described, dict):
        if described.get("type") == "object" and "properties" in described:
            yield described
        described = list(described.values())
    for each in described if isinstance(described, list) else ():
        yield from _find_objects(each)
