"""Forms of a report's file over HTTP: by suffix and `Accept`, with the rights, headers and parts of the CSV."""

from __future__ import annotations

import gzip
import io
import json
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select
from tests.disks import small_disk
from tests.server.api import Api, open_api
from tests.server.http.test_files_in_object_store import settings_of

from reelport.engine.report_format import CSV, CSV_GZ, CSV_ZST, FORM_TYPES, NDJSON, PARQUET, XLSX, FileType
from reelport.server.access import keys, organizations
from reelport.server.files import signed_urls
from reelport.server.http.downloads import choose_form
from reelport.server.settings import read_settings
from reelport.server.state import tables
from reelport.server.state.database import reading, writing

BODY = b"day,views\n" + b"".join(b"2026-01-%02d,%d\n" % (day, day * 1000) for day in range(1, 29))


@pytest.fixture(scope="module")
def link(api: Api) -> str:
    """The link of a finished report."""
    return api.link(api.finished(BODY, date(2026, 1, 27)))


def of(link: str, suffix: str) -> str:
    """The link with another suffix."""
    return link.replace(".csv?", f"{suffix}?")


def wanted(api: Api) -> list[tuple[str, str]]:
    """The forms that were ever asked for: report and suffix."""
    with reading(api.service.db) as connection:
        rows = connection.execute(select(tables.FORMS.c.report_id, tables.FORMS.c.suffix)).all()
    return [(row.report_id, row.suffix) for row in rows]


@pytest.mark.parametrize("form", FORM_TYPES.values(), ids=FORM_TYPES)
def test_the_first_request_waits_for_its_form(api: Api, link: str, form: FileType) -> None:
    """It is answered with the file, its type, name, digest and rows; the CSV stays what it is."""
    with api.making_forms():
        reply = api.client.get(of(link, form.suffix))
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == form.media_type
    assert reply.headers["content-disposition"].endswith(form.suffix)
    assert reply.headers["reelport-rows"] == "28"
    assert "vary" not in reply.headers
    again = api.client.get(of(link, form.suffix))
    assert (again.content, again.headers["etag"]) == (reply.content, reply.headers["etag"])
    assert api.client.get(link).content == BODY


def test_forms_have_the_rows_of_the_csv(api: Api, link: str) -> None:
    """Whatever wraps them."""
    with api.making_forms():
        got = {form: api.client.get(of(link, form.suffix)).content for form in FORM_TYPES.values()}
    assert gzip.decompress(got[CSV_GZ]) == BODY
    assert [row["views"] for row in map(json.loads, got[NDJSON].splitlines())] == [day * 1000 for day in range(1, 29)]
    assert pq.read_table(io.BytesIO(got[PARQUET])).to_pydict()["day"][0] == date(2026, 1, 1)


def test_a_form_says_what_it_was_made_of(api: Api, link: str) -> None:
    """By headers, and in Parquet's metadata."""
    with api.making_forms():
        replies = [api.client.get(of(link, suffix)) for suffix in (".parquet", ".ndjson")]
    told = [[reply.headers[f"reelport-{name}"] for name in ("query", "versions", "units")] for reply in replies]
    assert told[0] == told[1]
    query, versions, units = map(json.loads, told[0])
    assert (query["metrics"], versions, units) == (["VIEWS"], {}, {"views": "views"})
    assert replies[1].headers["reelport-last-complete-day"] == "2026-01-27"
    metadata = pq.read_schema(io.BytesIO(replies[0].content)).metadata
    assert json.loads(metadata[b"reelport.query"]) == query
    assert metadata[b"reelport.last_complete_day"] == b"2026-01-27"
    assert "reelport-query" not in api.client.get(link).headers


def test_a_form_is_had_in_part_and_by_head(api: Api, link: str) -> None:
    """Ranges, conditions and HEAD go by the form's own bytes."""
    path = of(link, ".parquet")
    with api.making_forms():
        whole = api.client.get(path)
    part = api.client.get(path, headers={"Range": "bytes=4-9", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[4:10])
    assert part.headers["content-range"] == f"bytes 4-9/{len(whole.content)}"
    assert api.client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    head = api.client.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))


