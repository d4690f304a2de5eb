"""Finished files in an object store: published, downloaded, previewed, verified and swept as in a folder."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.patience import PATIENCE, until
from tests.server.api import Api, open_api
from tests.storage.object_server import BUCKET, Fault, FaultyProxy

from reelport import UsageError
from reelport.cli.main import main
from reelport.engine.duckdb.engine import Progress, QueryEngine
from reelport.errors import StorageError
from reelport.server import app, credentials
from reelport.server.doctor.checks import check_object_store, run_checks
from reelport.server.explore.file_preview import read_first_rows
from reelport.server.files import report_files, retention, store_owner
from reelport.server.queue import jobs
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt
from reelport.server.settings import Secret, Settings, read_settings
from reelport.server.state.database import connected, writing
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.tables import KEYS
from reelport.storage.file_store import read_file
from reelport.wire import LOOK

pytestmark = pytest.mark.long

BODY = b"day,views\n" + b"2026-01-01,3\n" * 20_000


def settings_of(place: Path, **more: object) -> Settings:
    """Settings of a service whose report files are in the object store, under a prefix of this folder's own."""
    url = f"s3://{BUCKET}/{place.parent.name}-{place.name}"
    return read_settings(data=place / "data", files_url=url, workers=0, **more)


def report_names(settings: Settings) -> list[str]:
    """The files in the store, but for the one that says whose they are."""
    return sorted(set(settings.report_store.list_names()) - {store_owner.NAME, store_owner.PLACE_NAME})


@pytest.fixture
def remote(object_server: str, tmp_path: Path) -> Iterator[Api]:
    """An app over the object store."""
    assert object_server
    with open_api(settings_of(tmp_path)) as api:
        yield api


def test_a_file_is_downloaded_whole_and_by_ranges(remote: Api) -> None:
    """By the service's own link, with the headers of any file; nothing of it stays on this machine."""
    token = remote.finished(BODY)
    link = remote.link(token)
    assert link.startswith("http://testserver/")
    whole = remote.client.get(link)
    assert (whole.status_code, whole.content, whole.headers["Reelport-Rows"]) == (200, BODY, "20000")
    part = remote.client.get(link, headers={"Range": "bytes=100000-199999"})
    assert (part.status_code, part.content) == (206, BODY[100_000:200_000])
    assert list(remote.service.settings.files_root.iterdir()) == []


