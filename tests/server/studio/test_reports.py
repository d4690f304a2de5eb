"""The pages of reports."""

from __future__ import annotations

import re

from sqlalchemy import select
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors

from reelport.engine.report_format import FORM_TYPES
from reelport.errors import StorageError
from reelport.server.access import audit_log
from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import FORMS, REPORTS

BODY = b"day,views\n2026-01-01,3\n"


def newest(api: Api) -> str:
    """The id of the report that was asked for last."""
    with reading(api.service.db) as connection:
        wanted = select(REPORTS.c.id).order_by(REPORTS.c.created_at.desc()).limit(1)
        found: str = connection.execute(wanted).scalar_one()
        return found


def finished(api: Api, body: bytes = BODY) -> str:
    """The id of a new finished report of an API key."""
    api.finished(body)
    return newest(api)


def waiting(api: Api) -> str:
    """The id of a new report of an API key."""
    api.ask(**api.new())
    return newest(api)


def test_the_list_shows_reports_of_keys_with_their_state(people: Api, visitors: Visitors) -> None:
    """What it asks for in words, who asked, and what it is in; while one is unfinished the page is looked at again."""
    done = finished(people)
    visitor = visitors(MEMBER)
    page = visitor.get("/studio/reports").text
    assert f'href="/studio/reports/{done}"' in page
    assert "Views by day" in page
    assert people.key.id in page
    assert "1 row, 23 bytes" in page
    assert "data-again" not in page
    open_one = waiting(people)
    page = visitor.get("/studio/reports?state=unfinished").text
    assert "place 1 of yours in the queue" in page
    assert 'data-again="2"' in page
    assert done not in page
    assert open_one not in visitor.get("/studio/reports?state=finished").text
    people.finish(BODY)


def test_pages_tell_nothing_of_the_inside_of_the_platform(people: Api, visitors: Visitors) -> None:
    """Neither where a report waits nor where it failed: paths and addresses are the operator's."""
    inside = "s3://tables/eu/plays: the object store fails: GET http://127.0.0.1:25501/tables"
    report, db, visitor = waiting(people), people.service.db, visitors(MEMBER)
    addresses = (f"/studio/reports/{report}", "/studio/reports")

    def claim() -> Claim:
        found = jobs.claim(db, "test-worker", running=9, lease_seconds=60)
        assert found is not None
        return found

    assert jobs.retry(db, claim(), inside, 0, code=StorageError.code)
    pages = [visitor.get(address).text for address in addresses]
    assert all("the platform could not make it yet: it tries again by itself" in page for page in pages)
    assert jobs.fail(db, claim(), inside, people.service_now(), code=StorageError.code)
    pages += (failed := [visitor.get(address).text for address in addresses])
    assert all("tell the platform the report&#39;s id." in page for page in failed)
    assert report in failed[0]
    assert not [page for page in pages if "25501" in page or "s3:" in page]


def test_a_download_is_the_file_byte_for_byte(people: Api, visitors: Visitors) -> None:
    """The button leads to a fresh link, which serves it like any link: ranges, checksum, rows. The log tells of it."""
    done = finished(people)
    visitor = visitors(MEMBER)
    path = f"/studio/reports/{done}"
    answer = visitor.send(visitor.get(path), f"{path}/download", follow=False)
    link = answer.headers["location"]
    assert answer.status_code == 303
    assert link.startswith(f"/files/{done}.csv?")
    assert people.client.get(link).content == BODY
    part = people.client.get(link, headers={"Range": "bytes=4-8"})
    assert (part.status_code, part.content) == (206, BODY[4:9])
    assert people.client.get(link).headers["etag"].strip('"')
    newest_row = audit_log.list_actions(people.service.db)[0]
    assert (newest_row.actor.name, newest_row.action, newest_row.subject) == (MEMBER, "downloaded a report", done)


def test_a_workbook_is_offered_beside_the_csv(people: Api, visitors: Visitors) -> None:
    """On a report's page; the first button, which the Enter key takes, is the CSV's."""
    done = finished(people)
    for page in (f"/studio/reports/{done}",):
        shown = visitors(MEMBER).get(page).text
        assert 0 < shown.index("Download CSV") < shown.index('name="form" value=".xlsx">Excel')


