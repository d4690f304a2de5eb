"""The queue of forms: who is next, what one attempt may write, and what goes with a report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, text
from tests.server.conftest import NOW, State, await_waiters

from reelport.engine.report_format import FORM_TYPES, NDJSON, PARQUET, Written
from reelport.server.access.audit_log import Actor
from reelport.server.files import forms, report_files, retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.queue.form_maker import make_next_form
from reelport.server.reports import removal
from reelport.server.reports.removal import Remover
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import FORMS, REPORTS
from reelport.storage.digests import compute_digest

BODY = b"day,views\n2026-01-01,3\n"
LEASE = 60.0


def finish(state: State, organization: str, *, day: int = 1) -> str:
    """A finished report of a new or known organization; gives its id."""
    with reading(state.db) as connection:
        known = connection.execute(text("SELECT name FROM organizations")).scalars().all()
    if organization not in known:
        state.organization(organization, f"c-{organization}")
    asked = state.ask(state.caller(state.key(organization)), day)
    claim = jobs.claim(state.db, "one", running=9, lease_seconds=LEASE)
    assert claim is not None
    draft = report_files.prepare_draft(state.settings, claim.report_id, claim.attempt)
    draft.write_bytes(BODY)
    record = report_files.publish_draft(state.settings, draft, Written(1, len(BODY), compute_digest(draft)))
    assert jobs.finish(state.db, claim, record, NOW)
    return asked.id


def want(state: State, report_id: str, suffix: str = PARQUET.suffix) -> FileRecord | None:
    """Ask for a form: gives its file, or has it made."""
    return forms.find_intact_form(state.db, state.settings.report_store, report_id, suffix, 1)


def make(state: State, owner: str = "maker") -> bool:
    """Make the next form."""
    return make_next_form(state.db, state.settings, owner, state.settings.spill_root / owner)


def names(state: State) -> set[str]:
    """The files at rest."""
    return {path.name for path in state.settings.files_root.iterdir()}


def test_a_form_is_made_once_and_kept(state: State) -> None:
    """Two that ask before it is there make one; later ones get the file that was made."""
    report = finish(state, "demo")
    assert [want(state, report), want(state, report)] == [None, None]
    assert [make(state), make(state)] == [True, False]
    made = want(state, report)
    assert made is not None
    assert names(state) == {f"{report}-1.csv", f"{report}-1.parquet"} == {f"{report}-1.csv", made.name}
    path = state.settings.files_root / made.name
    assert (made.bytes, made.sha256) == (path.stat().st_size, compute_digest(path))
    assert pq.read_table(path).to_pydict()["views"] == [3]
    assert not make(state)


@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_a_form_that_is_lost_or_cut_is_made_again(state: State, damage: str) -> None:
    """The next one who asks has it made anew, with the same bytes."""
    report = finish(state, "demo")
    want(state, report)
    make(state)
    made = want(state, report)
    assert made is not None
    path = state.settings.files_root / made.name
    whole = path.read_bytes()
    path.unlink() if damage == "lost" else path.write_bytes(whole[:-1])
    assert want(state, report) is None
    assert make(state)
    again = want(state, report)
    assert again is not None
    assert (state.settings.files_root / again.name).read_bytes() == whole
    assert retention.remove_orphans(state.db, state.settings) == (damage == "cut")
    assert names(state) == {f"{report}-1.csv", again.name}


@pytest.mark.parametrize("end", ["deleted", "expired"])
def test_no_form_is_wanted_of_a_report_that_ends_at_that_moment(state: State, end: str) -> None:
    """Who asks waits for the end, and finds nothing."""
    report = finish(state, "demo")
    ended = REPORTS.delete() if end == "deleted" else REPORTS.update().values(status="EXPIRED", file=None)
    with ThreadPoolExecutor(1) as threads:
        with writing(state.db) as connection:
            connection.execute(ended)
            wanting = threads.submit(want, state, report)
            await_waiters(state.db, 1)
        assert wanting.result() is None
    assert forms.find_form(state.db, report, PARQUET.suffix, 1) is None


def test_a_form_that_is_wanted_while_its_report_expires_goes_with_it(state: State) -> None:
    """The sweep waits for who asks: a form without a report's file would keep its partner's turn for nothing."""
    report = finish(state, "demo")
    other = {"report_id": report, "suffix": PARQUET.suffix, "asked_at": NOW, "attempt": 0, "deaths": 0}
    with ThreadPoolExecutor(1) as threads:
        with writing(state.db) as connection:
            connection.execute(select(REPORTS).with_for_update(read=True)).all()
            connection.execute(FORMS.insert().values(other))
            sweeping = threads.submit(retention.sweep, state.db, state.settings, NOW + timedelta(days=3))
            await_waiters(state.db, 1)
        assert sweeping.result() == 1
    assert forms.find_form(state.db, report, PARQUET.suffix, 1) is None


def test_a_csv_that_is_damaged_gives_no_form(state: State) -> None:
    """A form of other bytes than the report's would look right; who asks again has it tried again."""
    report = finish(state, "demo")
    path = state.settings.files_root / f"{report}-1.csv"
    path.write_bytes(BODY.replace(b"3", b"4"))
    want(state, report)
    assert make(state)
    found = forms.find_form(state.db, report, PARQUET.suffix, 1)
    assert found is not None
    assert (found.file, found.failure) == (None, "storage")
    path.write_bytes(BODY)
    assert want(state, report) is None
    make(state)
    assert want(state, report) is not None