def test_a_download_goes_on_while_the_store_fails(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """From the byte at which a transfer broke, and after refusals; a store that stays away is a 503."""
    with open_api(settings_of(tmp_path)) as api:
        link = api.link(api.finished(BODY))
        for fault in (Fault.SLOW_DOWN, Fault.RESET, Fault.HALF):
            faulty_server.fail(fault, times=2, method="GET")
            assert api.client.get(link).content == BODY


def test_a_request_waits_only_briefly_for_a_store_that_is_away(
    faulty_server: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download is then a 503: in the time of a worker's requests it would be a dozen."""
    monkeypatch.setattr(app, "BRIEF_SECONDS", 0)
    with open_api(settings_of(tmp_path)) as api:
        link = api.link(api.finished(BODY))
        faulty_server.choose = lambda method, path: Fault.RESET if (method, ".csv" in path) == ("GET", True) else None
        assert api.client.get(link).status_code == 503
        assert faulty_server.count(Fault.RESET) == 1


def test_an_estimate_that_waits_for_the_store_holds_up_no_lease(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A store that is slow or away would else make every report of a worker one that is lost."""
    asked, answered = list[str](), threading.Event()

    def hold(_method: str, path: str) -> None:
        asked.append(path)
        assert answered.wait(PATIENCE)

    settings = settings_of(tmp_path, facts_url=f"s3://{BUCKET}/facts-{tmp_path.parent.name}-{tmp_path.name}")
    with open_api(settings) as api, QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        api.ask()
        claim = jobs.claim(api.service.db, "one", running=2, lease_seconds=30)
        assert claim is not None
        running = RunningAttempt(claim, engine.session())
        keeper = LeaseKeeper(settings, api.service.db, running=lambda: (running,))
        faulty_server.choose = hold
        with closing(keeper):
            keeper.tick()
            assert until(lambda: asked)
            before = running.renewed_at = running.renewed_at - settings.lease_seconds
            keeper.tick()
            after = running.renewed_at
            answered.set()
    assert after > before, "the lease is renewed while the first request of the estimate waits"


def test_a_look_at_a_running_report_asks_the_store_nothing(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """What is written so far comes from the state, where the worker tells it."""
    with open_api(settings_of(tmp_path)) as api:
        token = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
        claim = jobs.claim(api.service.db, "worker", running=9, lease_seconds=60)
        assert claim is not None
        settings = api.service.settings
        report_files.prepare_draft(settings, claim.report_id, claim.attempt).write_bytes(b"day,views\n")
        assert jobs.renew_lease(api.service.db, claim, 60, Progress(3, 40))
        faulty_server.seen.clear()
        answer = api.graphql(LOOK, {"reportToken": token})
        assert answer["data"]["partner"]["reportFile"]["status"] == "IN_PROGRESS"
        (told,) = answer["extensions"]["reelport"]["reports"]
        assert (told["rows"], told["bytes"]) == (3, 40)
        assert not any(claim.report_id in path for _, path, _ in faulty_server.seen)


def test_links_are_the_stores_own_where_it_signs(object_server: str, tmp_path: Path) -> None:
    """They lead to it, and give the same bytes."""
    with open_api(settings_of(tmp_path, link_signer="store")) as api:
        link = api.link(api.finished(BODY))
    assert link.startswith(f"{object_server}/{BUCKET}/")
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.read() == BODY


def test_a_deleted_or_changed_file_is_found(remote: Api) -> None:
    """By its verification; the download of a lost file says so."""
    settings, db = remote.service.settings, remote.service.db
    tokens = [remote.finished(BODY) for _ in range(3)]
    assert retention.check_files(db, settings) == (3, ())
    names = report_names(settings)
    settings.report_store.delete(names[0])
    settings.report_store.put(names[1], BODY[:-1] + b"x")
    settings.report_store.put("000000000000-1.csv", b"")
    checked, faults = retention.check_files(db, settings)
    assert (checked, len(faults)) == (3, 3)
    assert {remote.client.get(remote.link(token)).status_code for token in tokens} == {200, 410}


def test_a_sweep_deletes_expired_files_and_orphans(remote: Api) -> None:
    """And drafts of this machine that belong to no running attempt."""
    settings = remote.service.settings
    remote.finished(BODY)
    settings.report_store.put("000000000000-1.csv", b"")
    settings.report_store.prepare_draft("000000000000-2.part").write_bytes(b"half")
    assert len(retention.find_orphans(remote.service.db, settings)) == 2
    assert retention.sweep(remote.service.db, settings, datetime.now(UTC) + timedelta(days=400)) == 1
    assert report_names(settings) == []


def test_the_first_rows_and_a_path_for_the_engine_are_had(remote: Api) -> None:
    """Of a file that this machine never wrote."""
    remote.finished(BODY)
    store = remote.service.settings.report_store
    (name,) = report_names(remote.service.settings)
    assert read_first_rows(store, name, 2) == [["2026-01-01", "3"]] * 2
    assert store.local_paths([name])[0].read_bytes() == BODY
    with closing(store.open(name)) as file:
        assert file.read(0, file.size) == BODY


def test_every_fault_of_the_settings_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With those of the variables that name the store; no value of those is repeated."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:pa55@s3.example.com")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.com")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(UsageError) as refused:
        read_settings(data=tmp_path, files_url="s3://reports", cache_size="much", port=-1)
    assert [line.partition(":")[0].partition(" ")[0] for line in str(refused.value).splitlines()] == [
        "REELPORT_CACHE_SIZE",
        "REELPORT_PORT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "AWS_SECRET_ACCESS_KEY",
    ]
    assert "pa55" not in str(refused.value)
    for url in ("s3://", "s3://UPPER/x", "https://reports", "s3://reports/../x y"):
        with pytest.raises(UsageError, match="s3://bucket/prefix"):
            read_settings(data=tmp_path, files_url=url)


def test_doctor_tries_the_store(object_server: str, tmp_path: Path) -> None:
    """It leaves nothing there; a bucket that is missing is told."""
    assert object_server
    settings = settings_of(tmp_path)
    assert [well for well, _ in check_object_store(settings)] == [True, True]
    assert report_names(settings) == []
    assert list(check_object_store(replace(settings, files_url=""))) == []


def test_doctor_tells_of_a_store_that_lets_nothing_be_deleted(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """No sweep could remove a report there."""
    faulty_server.fail(Fault.DENIED, times=1, method="DELETE")
    found = check_object_store(settings_of(tmp_path))
    assert [well for well, _ in (next(found), next(found))] == [True, True]
    with pytest.raises(StorageError, match="what it may do with the bucket"):
        next(found)


def test_another_service_deletes_nothing(remote: Api, tmp_path: Path) -> None:
    """With the same prefix by mistake it is refused, at its start and at each sweep; the first goes on."""
    link = remote.link(remote.finished(BODY))
    retention.sweep(remote.service.db, remote.service.settings, datetime.now(UTC))
    settings = read_settings(data=tmp_path / "other", files_url=remote.service.settings.files_url, workers=0)
    with (
        connected(settings) as db,
        pytest.raises(UsageError, match="holds the reports of a service with another secret"),
    ):
        retention.sweep(db, settings, datetime.now(UTC))
    assert remote.client.get(link).content == BODY
    retention.sweep(remote.service.db, remote.service.settings, datetime.now(UTC))
    assert remote.client.get(link).content == BODY


def change_secret(api: Api) -> Settings:
    """The service's settings under a new secret, which its state takes: every key of the old one is revoked."""
    with writing(api.service.db) as connection:
        connection.execute(KEYS.update().values(revoked_at=datetime.now(UTC)))
    return replace(api.service.settings, secret=Secret("n" * 32))


def test_a_new_secret_keeps_the_prefix(remote: Api) -> None:
    """The service starts on it, and gives it the new fingerprint; so it does where the former secret comes back."""
    link = remote.link(remote.finished(BODY))
    db, settings = remote.service.db, remote.service.settings
    retention.sweep(db, settings, datetime.now(UTC))
    new = change_secret(remote)
    assert store_owner.find_owner_fault(db, new) is None
    own = require_same_secret(db, new)
    assert store_owner.find_owner_fault(db, new) is None
    store_owner.require_own_store(db, new)
    assert read_file(new.report_store, store_owner.NAME).decode() == own.fingerprint
    assert remote.client.get(link).status_code != 200, "the old secret's links are over"
    store_owner.require_own_store(db, settings)
    retention.sweep(db, settings, datetime.now(UTC))
    assert len(report_names(new)) == 1


def test_the_rotation_of_the_secret_needs_no_step_by_hand(
    object_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the page on secrets, over a bucket: the service then starts on its prefix."""
    assert object_server
    settings = settings_of(tmp_path)
    monkeypatch.setenv("REELPORT_DATA", str(settings.data))
    monkeypatch.setenv("REELPORT_FILES_URL", settings.files_url)

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main([*words])
        assert not left.value.code
        return capsys.readouterr().out

    create = ("key", "create", "--org", "demo", "--permissions", "create_reports", "--json")
    call("org", "add", "demo")
    key = json.loads(call(*create))["id"]
    with connected(settings) as db:
        store_owner.require_own_store(db, settings)
        call("key", "revoke", key, "--yes")
        (settings.data / credentials.SECRET_FILE).unlink()
        call(*create)
        store_owner.require_own_store(db, settings)


def test_a_new_secret_takes_no_prefix_of_another_service(remote: Api, tmp_path: Path) -> None:
    """Neither of one with another secret, nor of one that has the former secret, too, and its state elsewhere."""
    db, settings = remote.service.db, remote.service.settings
    retention.sweep(db, settings, datetime.now(UTC))
    for secret in (None, Secret((settings.data / credentials.SECRET_FILE).read_text().strip())):
        other = replace(settings, data=tmp_path / f"other-{secret is None}", secret=secret)
        with connected(other) as strange:
            require_same_secret(strange, other)
            new = replace(other, secret=Secret("n" * 32))
            before = read_file(settings.report_store, store_owner.NAME)
            require_same_secret(strange, new)
            assert read_file(settings.report_store, store_owner.NAME) == before
            assert "another secret" in str(store_owner.find_owner_fault(strange, new))
            with pytest.raises(UsageError, match="holds the reports of a service with another secret"):
                store_owner.require_own_store(strange, new)
    store_owner.require_own_store(db, settings)


def test_a_prefix_stays_its_state_s_when_its_mark_was_deleted_for_another(remote: Api, tmp_path: Path) -> None:
    """The other service is refused still, by the state's place, and the first one goes on."""
    db, settings = remote.service.db, remote.service.settings
    store_owner.require_own_store(db, settings)
    other = replace(settings, data=tmp_path / "other", secret=Secret("o" * 32))
    settings.report_store.delete(store_owner.NAME)
    with connected(other) as strange, pytest.raises(UsageError, match="as it is elsewhere"):
        store_owner.require_own_store(strange, other)
    assert store_owner.find_owner_fault(db, settings) is None
    store_owner.require_own_store(db, settings)
    with connected(other) as strange, pytest.raises(UsageError, match="with another secret"):
        store_owner.require_own_store(strange, other)


def test_a_store_that_fails_keeps_its_mark(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """The same start, once more, gives it the new secret's."""
    with open_api(settings_of(tmp_path)) as api:
        db = api.service.db
        store_owner.require_own_store(db, api.service.settings)
        new = change_secret(api)
        faulty_server.fail(Fault.EXPIRED, times=1, method="PUT", part=store_owner.NAME)
        with pytest.raises(StorageError):
            store_owner.require_own_store(db, new)
        store_owner.require_own_store(db, new)


def test_doctor_counts_no_files_of_another_service(remote: Api, tmp_path: Path) -> None:
    """No sweep of this one would remove them: it says whose they are, and changes nothing."""
    remote.finished(BODY)
    retention.sweep(remote.service.db, remote.service.settings, datetime.now(UTC))
    assert all(found.well for found in run_checks(remote.service.settings) if found.subject == "files")
    other = replace(remote.service.settings, data=tmp_path / "other")
    with connected(other) as db:
        require_same_secret(db, other)
        before = sorted(other.data.iterdir())
        (found,) = [found for found in run_checks(other) if found.subject == "files"]
        assert (found.well, "with another secret" in found.sentence) == (False, True)
        assert sorted(other.data.iterdir()) == before
    shutil.copytree(remote.service.settings.data, tmp_path / "copy", ignore=shutil.ignore_patterns("workers"))
    copied = replace(remote.service.settings, data=tmp_path / "copy")
    (found,) = [found for found in run_checks(copied) if found.subject == "files"]
    assert (found.well, "as it is elsewhere" in found.sentence) == (False, True)


def test_a_copied_state_takes_the_prefix_over_when_it_is_told_to(remote: Api, tmp_path: Path) -> None:
    """With the same secret, too: it is refused as long as the mark of the first is there, and then the first one is."""
    link = remote.link(remote.finished(BODY))
    db, settings = remote.service.db, remote.service.settings
    retention.sweep(db, settings, datetime.now(UTC))
    shutil.copytree(settings.data, tmp_path / "copy", ignore=shutil.ignore_patterns("workers"))
    copied = read_settings(data=tmp_path / "copy", files_url=settings.files_url, workers=0)
    with connected(copied) as other:
        for _ in range(2):
            with pytest.raises(UsageError, match=r"delete \.reelport-state there, and this one takes over"):
                retention.sweep(other, copied, datetime.now(UTC))
        retention.sweep(db, settings, datetime.now(UTC))
        assert remote.client.get(link).content == BODY
        settings.report_store.delete(store_owner.PLACE_NAME)
        retention.sweep(other, copied, datetime.now(UTC))
        with pytest.raises(UsageError, match="its state was copied, moved or restored"):
            retention.sweep(db, settings, datetime.now(UTC))
    assert remote.client.get(link).content == BODY