def test_a_report_is_downloaded_in_other_forms(people: Api, visitors: Visitors) -> None:
    """Its page offers them; the first visitor waits, and is sent to the file, as the log of the audit says."""
    done = finished(people)
    visitor, page = visitors(MEMBER), f"/studio/reports/{done}"
    shown = visitor.get(page)
    offered = re.findall(r'<(?:option|button name="form") value="([^"]+)">', shown.text)
    assert sorted(offered) == sorted(FORM_TYPES)
    with people.making_forms():
        for suffix in offered:
            answer = visitor.send(shown, f"{page}/download", follow=False, form=suffix)
            assert answer.status_code == 303, answer.text
            file = people.client.get(answer.headers["location"])
            assert (file.status_code, file.headers["content-type"]) == (200, FORM_TYPES[suffix].media_type)
    with reading(people.service.db) as connection:
        made = connection.execute(select(FORMS.c.suffix).where(FORMS.c.report_id == done)).scalars().all()
    assert sorted(made) == sorted(offered)


def test_a_form_that_can_not_be_had_is_told_on_a_page(people: Api, visitors: Visitors) -> None:
    """A workbook of more than a million rows, and a form that isn't one; neither is queued."""
    done = finished(people)
    with writing(people.service.db) as connection:
        connection.execute(REPORTS.update().where(REPORTS.c.id == done).values(rows=1_048_576))
    visitor, page = visitors(MEMBER), f"/studio/reports/{done}"
    shown = visitor.get(page)
    refused = visitor.send(shown, f"{page}/download", follow=False, form=".xlsx")
    assert (refused.status_code, "larger than a file of this form can be" in refused.text) == (406, True)
    assert visitor.send(shown, f"{page}/download", follow=False, form=".exe").status_code == 400
    with reading(people.service.db) as connection:
        assert connection.execute(select(FORMS).where(FORMS.c.report_id == done)).all() == []


def test_a_deleted_report_is_not_found(people: Api, visitors: Visitors) -> None:
    """Its page, its link and its token are unknown a moment later."""
    token = people.finished(BODY)
    link = people.link(token)
    done = newest(people)
    visitor = visitors(OWNER)
    path = f"/studio/reports/{done}"
    page = visitor.send(visitor.get(path), f"{path}/delete", sure="on")
    assert page.url.path == "/studio/reports"
    assert visitor.get(path).status_code == 404
    assert people.client.get(link).status_code == 403
    assert done not in page.text


def test_a_cancelled_report_has_failed(people: Api, visitors: Visitors) -> None:
    """The page says by whom; there is nothing to cancel then."""
    name = waiting(people)
    visitor = visitors(OWNER)
    path = f"/studio/reports/{name}"
    page = visitor.send(visitor.get(path), f"{path}/cancel")
    assert page.url.path == path
    assert f"It was cancelled by {OWNER}." in page.text
    assert "/cancel" not in page.text


def test_a_member_changes_no_report_of_somebody_else(people: Api, visitors: Visitors) -> None:
    """No button is there, and a form that is sent all the same is refused."""
    visitor, owner = visitors(MEMBER), visitors(OWNER)
    for name, verb in ((finished(people), "delete"), (waiting(people), "cancel")):
        path = f"/studio/reports/{name}"
        page = visitor.get(path)
        assert f"{path}/{verb}" not in page.text
        assert visitor.client.post(f"{path}/{verb}", data={"csrf": visitor.csrf}).status_code == 403
        assert owner.get(path).status_code == 200
    people.finish(BODY)


def test_a_foreign_report_is_not_found(people: Api, visitors: Visitors, rival: str) -> None:
    """Another organization's people can't tell its id from an unknown one."""
    name = finished(people)
    visitor = visitors(rival)
    foreign, unknown = (visitor.get(f"/studio/reports/{each}") for each in (name, "nothing"))
    assert (foreign.status_code, foreign.text) == (404, unknown.text)
    assert name not in visitor.get("/studio/reports").text
    form = {"csrf": visitor.csrf}
    for verb in ("cancel", "delete", "download"):
        assert visitor.client.post(f"/studio/reports/{name}/{verb}", data=form).status_code == 404
    assert visitors(OWNER).get(f"/studio/reports/{name}").status_code == 200


def test_odd_parameters_are_no_error(visitors: Visitors) -> None:
    """Whatever stands in the address, the list is shown."""
    visitor = visitors(MEMBER)
    for query in ("state=x", "after=%00", "after=99999999999999-a", "state=failed&after=1-a&after=2"):
        assert visitor.get(f"/studio/reports?{query}").status_code == 200
