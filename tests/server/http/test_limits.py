"""What a caller is told of its limits: `RateLimit-Policy` and `RateLimit`, and `GET /v1/limits`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from tests.patience import until
from tests.server.api import ASK, INPUT, Api, open_api

from reelport.report_details import LIMITS_PATH, REPORTS_PATH
from reelport.server.access import keys
from reelport.server.limits.rate_limits import hash_owner
from reelport.server.settings import read_settings
from reelport.wire import LOOK, PUBLIC_TOKEN_PATH

_ITEM = re.compile(r'"([a-z-]+)"((?:;[a-z]+=(?:[0-9]+|"[a-z-]+"))*)')
"""An item of a list of structured fields (RFC 9651), as far as these headers need them."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service of whose partners three reports may wait."""
    with open_api(read_settings(data=tmp_path_factory.mktemp("small"), workers=0, waiting_limit=3)) as api:
        yield api


def parse(header: str) -> dict[str, dict[str, int | str]]:
    """Parse one of the headers: the parameters of each policy."""
    found = {}
    for item in header.split(", "):
        match = _ITEM.fullmatch(item)
        assert match is not None, item
        pairs = (each.split("=") for each in match[2].split(";")[1:])
        found[match[1]] = {name: value.strip('"') if value[0] == '"' else int(value) for name, value in pairs}
    return found


def limits_of(reply: httpx2.Response) -> dict[str, dict[str, int | str]]:
    """What is left by an answer: each policy of it is one that the answer describes."""
    left = parse(reply.headers["ratelimit"])
    assert left.keys() <= parse(reply.headers["ratelimit-policy"]).keys()
    return left


def ask(api: Api, **more: str) -> httpx2.Response:
    """Ask for a new report."""
    return api.post(json.dumps({"query": ASK, "variables": {"input": {**INPUT, **api.new()}}}).encode(), **more)


def get_limits(api: Api, token: str) -> httpx2.Response:
    """The caller's limits as JSON."""
    return api.client.get(LIMITS_PATH, headers={"Authorization": f"Bearer {token}"})


def told(api: Api) -> dict[str, dict[str, Any]]:
    """The same by policy."""
    return {each["policy"]: each for each in get_limits(api, api.token).json()["limits"]}


def test_a_token_says_how_many_more_may_be_granted(api: Api) -> None:
    """A hundred at once, and as many again in ten seconds; a refused request counts too."""
    fresh = replace(
        api, key=keys.create_key(api.service.db, api.service.service_secret, "demo", ["create_reports"], now())
    )
    first, second = fresh.grant(), fresh.grant(scope="access_revenue")
    assert (first.status_code, second.status_code) == (200, 400)
    assert parse(first.headers["ratelimit-policy"]) == {"tokens": {"q": 100, "w": 10}}
    assert limits_of(first) == {"tokens": {"r": 99, "t": 1}}
    # On a busy machine some come back in between.
    assert limits_of(second)["tokens"]["r"] in {98, 99}


def test_a_key_beyond_its_limit_is_told_to_wait_no_longer_than_retry_after(api: Api) -> None:
    """Nothing is left for the seconds after which a token is to be had."""
    replies: list[httpx2.Response] = []

    def is_refused() -> bool:
        while not api.service.grants.take(hash_owner(api.key.id, api.key.secret)):
            pass
        replies.append(api.grant())
        return replies[-1].status_code == 429

    assert until(is_refused)
    left = limits_of(replies[-1])["tokens"]
    assert left["r"] == 0
    assert left["t"] == int(replies[-1].headers["retry-after"])


def test_a_public_key_is_told_of_its_limit_at_the_address_too(api: Api) -> None:
    """Both hold, and the smaller one is that of the address."""
    key = keys.create_key(api.service.db, api.service.service_secret, "demo", ["create_reports"], now(), kind="public")
    form = {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret}
    reply = api.client.post(PUBLIC_TOKEN_PATH, data=form)
    policies = parse(reply.headers["ratelimit-policy"])
    assert policies == {"tokens-at-address": {"q": 50, "w": 50}, "tokens": {"q": 100, "w": 10}}
    assert limits_of(reply) == {"tokens-at-address": {"r": 49, "t": 1}, "tokens": {"r": 99, "t": 1}}


