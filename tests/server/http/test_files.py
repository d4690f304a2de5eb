"""Finished files over HTTP: who may fetch one, what goes with it, and which part is sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import update
from starlette.types import Message, Receive, Send
from tests.patience import count_calls
from tests.server.api import Api, file_of

from reelport.errors import StorageError
from reelport.server.access import grants, keys
from reelport.server.access.grants import ClientCredentials
from reelport.server.files import retention, signed_urls
from reelport.server.http.downloads import parse_range
from reelport.server.state.database import writing
from reelport.server.state.tables import REPORTS
from reelport.wire import LOOK, NO_DAY

DESCRIPTORS = Path("/proc/self/fd")
BODY = b"day,views\n" + b"".join(b"2026-01-%02d,%d\n" % (day, day * 1000) for day in range(1, 29))
LONG = b"day,views\n" + b"2026-01-01,3\n" * 300_000


@pytest.fixture(scope="module")
def link(api: Api) -> str:
    """The path and query of a finished report's link."""
    return api.link(api.finished(BODY))


def test_a_link_needs_no_header_and_gives_the_whole_file(api: Api, link: str) -> None:
    """With its length, its hash as ETag, a name, and a warning to browsers."""
    assert link.startswith("http://testserver/files/")
    reply = api.client.get(link)
    assert (reply.status_code, reply.content) == (200, BODY)
    assert reply.headers["content-length"] == str(len(BODY))
    assert reply.headers["etag"] == f'"{hashlib.sha256(BODY).hexdigest()}"'
    assert reply.headers["reelport-rows"] == str(BODY.count(b"\n") - 1)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r"attachment; filename=\"\w+\.csv\"; filename\*=UTF-8''views-by-[\w-]+_\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d\.csv",
        reply.headers["content-disposition"],
    )
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"


def test_the_holders_cache_may_keep_a_file_until_its_link_expires(api: Api, link: str) -> None:
    """It never changes, and no other cache may keep it; what is no file is not kept."""
    expires = int(parse_qs(urlsplit(link).query)["expires"][0])
    for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
        before = datetime.now(UTC).timestamp()
        kept = re.fullmatch(
            r"private, no-transform, max-age=(\d+), immutable",
            api.client.get(link, headers=headers).headers["cache-control"],
        )
        assert kept is not None
        assert expires - datetime.now(UTC).timestamp() - 1 <= int(kept[1]) <= expires - before
    for headers in ({"Range": "bytes=99999-"}, {"If-Match": '"other"'}):
        assert api.client.get(link, headers=headers).headers["cache-control"] == "no-store"


def test_a_head_says_the_same_without_the_file(api: Api, link: str) -> None:
    """HEAD has every header of GET and no body."""
    whole, head = api.client.get(link), api.client.head(link)
    assert (head.status_code, head.content) == (200, b"")
    same = [name for name in whole.headers if name not in {"date", "x-request-id"}]
    assert {name: head.headers[name] for name in same} == {name: whole.headers[name] for name in same}


def test_a_file_and_a_look_say_up_to_which_day_facts_are_complete(api: Api) -> None:
    """Whole, in part, by HEAD; a look says the first of its reports, and none comes before all."""
    days = (date(2026, 10, 31), date(2026, 9, 30), NO_DAY)
    tokens = [api.finished(complete=day) for day in days]
    said = ["2026-10-31", "2026-09-30", "none"]
    for token, day in zip(tokens, said, strict=True):
        link = api.link(token)
        replies = [api.client.get(link), api.client.get(link, headers={"Range": "bytes=3-"}), api.client.head(link)]
        assert [reply.headers["reelport-last-complete-day"] for reply in replies] == [day] * 3
    for some, first in ((tokens[:1], said[0]), (tokens[:2], said[1]), (tokens, said[2])):
        assert look_at(api, some).headers["reelport-last-complete-day"] == first