def test_accept_chooses_a_form_of_the_csv_link(api: Api, link: str) -> None:
    """By its media type alone; caches are told that the answer depends on it."""
    with api.making_forms():
        by_suffix = {form: api.client.get(of(link, form.suffix)).content for form in FORM_TYPES.values()}
        for form, content in by_suffix.items():
            reply = api.client.get(link, headers={"Accept": f"{form.media_type}, */*;q=0.1"})
            assert (reply.content, reply.headers["vary"]) == (content, "Accept")
            assert reply.headers["content-type"] == form.media_type
    for accept in ("*/*", "text/csv", "application/*", "text/html,*/*;q=0.8", "application/json"):
        reply = api.client.get(link, headers={"Accept": accept})
        assert (reply.content, reply.headers["content-type"]) == (BODY, CSV.media_type)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", CSV),
        ("application/x-ndjson;q=0", CSV),
        ("application/x-ndjson;q=much", CSV),
        ("application/x-ndjson, text/csv", CSV),
        ("application/x-ndjson, text/csv;q=0.9", NDJSON),
        ("APPLICATION/GZIP ; q=0.5 , application/zstd; q=0.7", CSV_ZST),
        ("application/vnd.apache.parquet", PARQUET),
        ("application/x-ndjson, */*", NDJSON),
        ("text/*, application/x-ndjson;q=0.1", CSV),
        ("application/x-ndjson" + ", */*" * 500, CSV),
        ("application/x-ndjson;q=0.1, */*", CSV),
        ("application/x-ndjson;q=nan", CSV),
        ("application/x-ndjson;q=1_0", CSV),
        ("application/x-ndjson;q=0.5, application/gzip;q=inf", NDJSON),
    ],
)
def test_accept_is_weighed(accept: str, form: FileType) -> None:
    """The form of the highest weight; the CSV where it has the same."""
    assert choose_form(accept) == form


def test_a_form_that_is_not_there_in_time_is_to_be_asked_for_again(tmp_path: Path) -> None:
    """503 with Retry-After; it is made meanwhile, and the next request gets it."""
    with open_api(read_settings(data=tmp_path / "data", workers=0, look_seconds=0)) as api:
        path = of(api.link(api.finished(BODY)), ".parquet")
        reply = api.client.get(path)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        assert reply.json()["error"] == "temporarily_unavailable"
        assert api.make_form()
        assert api.client.get(path).status_code == 200


def test_two_requests_at_once_make_one_form(api: Api) -> None:
    """Both are answered with the same file of one attempt."""
    path = of(api.link(api.finished(BODY)), ".ndjson")
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(api.client.get(path).content)) for _ in range(4)]
    with api.making_forms():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(got) == 4
    assert len(set(got)) == 1
    (report,) = {report for report, suffix in wanted(api) if path.split("/")[-1].startswith(report)}
    assert [path.name for path in api.service.settings.files_root.glob(f"{report}-*.ndjson")] == [f"{report}-1.ndjson"]


def refused(api: Api, path: str) -> tuple[int, dict[str, str]]:
    """What an unrightful request hears."""
    reply = api.client.get(path)
    return reply.status_code, reply.json()


@pytest.mark.parametrize("suffix", FORM_TYPES)
def test_a_form_needs_the_rights_of_the_csv(api: Api, suffix: str) -> None:
    """A wrong signature, an expired link, a foreign or revoked key: nothing, as of a report that never was."""
    link, before = api.link(api.finished(BODY)), wanted(api)
    path, _, query = link.partition("?")
    report = path.rsplit("/", 1)[1].removesuffix(".csv")
    service, now = api.service, datetime.now(UTC)
    nothing = refused(api, f"/files/nothing{suffix}?{query}")
    assert nothing[0] == 403
    other = organizations.add_organization(service.db, f"other{suffix.replace('.', '-')}", now)
    organizations.allow_channels(service.db, other.id, ["c-other"])
    theirs = keys.create_key(service.db, service.service_secret, other.name, ["create_reports"], now)
    own = keys.create_key(service.db, service.service_secret, "demo", ["create_reports"], now)
    tried = [
        of(link, suffix).replace("signature=", "signature=x"),
        of(link, suffix).replace("expires=", "expires=9"),
        of(signed_urls.sign_url(service.service_secret, report, api.key.id, now - timedelta(seconds=5)), suffix),
        of(signed_urls.sign_url(service.service_secret, report, theirs.id, now + timedelta(hours=1)), suffix),
    ]
    revoked = of(signed_urls.sign_url(service.service_secret, report, own.id, now + timedelta(hours=1)), suffix)
    keys.revoke_key(service.db, own.id, now)
    assert [refused(api, each) for each in (*tried, revoked)] == [nothing] * 5
    assert wanted(api) == before