def test_partners_take_turns_and_have_one_form_made_at_a_time(state: State) -> None:
    """A partner that asks for many at once, or for one that takes long, keeps nobody else waiting for it."""
    many, one = finish(state, "many"), finish(state, "one")
    for suffix in FORM_TYPES:
        want(state, many, suffix)
    want(state, one)
    want(state, one, NDJSON.suffix)
    assert forms.has_due_form(state.db, LEASE)
    assert not forms.has_due_form(state.db, LEASE, waited_seconds=600)

    def claim() -> forms.FormClaim | None:
        return forms.claim_form(state.db, "maker", LEASE)

    first, second = claim(), claim()
    assert first is not None
    assert second is not None
    assert (first.report_id, second.report_id) == (many, one)
    assert claim() is None
    assert not forms.has_due_form(state.db, LEASE)
    assert forms.fail_form(state.db, second, "storage")
    assert forms.fail_form(state.db, first, "storage")
    with writing(state.db) as connection:
        connection.execute(text("UPDATE forms SET begun_at = begun_at - 1000 WHERE report_id = :one"), {"one": one})
    third = claim()
    assert third is not None
    assert third.report_id == one


def test_an_attempt_that_lost_its_form_publishes_nothing(state: State) -> None:
    """Its process was taken for dead: what it ends with changes nothing, whatever comes first."""
    report = finish(state, "demo")
    want(state, report)
    stalled = forms.claim_form(state.db, "stalled", LEASE)
    assert stalled is not None
    assert forms.claim_form(state.db, "other", LEASE) is None
    forms.release_forms(state.db, "stalled", died=True)
    assert make(state, "other")
    assert not forms.finish_form(state.db, stalled, FileRecord("x", 1, 1, "x"))
    assert not forms.fail_form(state.db, stalled, "storage")
    made = want(state, report)
    assert made is not None
    assert made.name == f"{report}-2.parquet"


def test_a_lease_that_ran_out_frees_a_form(state: State) -> None:
    """Whoever held it gives no sign of life, and nobody watches it."""
    report = finish(state, "demo")
    want(state, report)
    assert forms.claim_form(state.db, "gone", LEASE) is not None
    with writing(state.db) as connection:
        connection.execute(text("UPDATE forms SET leased_until = clock_ms() - 1"))
    assert forms.has_due_form(state.db, LEASE)
    assert make(state)


@pytest.mark.parametrize("waited", [0.0, 3600.0])
def test_a_form_is_due_though_the_clock_was_set_back(state: State, waited: float) -> None:
    """It was asked for at a time that is yet to come."""
    want(state, finish(state, "demo"))
    assert forms.has_due_form(state.db, LEASE, waited) == (waited == 0)
    with writing(state.db) as connection:
        connection.execute(text("UPDATE forms SET asked_at = clock_ms() + 3600000"))
    assert forms.has_due_form(state.db, LEASE, waited)
    assert make(state)


