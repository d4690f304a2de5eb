"""The vendor that misbehaves on command: well-behaved by default, and each setting does what it says."""

from __future__ import annotations

import csv
import io
import json
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from datetime import date
from http.client import HTTPException, IncompleteRead
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from tests.patience import free_port

from reelport import ReportQuery
from reelport.testing import Cut, Vendor
from reelport.wire import ASK, LOOK

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 3))


def post(vendor: Vendor, path: str, body: bytes, **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{vendor.url}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer: dict[str, Any] = json.loads(reply.read())
        return answer


def graphql(vendor: Vendor, document: str, variables: dict[str, Any], path: str = "/graphql") -> dict[str, Any]:
    body = json.dumps({"query": document, "variables": variables}).encode()
    return post(vendor, path, body, Authorization=f"Bearer {vendor.bearer}")


def ask(vendor: Vendor, query: ReportQuery = QUERY) -> str:
    answer = graphql(vendor, ASK, {"input": query.to_wire()})
    token: str = answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return token


def look(vendor: Vendor, token: str) -> tuple[str, list[str]]:
    found = graphql(vendor, LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]
    return found["status"], [edge["node"]["link"] for edge in found["downloadLinks"]["edges"]]


def fetch(vendor: Vendor, query: ReportQuery) -> bytes:
    body = b""
    for link in look(vendor, ask(vendor, query))[1]:
        with urllib.request.urlopen(link, timeout=300) as reply:
            body += reply.read()
    return body


def grant(vendor: Vendor, path: str, **form: str) -> dict[str, Any]:
    pair = {"client_id": vendor.key, "client_secret": vendor.secret}
    return post(vendor, path, urlencode(pair | form).encode())


def test_the_same_ask_gives_the_same_bytes_and_days_add_up(vendor: Vendor) -> None:
    """Two asks agree to the byte; the sum of days is the total, and of two windows the whole."""
    assert fetch(vendor, QUERY) == fetch(vendor, QUERY)
    by_day = fetch(vendor, QUERY).decode().splitlines()[1:]
    assert [row.split(",")[0] for row in by_day] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    total = ReportQuery.of(["VIEWS"], [], QUERY.start, QUERY.end)
    assert int(fetch(vendor, total).split()[1]) == sum(int(row.split(",")[1]) for row in by_day)


def test_any_query_gets_rows_that_group(vendor: Vendor) -> None:
    """Unknown names, rates, money and odd texts make a CSV of unique rows; names are summed over other cells."""
    names = ["VIEWS", "ECPM_EUR", "LIVE_VIEWERS", "STORAGE_USED_BYTES", "BRAND_NEW"]
    split = ReportQuery.of(names, ["MONTH", "VIDEO_TITLE", "NEW_ONE"], QUERY.start, QUERY.end)
    rows = list(csv.DictReader(io.StringIO(fetch(vendor, split).decode())))
    assert len({(row["video_title"], row["new_one"]) for row in rows}) == len(rows) > 3
    by_title: dict[str, int] = defaultdict(int)
    for row in rows:
        by_title[row["video_title"]] += int(row["brand_new"])
    whole = ReportQuery.of(["BRAND_NEW"], ["VIDEO_TITLE"], QUERY.start, QUERY.end)
    assert dict(by_title) == {
        row["video_title"]: int(row["brand_new"]) for row in csv.DictReader(io.StringIO(fetch(vendor, whole).decode()))
    }


def test_a_third_report_is_refused_in_either_way(vendor: Vendor) -> None:
    """With two unfinished a further ask is refused by an errors list or by 429, and is not taken."""
    vendor.makes_in = 60
    ask(vendor)
    ask(vendor)
    assert "errors" in graphql(vendor, ASK, {"input": QUERY.to_wire()})
    vendor.refusal, vendor.retry_after = "429", 7
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(vendor)
    assert (caught.value.code, caught.value.headers["retry-after"]) == (429, "7")
    caught.value.close()
    assert (len(vendor.asks), vendor.refused, vendor.peak) == (2, 2, 2)
    vendor.makes_in = 0
    ask(vendor)


def test_one_of_some_asks_is_refused_and_one_of_some_downloads_is_cut(vendor: Vendor) -> None:
    """Of each two, the second ask is refused and the first download is cut, however often."""
    vendor.refuses_every = 2
    answers = ["errors" in graphql(vendor, ASK, {"input": QUERY.to_wire()}) for _ in range(4)]
    assert answers == [False, True, False, True]
    vendor.refuses_every, vendor.cut, vendor.cut_every = None, Cut.CONTENT_LENGTH, 2
    (link,) = look(vendor, ask(vendor))[1]
    for _ in range(2):
        with urllib.request.urlopen(link, timeout=300) as reply, pytest.raises(IncompleteRead):
            reply.read()
        with urllib.request.urlopen(link, timeout=300) as reply:
            assert reply.read().startswith(b"day,views\n")


def test_it_listens_on_the_port_that_it_is_given() -> None:
    """A program that is set to one address finds it there."""
    port = free_port()
    with Vendor(port=port) as vendor:
        assert vendor.url == f"http://127.0.0.1:{port}"
        assert grant(vendor, "/oauth/v1/token", grant_type="client_credentials")["expires_in"] == 3600


def test_a_report_goes_through_its_states(vendor: Vendor) -> None:
    """Looks see the words they were told to, then the links; then it expires, or is forgotten."""
    vendor.makes_after_looks, vendor.status_words = 2, ("QUEUED", "IN_PROGRESS")
    token = ask(vendor)
    assert [look(vendor, token)[0] for _ in range(3)] == ["QUEUED", "IN_PROGRESS", "FINISHED"]
    vendor.expires_after = 0
    assert look(vendor, token) == ("EXPIRED", [])
    vendor.forgets = True
    assert graphql(vendor, LOOK, {"reportToken": token})["data"]["partner"]["reportFile"] is None


def test_reports_fail_by_number_or_by_what_they_ask(vendor: Vendor) -> None:
    """`fails` counts down, or looks at the input."""
    vendor.fails = 1
    assert [look(vendor, ask(vendor))[0] for _ in range(2)] == ["FAILED", "FINISHED"]
    vendor.fails = lambda wire: wire["endDate"] == "2026-01-03"
    assert look(vendor, ask(vendor))[0] == "FAILED"


@pytest.mark.parametrize(("when", "taken"), [("before", 0), ("after", 1)])
def test_an_ask_is_lost_before_or_after_it_was_taken(
    vendor: Vendor, when: Literal["before", "after"], taken: int
) -> None:
    """The connection ends without a byte; the next ask goes through."""
    vendor.loses_ask = when
    with pytest.raises((HTTPException, OSError)):
        ask(vendor)
    assert len(vendor.asks) == taken
    ask(vendor)


def test_both_kinds_of_key_get_tokens(vendor: Vendor) -> None:
    """Client credentials at one address, password and refresh at the other; a wrong password is refused."""
    assert grant(vendor, "/oauth/v1/token", grant_type="client_credentials", scope="create_reports")["access_token"]
    user = {"username": vendor.username, "password": vendor.password}
    refresh = grant(vendor, "/oauth/token", grant_type="password", **user)["refresh_token"]
    token = grant(vendor, "/oauth/token", grant_type="refresh_token", refresh_token=refresh)["access_token"]
    body = json.dumps({"query": "{ __typename }"}).encode()
    assert post(vendor, "/", body, Authorization=f"Bearer {token}") == {"data": {"__typename": "Query"}}
    vendor.revoke_tokens()
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        post(vendor, "/", body, Authorization=f"Bearer {token}")
    caught.value.close()
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        grant(vendor, "/oauth/token", grant_type="password", username="x", password="y")  # noqa: S106 - a wrong one
    caught.value.close()
    assert vendor.grants == ["client_credentials", "password", "refresh_token", "password"]


def test_links_expire_and_files_come_in_parts(vendor: Vendor) -> None:
    """A link that was made useless is refused; several links hold all the rows; a range is answered with 206."""
    vendor.links = 2
    _, old = look(vendor, ask(vendor))
    vendor.expire_links()
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(old[0], timeout=300)
    caught.value.close()
    first, second = look(vendor, vendor.tokens[0])[1]
    request = urllib.request.Request(first, headers={"Range": "bytes=4-"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        assert (reply.status, reply.read()[:5]) == (206, b"views")
    with urllib.request.urlopen(second, timeout=300) as reply:
        assert reply.read().startswith(b"day,views\n")
    assert (vendor.downloads, vendor.asked_ranges) == (3, ["bytes=4-"])


def test_threads_may_ask_at_once(vendor: Vendor) -> None:
    """However many ask at the same moment, no more than allowed are taken."""
    vendor.makes_in = 60
    threads = [threading.Thread(target=graphql, args=(vendor, ASK, {"input": QUERY.to_wire()})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert (len(vendor.asks), vendor.refused) == (2, 6)


def test_it_can_be_told_to_be_a_reelport_service_and_stops_and_starts(vendor: Vendor) -> None:
    """The header is there when it is told to say so; after a stop the same port answers again and knows its reports."""
    vendor.says_reelport = True
    token = ask(vendor)
    vendor.stop()
    with pytest.raises(OSError, match="refused"):
        ask(vendor)
    vendor.start()
    assert look(vendor, token)[0] == "FINISHED"
    body = json.dumps({"query": "{ __typename }"}).encode()
    request = urllib.request.Request(f"{vendor.url}/graphql", body, {"Authorization": f"Bearer {vendor.bearer}"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        assert reply.headers["Reelport-Version"]
