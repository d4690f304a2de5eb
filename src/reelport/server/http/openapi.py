"""Describes the HTTP API as OpenAPI 3.1: every address but Studio's pages.

Tests hold the description against the routes, and the answers against its schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from reelport.engine.report_format import CSV, FORM_TYPES, FileType
from reelport.report_details import EXTENSION, LIMITS_PATH, REPORTS_PATH, FailureReason, State
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.files.signed_urls import EXCEL_SAFE
from reelport.server.graphql import faults
from reelport.server.http.problems import PROBLEM_TYPE
from reelport.server.http.request_log import HEALTH_PATH, LIVE_PATH, METRICS_PATH, READY_PATH
from reelport.server.limits.quotas import Unit
from reelport.wire import (
    APPLIED_HEADER,
    COMPLETE_HEADER,
    FILES_PATH,
    GRAPHQL_PATH,
    KEY_EXPIRES_HEADER,
    PREFER_HEADER,
    PUBLIC_GRAPHQL_PATH,
    PUBLIC_TOKEN_PATH,
    QUERY_HEADER,
    ROWS_HEADER,
    TOKEN_PATH,
    UNITS_HEADER,
    VERSION_HEADER,
    VERSIONS_HEADER,
    Code,
)

OPENAPI_PATH, SDL_PATH, OAUTH_PATH = "/openapi.json", "/schema.graphql", "/.well-known/oauth-authorization-server"
_JSON, _GRAPHQL_JSON = "application/json", "application/graphql-response+json"
_Schema = dict[str, Any]
_TEXT: _Schema = {"type": "string"}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_ANY_OBJECT: _Schema = {"type": "object", "additionalProperties": True}
_MOMENT: _Schema = {"type": "string", "format": "date-time"}

_PREFER = {
    "name": PREFER_HEADER,
    "in": "header",
    "schema": _TEXT,
    "description": "`wait=10` waits up to ten seconds until the report of a status query ends.",
}
_LIMITS = ("RateLimit-Policy", "RateLimit")


def build_openapi() -> dict[str, Any]:
    """Build the description of this version of the API."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reelport",
            "version": version("reelport"),
            "description": "Reports of a video platform: ask by GraphQL, wait, download.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            TOKEN_PATH: {"post": _describe_token("getToken", "private", ["client_credentials"])},
            PUBLIC_TOKEN_PATH: {
                "post": _describe_token("getPublicToken", "public", ["password", "refresh_token", "client_credentials"])
            },
            GRAPHQL_PATH: {"post": _describe_graphql("graphql", "")},
            PUBLIC_GRAPHQL_PATH: {"post": _describe_graphql("publicGraphql", ", for tokens of public keys")},
            **{
                f"{FILES_PATH}/{form.file_name('{file_id}')}": {"get": _describe_file(form)}
                for form in (CSV, *FORM_TYPES.values())
            },
            f"{REPORTS_PATH}/{{report_id}}": {"get": _describe_report()},
            LIMITS_PATH: {"get": _describe_limits()},
            HEALTH_PATH: {"get": _describe_health("getHealth", "Whether reports can be asked for and made.")},
            READY_PATH: {"get": _describe_health("getReady", "Whether this process takes requests.")},
            LIVE_PATH: {"get": _describe_open("getLive", "Whether the process runs.", _refer("Health"))},
            METRICS_PATH: {"get": _describe_open("getMetrics", "Metrics for Prometheus.", _TEXT, "text/plain")},
            OPENAPI_PATH: {"get": _describe_open("getOpenapi", "This description.", _ANY_OBJECT)},
            SDL_PATH: {"get": _describe_open("getSchema", "The schema of GraphQL.", _TEXT, "text/plain")},
            OAUTH_PATH: {
                "get": _describe_open(
                    "getOauthServer", "Where private keys get tokens (RFC 8414).", _refer("OauthServer")
                )
            },
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "http", "scheme": "basic", "description": "A key's id and secret."},
            },
            "schemas": _make_schemas(),
            "headers": {
                name: {"description": description, "schema": schema}
                for name, (description, schema) in ANSWER_HEADERS.items()
            },
        },
    }