def test_what_is_not_known_of_a_report_is_not_said(api: Api, link: str) -> None:
    """A report that was pinned before that was noted, and one that waits, have no such header."""
    assert "reelport-last-complete-day" not in api.client.get(link).headers
    waits = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    assert "reelport-last-complete-day" not in look_at(api, [waits, api.finished()]).headers


def look_at(api: Api, tokens: list[str]) -> httpx2.Response:
    """The answer to one look at several reports."""
    fields = (
        f'r{at}: reportFile(reportToken: "{token}") {{ status downloadLinks {{ edges {{ node {{ link }} }} }} }}'
        for at, token in enumerate(tokens)
    )
    return api.post(json.dumps({"query": f"{{ partner {{ {' '.join(fields)} }} }}"}).encode())


def test_a_link_lives_as_long_as_its_report(api: Api) -> None:
    """A report that ends between two whole seconds has a link that is good until then, not one that ended before."""
    token, end = api.finished(BODY), datetime.now(UTC).replace(microsecond=500_000) + timedelta(minutes=2)
    with writing(api.service.db) as connection:
        connection.execute(update(REPORTS).where(REPORTS.c.token == token).values(expires_at=end))
    (expires,) = parse_qs(urlsplit(api.link(token)).query)["expires"]
    assert 0 <= int(expires) - end.timestamp() < 1


SIZE = len(BODY)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=5-9", (5, 10)),
        ("bytes=10-", (10, SIZE)),
        ("bytes=-7", (SIZE - 7, SIZE)),
        ("bytes=-99999", (0, SIZE)),
        ("bytes=3-99999", (3, SIZE)),
        ("Bytes = 1 - 2", (1, 3)),
    ],
)
def test_one_range_is_sent(api: Api, link: str, header: str, part: tuple[int, int]) -> None:
    """206 with exactly these bytes, and where they lie."""
    reply = api.client.get(link, headers={"Range": header})
    first, end = part
    assert (reply.status_code, reply.content) == (206, BODY[first:end])
    assert reply.headers["content-range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert reply.headers["content-length"] == str(end - first)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-1,3-4",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-3",
        "lines=1-2",
        "bytes=0x1-2",
        "bytes=1-2-3",
        "bytes=٣-٤",
    ],
)
def test_several_ranges_or_none_that_is_one_give_the_whole_file(api: Api, link: str, header: str) -> None:
    """As RFC 9110 allows: the header is passed over."""
    reply = api.client.get(link, headers={"Range": header.encode()})  # type: ignore[arg-type]
    assert (reply.status_code, len(reply.content)) == (200, SIZE)


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0", "bytes=99999999-"])
def test_a_range_beyond_the_end_is_416(api: Api, link: str, header: str) -> None:
    """With the size, so that a client that has it all learns so."""
    reply = api.client.get(link, headers={"Range": header})
    assert (reply.status_code, reply.content) == (416, b"")
    assert reply.headers["content-range"] == f"bytes */{SIZE}"


def test_five_thousand_ranges_cost_nothing(api: Api, link: str) -> None:
    """The header isn't even taken apart: it costs no call more than a short one."""
    header = "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))
    assert api.client.get(link, headers={"Range": header}).status_code == 200
    assert parse_range(header, SIZE) == (200, 0, SIZE)
    assert count_calls(lambda: parse_range(header, SIZE)) <= count_calls(lambda: parse_range("bytes=0-0,1-1", SIZE))