def test_a_form_that_ends_its_process_twice_has_failed(state: State) -> None:
    """Else it would end one after the other; who asks again has it tried again."""
    report = finish(state, "demo")
    want(state, report)
    for attempt in range(forms.DEATHS):
        claim = forms.claim_form(state.db, "maker", LEASE)
        assert claim is not None
        assert claim.attempt == attempt + 1
        forms.release_forms(state.db, "maker", died=True)
    assert not make(state)
    found = forms.find_form(state.db, report, PARQUET.suffix, 1)
    assert found is not None
    assert found.failure == forms.DIED
    want(state, report)
    assert make(state)


def test_what_a_stopped_process_held_is_no_death(state: State) -> None:
    """A service that is stopped again and again fails no form."""
    report = finish(state, "demo")
    want(state, report)
    for _ in range(forms.DEATHS + 1):
        assert forms.claim_form(state.db, "maker", LEASE) is not None
        forms.release_forms(state.db, "maker", died=False)
    assert make(state)


def made_both(state: State) -> tuple[str, Path]:
    """A report with two forms, and the folder of its three files."""
    report = finish(state, "demo")
    for suffix in (PARQUET.suffix, NDJSON.suffix):
        want(state, report, suffix)
        make(state)
    assert len(names(state)) == 3
    return report, state.settings.files_root


def test_forms_expire_with_their_report(state: State) -> None:
    """The sweep that expires the report deletes their files too."""
    _, folder = made_both(state)
    assert retention.sweep(state.db, state.settings, NOW + timedelta(hours=49)) == 1
    assert list(folder.iterdir()) == []
    with reading(state.db) as connection:
        assert connection.execute(select(FORMS)).all() == []


def test_forms_are_deleted_with_their_report(state: State) -> None:
    """At once: their files and their records."""
    report, folder = made_both(state)
    with reading(state.db) as connection:
        (organization,) = connection.execute(text("SELECT id FROM organizations")).scalars()
    remover = Remover(organization, Actor("o@example.com", "::1"))
    assert removal.delete_report(state.db, state.settings, remover, report, NOW)
    assert list(folder.iterdir()) == []
    assert forms.find_form(state.db, report, PARQUET.suffix, 1) is None


def test_forms_are_withdrawn_with_a_channel(state: State) -> None:
    """What a partner may no longer read is gone in every form."""
    report, folder = made_both(state)
    ended = removal.remove_channels(state.db, state.settings, "demo", ["c-demo"], NOW)
    assert (ended.finished, len(ended.files)) == (1, 3)
    assert list(folder.iterdir()) == []
    assert forms.find_form(state.db, report, PARQUET.suffix, 1) is None


def test_a_report_deleted_meanwhile_leaves_no_form(state: State) -> None:
    """The attempt finds that its form is gone, and deletes what it made."""
    report = finish(state, "demo")
    want(state, report)
    claim = forms.claim_form(state.db, "maker", LEASE)
    assert claim is not None
    removal.remove_channels(state.db, state.settings, "demo", ["c-demo"], NOW)
    assert not forms.finish_form(state.db, claim, FileRecord("x", 1, 1, "x"))
    assert want(state, report) is None
    assert not make(state)


def test_a_sweep_leaves_forms_that_are_made_or_kept(state: State) -> None:
    """And deletes the rest: drafts of ended attempts, and files of attempts that were not recorded."""
    report, folder = made_both(state)
    want(state, report, ".csv.gz")
    held = forms.claim_form(state.db, "maker", LEASE)
    assert held is not None
    for name in (f"{report}-1.csv.gz.part", f"{report}-2.csv.gz", f"{report}-7.parquet", f"{report}-1.ndjson.part"):
        (folder / name).write_bytes(b"")
    assert retention.remove_orphans(state.db, state.settings) == 3
    kept = {f"{report}-1.csv", f"{report}-1.parquet", f"{report}-1.ndjson", f"{report}-1.csv.gz.part"}
    assert names(state) == kept


def test_a_check_of_all_files_finds_a_damaged_form(state: State) -> None:
    """`reelport verify` compares forms with their digests as it does CSVs."""
    report, folder = made_both(state)
    assert retention.check_files(state.db, state.settings) == (3, ())
    path = folder / f"{report}-1.ndjson"
    path.write_bytes(path.read_bytes().replace(b"3", b"4"))
    count, (fault,) = retention.check_files(state.db, state.settings)
    assert (count, fault) == (3, f"Report {report}: the bytes of its file {path.name} have changed.")
    path.unlink()  # as after a restore, whose backup keeps the CSV alone
    assert retention.check_files(state.db, state.settings) == (2, ())