ANSWER_HEADERS: Mapping[str, tuple[str, _Schema]] = {
    VERSION_HEADER: ("The version of the service.", _TEXT),
    "X-Request-Id": ("The request, as the service's log names it.", _TEXT),
    "RateLimit-Policy": ("The limits that hold for the caller (IETF draft 11).", _TEXT),
    "RateLimit": ("What is left of them.", _TEXT),
    "Retry-After": ("Seconds to wait before the next try.", _COUNT),
    "WWW-Authenticate": ("How to authenticate.", _TEXT),
    KEY_EXPIRES_HEADER: ("When the key expires, within two weeks before.", _MOMENT),
    COMPLETE_HEADER: ("Up to which day the facts of the reports are complete, or `none`.", _TEXT),
    APPLIED_HEADER: ("That the query waited for its report.", _TEXT),
    ROWS_HEADER: ("The rows of the file.", _COUNT),
    "ETag": ("The SHA-256 of the file, in hex.", _TEXT),
    QUERY_HEADER: ("What the report was asked for, in JSON, unless it is long; of forms but CSV.", _TEXT),
    VERSIONS_HEADER: ("The versions of the tables that the report was made of, in JSON; of forms but CSV.", _TEXT),
    UNITS_HEADER: ("The units of the report's metrics, in JSON; of forms but CSV.", _TEXT),
    "Content-Range": ("Which part of the file it is.", _TEXT),
}
"""What answers say in headers of the API's own, by name: a description and a schema."""


def _refer(schema: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def _answer(
    description: str, content: Mapping[str, _Schema] | None = None, headers: Iterable[str] = ()
) -> dict[str, Any]:
    """Describe an answer; `headers` are those beside the ones of every answer."""
    named = (VERSION_HEADER, "X-Request-Id", *headers)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
        **({"content": {kind: {"schema": schema} for kind, schema in content.items()}} if content else {}),
    }


def _describe_token(name: str, kind: str, grant_types: list[str]) -> dict[str, Any]:
    form = {
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": {"enum": grant_types},
            "client_id": _TEXT,
            "client_secret": _TEXT,
            "scope": {"type": "string", "description": f"Any of {', '.join(REPORT_SCOPES)}, separated by blanks."},
            **({"username": _TEXT, "password": _TEXT, "refresh_token": _TEXT} if kind == "public" else {}),
        },
    }
    error = {_JSON: _refer("Error")}
    return {
        "operationId": name,
        "tags": ["tokens"],
        "summary": f"Get a token with a {kind} key",
        "security": [{}, {"key": []}],
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "200": _answer("The token.", {_JSON: _refer("Token")}, [*_LIMITS, KEY_EXPIRES_HEADER]),
            "400": _answer("The request or the key is refused.", error, _LIMITS),
            "401": _answer("The key of the header is refused.", error, [*_LIMITS, "WWW-Authenticate"]),
            "403": _answer("A page of another site asked.", error),
            "413": _answer("The body is too long.", error),
            "429": _answer("The key asked too often.", error, [*_LIMITS, "Retry-After"]),
            "503": _answer("The service can't answer now.", error, ["Retry-After"]),
        },
    }


def _describe_graphql(name: str, who: str) -> dict[str, Any]:
    def answer(description: str, *headers: str) -> dict[str, Any]:
        return _answer(description, {_JSON: _refer("GraphqlAnswer"), _GRAPHQL_JSON: _refer("GraphqlAnswer")}, headers)

    body = {
        "type": "object",
        "required": ["query"],
        "properties": {
            "query": {"type": "string", "minLength": 1},
            "variables": {**_ANY_OBJECT, "type": ["object", "null"]},
            "operationName": {"type": ["string", "null"]},
            "extensions": {**_ANY_OBJECT, "type": ["object", "null"]},
        },
    }
    return {
        "operationId": name,
        "tags": ["graphql"],
        "summary": f"Ask for reports and query their status{who}",
        "description": (
            f"The schema is at {SDL_PATH}. As {_JSON}, GraphQL errors come with 200; as {_GRAPHQL_JSON}, the statuses "
            "are those of the GraphQL-over-HTTP specification."
        ),
        "security": [{"bearer": []}],
        "parameters": [_PREFER],
        "requestBody": {"required": True, "content": {_JSON: {"schema": body}}},
        "responses": {
            "200": answer("The answer.", COMPLETE_HEADER, APPLIED_HEADER, "Retry-After", *_LIMITS),
            "294": answer("Data and errors.", COMPLETE_HEADER, APPLIED_HEADER, "Retry-After", *_LIMITS),
            "400": answer("The request can't run.", *_LIMITS, "WWW-Authenticate"),
            "401": answer("The token is missing or not valid.", "WWW-Authenticate"),
            "413": answer("The body is too long."),
            "415": answer("The body is no JSON."),
            "503": answer("The service can't answer now.", "Retry-After"),
        },
    }