def test_a_range_is_sent_only_of_the_file_that_was_meant(api: Api, link: str) -> None:
    """If-Range with our ETag keeps the range; with any other, or a date, the whole file comes."""
    tag = api.client.head(link).headers["etag"]
    for condition, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200), ("Wed, 25 Nov 2026 10:00:00 GMT", 200)):
        reply = api.client.get(link, headers={"Range": "bytes=0-3", "If-Range": condition})
        assert reply.status_code == status, condition


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{tag}"}, 304),
        ({"If-None-Match": 'W/{tag}, "x"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Match": "{tag}"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
    ],
    ids=str,
)
def test_conditions_are_kept(api: Api, link: str, headers: dict[str, str], status: int) -> None:
    """304 for a file that the caller has, 412 for one that it isn't; no body with either."""
    tag = api.client.head(link).headers["etag"]
    reply = api.client.get(link, headers={name: value.replace("{tag}", tag) for name, value in headers.items()})
    assert reply.status_code == status
    assert reply.headers["etag"] == tag
    assert (reply.content == b"") is (status != 200)


@pytest.mark.parametrize(
    "changed", ["no query", "no signature", "expires", "signature", "report", "key", "half a signature"]
)
def test_a_link_that_isnt_ours_is_403(api: Api, link: str, changed: str) -> None:
    """One answer for all of them, as JSON: nothing can be learnt about what exists."""
    parts = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    path = parts.path
    match changed:
        case "no query":
            query = {}
        case "no signature":
            del query["signature"]
        case "expires":
            query["expires"] = str(int(query["expires"]) + 1)
        case "signature":
            query["signature"] = "0" * 64
        case "half a signature":
            query["signature"] = query["signature"][:32]
        case "key":
            query["key"] = "rpk_other"
        case _:
            path = "/files/unknown.csv"
    reply = api.client.get(path, params=query)
    assert (reply.status_code, reply.json()["error"]) == (403, "link_not_valid")
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("expires", ["", "-1", "1e9", "9" * 5000, "\uff11\uff12", "1\0", "0"])
def test_an_expiry_that_is_none_is_403(api: Api, link: str, expires: str) -> None:
    """Whatever stands there."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    reply = api.client.get(urlsplit(link).path, params={**query, "expires": expires})
    assert reply.status_code == 403


def test_a_link_that_is_over_is_403(api: Api, link: str) -> None:
    """And a fresh look gives a good one."""
    report_id = urlsplit(link).path.removeprefix("/files/").removesuffix(".csv")
    old = signed_urls.sign_url(
        api.service.service_secret, report_id, api.key.id, datetime.now(UTC) - timedelta(seconds=1)
    )
    assert api.client.get(old).status_code == 403


@pytest.mark.parametrize(
    "path", ["/files/../state.db", "/files/..%2Fstate.db", "/files/%00.csv", "/files/x.txt", "/files/.csv"]
)
def test_no_path_leads_out_of_the_files(api: Api, path: str) -> None:
    """Only a report's name is read from the path, never a file's."""
    assert api.client.get(path).status_code in {403, 404}


def test_only_reading_is_taken(api: Api, link: str) -> None:
    """A link can change nothing."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert api.client.request(method, link).status_code == 405


def test_a_file_that_isnt_what_its_record_says_is_never_served(api: Api) -> None:
    """A shorter file is 500, a missing one 410, and both are in the log for the operator."""
    api.ask(**api.new())
    record = api.finish(BODY)
    until = datetime.now(UTC) + timedelta(minutes=1)
    link = signed_urls.sign_url(api.service.service_secret, record.name.split("-")[0], api.key.id, until)
    file_of(api, record).write_bytes(BODY[:-5])
    assert (api.client.get(link).status_code, api.client.get(link).json()["error"]) == (500, "internal_error")
    file_of(api, record).unlink()
    assert api.client.get(link).status_code == 410


def test_a_file_whose_disk_is_away_is_503(api: Api, link: str) -> None:
    """Where the whole folder is missing the report isn't over, and can be had when its disk is back."""
    root = api.service.settings.files_root
    away = root.rename(root.with_name("away"))
    try:
        reply = api.client.get(link)
        assert (reply.status_code, reply.json()["error"]) == (503, "temporarily_unavailable")
    finally:
        away.rename(root)
    assert api.client.get(link).status_code == 200