def test_a_form_that_is_refused_before_it_counts_says_nothing(api: Api) -> None:
    """No key is known whose limit could be told."""
    reply = api.client.post("/oauth/v1/token", data={"grant_type": "client_credentials"})
    assert reply.status_code == 400
    assert "ratelimit" not in reply.headers


def test_an_ask_says_for_how_many_more_reports_one_may_ask(small: Api) -> None:
    """Down to none, which the refusal says too; a look says the same, and a finished report gives its slot back."""
    replies = [ask(small) for _ in range(4)]
    assert [limits_of(reply)["reports"]["r"] for reply in replies] == [2, 1, 0, 0]
    assert parse(replies[0].headers["ratelimit-policy"]) == {
        "documents": {"q": 2, "qu": "concurrent-requests"},
        "reports": {"q": 3, "qu": "concurrent-requests"},
    }
    assert replies[3].json()["errors"][0]["extensions"]["code"] == "too_many_reports"
    token = replies[0].json()["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    look = json.dumps({"query": LOOK, "variables": {"reportToken": token}}).encode()
    assert limits_of(small.post(look))["reports"]["r"] == 0
    small.finish(b"day,views\n")
    assert limits_of(small.post(look))["reports"]["r"] == 3


def test_a_document_that_tells_of_no_report_says_how_many_run_at_once(api: Api) -> None:
    """Two of a partner at a time: others wait for their turn."""
    reply = api.post(b'{"query": "{ __typename }"}')
    assert limits_of(reply) == {"documents": {"r": 2}}


def test_limits_are_told_as_json_with_the_numbers_of_the_headers(small: Api) -> None:
    """With the slots of unfinished reports; what one token alone can't know is null."""
    headers = ask(small).headers
    limits = told(small)
    for policy, parameters in parse(headers["ratelimit-policy"]).items():
        assert limits[policy]["quota"] == parameters["q"]
        assert limits[policy]["unit"] == parameters["qu"]
        assert limits[policy]["left"] == parse(headers["ratelimit"])[policy]["r"]
    assert limits["tokens"] == {
        "policy": "tokens",
        "quota": 100,
        "left": None,
        "unit": "requests",
        "windowSeconds": 10,
        "resetSeconds": None,
    }
    assert (limits["downloads"]["quota"], limits["downloads"]["left"]) == (64, 64)
    assert (limits["status-queries"]["quota"], limits["status-queries"]["left"]) == (50, 50)
    assert (limits["bodies"]["unit"], limits["bodies"]["quota"]) == ("content-bytes", 8_388_608)
    assert get_limits(small, small.token).json()["slots"] == {"used": 1, "limit": 3}
    small.finish(b"day,views\n")
    assert get_limits(small, small.token).json()["slots"] == {"used": 0, "limit": 3}


def test_addresses_below_v1_tell_the_limits_in_headers_too(small: Api) -> None:
    """About a report, about the limits, and about no report, which tells nothing of slots."""
    token = ask(small).json()["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    bearer = {"Authorization": f"Bearer {small.token}"}
    paths = (f"{REPORTS_PATH}/{token}", LIMITS_PATH, f"{REPORTS_PATH}/x")
    replies = [small.client.get(path, headers=bearer) for path in paths]
    expected = {"documents": {"r": 2}, "reports": {"r": 2}}
    assert [limits_of(reply) for reply in replies] == [expected, expected, {"documents": {"r": 2}}]
    small.finish(b"day,views\n")


def test_limits_are_told_to_callers_alone(api: Api) -> None:
    """As every address below `/v1/`."""
    reply = get_limits(api, "x")
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")


def now() -> datetime:
    return datetime.now(UTC)