def _describe_file(form: FileType) -> dict[str, Any]:
    """Describe the link of a form; that of the CSV gives any, by `Accept`."""

    def parameter(name: str, where: str = "query", **more: object) -> dict[str, Any]:
        return {"name": name, "in": where, "required": True, "schema": _TEXT, **more}

    error = {_JSON: _refer("Error")}
    of_report = [ROWS_HEADER, COMPLETE_HEADER, QUERY_HEADER, VERSIONS_HEADER, UNITS_HEADER]
    given = FORM_TYPES.values() if form is CSV else [form]
    file: dict[str, _Schema] = {"text/csv": _TEXT} if form is CSV else {}
    excel_safe = [parameter(EXCEL_SAFE, required=False, description="Gives the file for spreadsheets.")]
    excel_safe = excel_safe if form is CSV else []
    file |= {each.media_type: {} for each in given}
    return {
        "operationId": "getFile" + "".join(part.capitalize() for part in form.suffix.split(".") if form is not CSV),
        "tags": ["files"],
        "summary": f"Download a report by its signed link, as {form.suffix}",
        "description": "Links are given by GraphQL: whoever has one may fetch the file until it expires.",
        "security": [],
        "parameters": [
            parameter("file_id", "path", description="As the link has it. It is not the report token."),
            parameter("key"),
            parameter("expires", schema={"type": "integer"}),
            parameter("signature"),
            *excel_safe,
            parameter("Range", "header", required=False),
        ],
        "responses": {
            "200": _answer("The file.", file, [*of_report, "ETag"]),
            "206": _answer("A part of the file.", file, [*of_report, "ETag", "Content-Range"]),
            "304": _answer("The file is the one that the caller has.", None, [*of_report, "ETag"]),
            "400": _answer("Only the CSV is given for spreadsheets.", error),
            "403": _answer("The link isn't valid, or not any more.", error),
            "406": _answer("The report is larger than a file of this form can be.", error),
            "410": _answer("The report has expired.", error),
            "412": _answer("The file is another.", None, [*of_report, "ETag"]),
            "416": _answer("The file has no such part.", None, [*of_report, "ETag", "Content-Range"]),
            "429": _answer("Too many downloads are running.", error, ["Retry-After"]),
            "500": _answer("The file is damaged, or can't be made in this form.", error),
            "503": _answer("The service can't answer now, or still makes the form.", error, ["Retry-After"]),
        },
    }


def _describe_report() -> dict[str, Any]:
    return {
        **_describe_v1("getReport", "What is known of a report", "Report", APPLIED_HEADER),
        "parameters": [
            {"name": "report_id", "in": "path", "required": True, "schema": _TEXT, "description": "The report token."},
            _PREFER,
        ],
    }


def _describe_limits() -> dict[str, Any]:
    return _describe_v1("getLimits", "The limits that hold for the caller", "Limits")


def _describe_v1(name: str, summary: str, schema: str, *headers: str) -> dict[str, Any]:
    problem = {PROBLEM_TYPE: _refer("Problem")}
    return {
        "operationId": name,
        "tags": ["v1"],
        "summary": summary,
        "security": [{"bearer": []}],
        "responses": {
            "200": _answer(f"{summary}.", {_JSON: _refer(schema)}, [*_LIMITS, *headers]),
            "400": _answer("There are two Authorization headers.", problem, ["WWW-Authenticate"]),
            "401": _answer("The token is missing or not valid.", problem, ["WWW-Authenticate"]),
            "403": _answer("The token lacks a scope.", problem, _LIMITS),
            "404": _answer("There is no such report, or the token may not see it.", problem, _LIMITS),
            "503": _answer("The service can't answer now.", problem, ["Retry-After"]),
        },
    }


def _describe_health(name: str, summary: str) -> dict[str, Any]:
    described = _describe_open(name, summary, _refer("Health"))
    described["responses"]["503"] = _answer("A part doesn't work.", {_JSON: _refer("Health")})
    return described