def test_no_file_stays_open(api: Api, link: str) -> None:
    """Whole, part, none: each reply closes its file."""
    root = api.service.settings.files_root.resolve()
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=99999-"}, {"If-None-Match": "*"}):
        for _ in range(5):
            api.client.get(link, headers=headers)
            api.client.head(link, headers=headers)
    # The service opens and closes other files beside a test.
    assert not [each for each in DESCRIPTORS.iterdir() if root in each.resolve().parents]


def test_a_reader_who_goes_away_ends_the_reading(api: Api) -> None:
    """At most a megabyte of a file is read for nobody."""
    link = urlsplit(api.link(api.finished(LONG)))
    sent: list[Message] = []
    coming: Iterator[Message] = iter([{"type": "http.request"}])

    async def receive() -> Message:
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    answer(api, link, receive, send)
    assert sent[0]["status"] == 200
    assert sum(len(message["body"]) for message in sent[1:]) == 1_048_576


def test_a_file_that_is_cut_while_it_is_sent_ends_its_answer_early(api: Api) -> None:
    """Its reader gets fewer bytes than were told, and no end of them."""
    api.ask(**api.new())
    record = api.finish(LONG)
    until = datetime.now(UTC) + timedelta(minutes=1)
    link = signed_urls.sign_url(api.service.service_secret, record.name.split("-")[0], api.key.id, until)
    sent: list[Message] = []
    coming: Iterator[Message] = iter([{"type": "http.request", "more_body": True}])

    async def receive() -> Message:
        if message := next(coming, None):
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        os.truncate(file_of(api, record), len(LONG) // 2)

    with pytest.raises(StorageError, match="was cut while it was sent"):
        answer(api, urlsplit(link), receive, send)
    assert 0 < sum(len(message["body"]) for message in sent[1:]) < len(LONG)
    assert all(message["more_body"] for message in sent[1:])


def answer(api: Api, link: SplitResult, receive: Receive, send: Send) -> None:
    """Let the app answer a GET, message by message."""
    scope = {"type": "http", "method": "GET", "path": link.path, "query_string": link.query.encode(), "headers": []}
    portal = api.client.portal
    assert portal is not None
    portal.call(api.client.app, scope, receive, send)


def test_an_expired_report_is_410(api: Api) -> None:
    """A good link of a report whose file was swept says that it is gone."""
    token = api.finished()
    link = api.link(token)
    later = datetime.now(UTC) + timedelta(hours=api.service.settings.retention_hours + 1)
    retention.sweep(api.service.db, api.service.settings, later)
    reply = api.client.get(link)
    assert (reply.status_code, reply.json()["error"]) == (410, "report_expired")
    api.token = api.grant().json()["access_token"]  # the sweep took the old one too
    report = api.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]
    assert (report["status"], report["downloadLinks"]["edges"]) == ("EXPIRED", [])


def test_a_link_of_a_revoked_key_is_403(api: Api) -> None:
    """The next request of it is refused, a range of a download that was cut too; the report's other links go on."""
    token = api.finished()
    kept = api.link(token)
    key = keys.create_key(api.service.db, api.service.service_secret, "demo", ["read_reports"], datetime.now(UTC))
    now = datetime.now(UTC)
    granted = grants.grant_token(
        api.service.db, api.service.service_secret, ClientCredentials(key.id, key.secret), [], now
    )
    assert isinstance(granted, grants.Grant)
    own, api.token = api.token, granted.token
    link, api.token = api.link(token), own
    assert api.client.get(link, headers={"Range": "bytes=0-3"}).status_code == 206
    keys.revoke_key(api.service.db, key.id, now)
    for headers in ({}, {"Range": "bytes=4-"}):
        reply = api.client.get(link, headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (403, "link_not_valid")
        assert "key that may still read" in reply.json()["error_description"], "this one gets no fresh link"
    assert api.client.get(kept).status_code == 200