def test_an_expired_report_has_no_form(api: Api) -> None:
    """410, as the CSV's link says, and nothing is made."""
    token = api.finished(BODY)
    link = api.link(token)
    with writing(api.service.db) as connection:
        changed = tables.REPORTS.update().where(tables.REPORTS.c.token == token)
        connection.execute(changed.values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    before = wanted(api)
    assert refused(api, of(link, ".parquet")) == refused(api, link)
    assert wanted(api) == before


def test_a_workbook_of_too_many_rows_is_refused(api: Api) -> None:
    """At once, by the rows of the record; the other forms are there."""
    token = api.finished(BODY)
    with writing(api.service.db) as connection:
        changed = tables.REPORTS.update().where(tables.REPORTS.c.token == token)
        connection.execute(changed.values(rows=1_048_576))
    status, body = refused(api, of(api.link(token), XLSX.suffix))
    assert (status, body["error"]) == (406, "form_not_available")
    with api.making_forms():
        assert api.client.get(of(api.link(token), ".parquet")).status_code == 200


def test_a_form_that_can_not_be_made_is_told(api: Api) -> None:
    """The report's own file is damaged: 500, and nobody is told to take that file instead."""
    token = api.finished(BODY)
    path = of(api.link(token), ".parquet")
    with reading(api.service.db) as connection:
        name = connection.execute(select(tables.REPORTS.c.file).where(tables.REPORTS.c.token == token)).scalar_one()
    (api.service.settings.files_root / name).write_bytes(BODY.replace(b"1000", b"2000"))
    with api.making_forms():
        status, body = refused(api, path)
    assert (status, body["error"]) == (500, "internal_error")
    assert "is damaged" in body["error_description"]
    assert "CSV" not in body["error_description"]


def test_a_full_disk_makes_no_form_and_harms_no_csv(tmp_path: Path) -> None:
    """503, and no half file; once there is room the next request gets it."""
    big = b"day,views\n" + b"2026-01-01,3\n" * 200_000
    with small_disk(tmp_path / "disk", "4m") as disk:
        settings = read_settings(data=tmp_path / "data", workers=0)
        settings.data.mkdir()
        settings.files_root.symlink_to(disk)
        with open_api(settings) as api:
            link = api.link(api.finished(big))
            ballast = disk / "ballast"
            with api.making_forms():
                reply = api.client.get(of(link, ".ndjson"))
                assert (reply.status_code, reply.headers["retry-after"]) == (503, "5"), reply.text
                assert "room" in reply.json()["error_description"]
                assert api.client.get(link).content == big
                assert len(list(disk.iterdir())) == 1
                assert not ballast.exists()
                assert api.client.get(of(link, ".parquet")).status_code == 200


def test_forms_lie_in_the_object_store_beside_the_csv(object_server: str, tmp_path: Path) -> None:
    """Made from a copy of it, and served by the service's link."""
    assert object_server
    with open_api(settings_of(tmp_path)) as api:
        link = api.link(api.finished(BODY))
        with api.making_forms():
            made = api.client.get(of(link, ".parquet"))
        assert pq.read_table(io.BytesIO(made.content)).num_rows == 28
        names = [name for name in api.service.settings.report_store.list_names() if name.endswith(".parquet")]
        assert len(names) == 1
        assert list(api.service.settings.files_root.iterdir()) == []