def _describe_open(name: str, summary: str, schema: _Schema, kind: str = _JSON) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["service"],
        "summary": summary,
        "security": [],
        "responses": {"200": _answer(summary, {kind: schema})},
    }


def _make_schemas() -> dict[str, _Schema]:
    errors = {"type": "array", "minItems": 1, "items": _refer("GraphqlError")}
    path = {"type": "array", "items": {"type": ["string", "integer"]}}
    told = _make_object(reports={"type": "array", "items": _refer("Report")}, slots=_refer("Slots"))
    failure = _make_object(code={"enum": [reason.value for reason in FailureReason]}, message=_TEXT, advice=_TEXT)
    report = _make_object(
        id={"type": "string", "description": "The report token."},
        state={"enum": [state.value for state in State]},
        place=_or_null(_COUNT, "Among the waiting reports of the partner, from 1."),
        rows=_or_null(_COUNT, "Of the file, or written so far."),
        bytes=_or_null(_COUNT, "Of the file, or written so far."),
        sha256=_or_null(_TEXT, "Of the file, in hex."),
        estimatedReadyAt=_or_null(_MOMENT, "When the file is probably ready."),
        lastCompleteDay=_or_null(_TEXT, "Up to which day the facts are complete, or `none`."),
        expiresAt=_or_null(_MOMENT, "When the report and its file go."),
        failure={"anyOf": [failure, {"type": "null"}]},
    )
    return {
        "Token": {
            **_make_object(
                access_token=_TEXT,
                refresh_token=_or_null(_TEXT, "Only from a public key."),
                expires_in=_COUNT,
                scope=_TEXT,
                token_type={"const": "Bearer"},
            ),
            "additionalProperties": {"description": "`uid`, the id of the user of a public key.", "type": "string"},
        },
        "Error": _make_object(error=_TEXT, error_description=_TEXT),
        "GraphqlAnswer": {
            "type": "object",
            "properties": {
                "data": {**_ANY_OBJECT, "type": ["object", "null"]},
                "errors": errors,
                "extensions": _make_object(**{EXTENSION: told}),
            },
            "additionalProperties": False,
        },
        "GraphqlError": {
            "type": "object",
            "required": ["message", "path", "type", "reason", "extensions"],
            "properties": {
                "message": _TEXT,
                "path": {"anyOf": [path, {"type": "null"}]},
                "locations": {"type": "array", "items": _make_object(line=_COUNT, column=_COUNT)},
                "type": {"enum": list(faults.TYPES)},
                "reason": _TEXT,
                "extensions": {
                    "type": "object",
                    "required": ["code"],
                    "properties": {
                        "code": {"enum": [code.value for code in Code]},
                        "inputPath": path,
                        "variable": _TEXT,
                        "nearest": _TEXT,
                    },
                },
            },
            "additionalProperties": False,
        },
        "Report": report,
        "Slots": {
            **_make_object(used=_COUNT, limit=_COUNT),
            "description": "If as many are used as the limit says, the next ask is refused.",
        },
        "Limits": _make_object(limits={"type": "array", "items": _refer("Quota")}, slots=_refer("Slots")),
        "Quota": _make_object(
            policy=_TEXT,
            quota=_COUNT,
            left=_or_null(_COUNT, "Null if a token alone doesn't tell it."),
            unit={"enum": [unit.value for unit in Unit]},
            windowSeconds=_or_null(_COUNT, "In which a whole quota comes back."),
            resetSeconds=_or_null(_COUNT, "In which no more than what is left can be used."),
        ),
        "Problem": _make_object(
            type=_TEXT, title=_TEXT, status=_COUNT, detail=_TEXT, code={"enum": [code.value for code in Code]}
        ),
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"enum": ["ok", "unavailable"]},
                "checks": {"type": "object", "additionalProperties": _TEXT},
            },
            "additionalProperties": False,
        },
        "OauthServer": {
            "type": "object",
            "required": ["issuer", "token_endpoint", "response_types_supported"],
            "properties": {"issuer": _TEXT, "token_endpoint": _TEXT},
        },
    }


def _make_object(**properties: _Schema) -> _Schema:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _or_null(schema: _Schema, description: str) -> _Schema:
    return {**schema, "type": [schema["type"], "null"], "description": description}
