"""Keys, tokens and scopes, on both databases."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect, text
from tests.server.conftest import State

from reelport.cli.main import main
from reelport.errors import StorageError, UsageError
from reelport.server import credentials
from reelport.server.access import grants, keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.grants import ClientCredentials, Grant, Refusal
from reelport.server.access.unread_rows import describe_unread_rows
from reelport.server.credentials import load_service_secret
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, writing
from reelport.server.state.secret_fingerprint import require_same_secret


def test_a_secret_is_stored_as_a_hash_only_and_a_token_not_at_all(state: State) -> None:
    """Neither can be found in any column of the database, nor does a token add a row."""
    state.organization("demo", "c1")
    key = state.key("demo")
    token = state.token(key)
    with state.db.connect() as connection:
        tables = inspect(connection).get_table_names()
        stored = "".join(str(row) for table in tables for row in connection.execute(text(f"SELECT * FROM {table}")))
    assert key.id in stored
    assert key.secret not in stored
    assert token not in stored


def test_manage_reports_stands_for_every_scope_of_the_key(state: State) -> None:
    """A token for manage_reports reads earnings when the key may, whether the key has that word, and not otherwise."""
    state.organization("demo")
    with_word = state.key("demo", "create_reports", "manage_reports", "access_revenue")
    without = state.key("demo", "create_reports", "access_revenue")
    poor = state.key("demo", "create_reports", "access_ads")
    for key in (with_word, without):
        assert state.caller(key, "create_reports", "delete_reports", "manage_reports").scopes >= {"access_revenue"}
        assert state.caller(key, "manage_reports").scopes >= {"create_reports", "access_revenue"}
        assert "access_revenue" not in state.caller(key, "create_reports").scopes
    assert state.caller(poor, "manage_reports", "create_reports", "access_revenue").scopes == {
        "create_reports",
        "access_ads",
        "manage_reports",
    }


def test_a_token_says_manage_reports_only_when_it_was_asked_for(state: State) -> None:
    """The granted scopes are those asked for; without any, those that the key was made with."""
    state.organization("demo")
    key = state.key("demo", "create_reports", "read_reports", "access_ads", "access_revenue")
    assert state.granted(key, "manage_reports", "create_reports").scopes == ("create_reports", "manage_reports")
    assert state.granted(key, "manage_reports").scopes == ("manage_reports",)
    assert state.granted(key).scopes == ("create_reports", "read_reports", "access_ads", "access_revenue")


@pytest.mark.parametrize("wrong", ["", "x", "rps_x", "é\0\ud800", "a" * 100_000])
def test_wrong_credentials_are_one_refusal(state: State, wrong: str) -> None:
    """A wrong id, a wrong secret, and any odd text are told apart by nobody."""
    state.organization("demo")
    key = state.key("demo")
    for client_id, secret in [(key.id, wrong), (wrong, key.secret), (wrong, wrong), (key.id + "\0", key.secret)]:
        assert (
            grants.grant_token(state.db, state.service_secret, ClientCredentials(client_id, secret), [], state.now)
            is Refusal.INVALID_CLIENT
        )
    assert state.identify(wrong) is None


def test_a_token_is_good_only_as_it_was_signed(state: State) -> None:
    """One that is cut, longer, altered anywhere, or signed with another secret, is nobody's."""
    state.organization("demo")
    token = state.token(state.key("demo"))
    body = token[4:-6]
    said = credentials.read_signed(state.service_secret, "rpt", token, " ".join(REPORT_SCOPES))
    assert said is not None
    more = said[:6] + b"\xff\xff" + said[8:]
    other = credentials.load_service_secret(state.again(secret="b" * 32))
    forged = [
        credentials.sign(other, "rpt", said, " ".join(REPORT_SCOPES)),
        credentials.sign(state.service_secret, "rpt", said, "another list of scopes"),
        credentials.sign(state.service_secret, "rpr", said, " ".join(REPORT_SCOPES)),
        "rpt_" + base64.urlsafe_b64encode(more + base64.urlsafe_b64decode(body + "==")[-32:]).decode().rstrip("="),
        *(f"rpt_{body[:at]}{'A' if body[at] != 'A' else 'B'}{body[at + 1 :]}" for at in range(len(body))),
        token[:-1],
        token + "A",
        f"rpt_{'A' * 100_000}",
    ]
    for each in forged:
        body = each[4:]
        checked = f"rpt_{body}{credentials._compute_checksum('rpt', body)}"  # noqa: SLF001 - a forger can compute it
        assert state.identify(each) is None
        assert state.identify(checked) is None
    assert state.identify(token) is not None
    assert state.token(state.key("demo")) != token


def test_token_expires(state: State) -> None:
    """A token lives for its time and no second longer."""
    state.organization("demo")
    token = state.token(state.key("demo"))
    assert state.identify(token, timedelta(seconds=3599)) is not None
    assert state.identify(token, timedelta(seconds=3600)) is None


def test_revoking_a_key_ends_its_tokens_at_once(state: State) -> None:
    """After a revocation neither the key nor any token of it is worth anything."""
    state.organization("demo")
    key = state.key("demo")
    token = state.token(key)
    assert keys.revoke_key(state.db, key.id, state.now)
    assert not keys.revoke_key(state.db, key.id, state.now)
    assert state.identify(token) is None
    assert state.grant(key) is Refusal.INVALID_CLIENT
    with pytest.raises(UsageError, match="no key"):
        keys.revoke_key(state.db, "rpk_none", state.now)


def test_limited_key_reads_its_channels_and_others_read_later_ones_too(state: State) -> None:
    """A limited key keeps to its channels; an unlimited one follows its organization."""
    number = state.organization("demo", "c1", "c2")
    limited, free = state.caller(state.key("demo", channels=("c2",))), state.key("demo")
    assert limited.channels == {"c2"}
    organizations.allow_channels(state.db, number, ["c2", "c3"])
    assert state.caller(free).channels == {"c1", "c2", "c3"}
    assert [key.channels for key in keys.list_keys(state.db, "demo")].count(("c2",)) == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_key_without_channels_stands_for_a_caller_who_reads_none(state: State) -> None:
    """PostgreSQL, which aggregates no rows to NULL, says the same as SQLite."""
    state.organization("demo")
    assert state.caller(state.key("demo")).channels == frozenset()


def test_key_is_refused_with_every_reason(state: State) -> None:
    """Unknown permissions and foreign channels are all named, with the nearest right name."""
    state.organization("demo", "c1")
    state.organization("rival", "r1")
    with pytest.raises(UsageError) as refused:
        state.key("demo", "create_report", "zzz", channels=("r1", "c1", "nope"))
    for part in ("create_reports?", "'zzz'", "'r1'", "'nope'"):
        assert part in str(refused.value)
    assert "'c1'" not in str(refused.value)
    with pytest.raises(UsageError, match="no channel"):
        state.key("demo", channels=())
    with pytest.raises(UsageError, match="Did you mean rival"):
        state.key("rivla")


@pytest.mark.parametrize("name", ["", " ", " demo", "de\nmo", "x" * 201, "a\0b", "\u202emoed", "\u200b", "demo\u200b"])
def test_odd_organization_names_are_refused(state: State, name: str) -> None:
    """A name that can't be told apart or printed is no name."""
    with pytest.raises(UsageError):
        organizations.add_organization(state.db, name, state.now)


def test_organization_name_is_taken_once(state: State) -> None:
    """The second organization of a name is refused; names in any script are taken."""
    state.organization("Ünïcode 動画, Inc.")
    with pytest.raises(UsageError, match="already"):
        state.organization("Ünïcode 動画, Inc.")
    assert [each.name for each in organizations.list_organizations(state.db)] == ["Ünïcode 動画, Inc."]


@given(st.integers(1, 64))
def test_minted_secrets_are_well_formed_and_a_slip_is_seen(size: int) -> None:
    """What was minted is recognised; one changed character is not."""
    minted = credentials.mint("rps", size)
    assert credentials.is_well_formed("rps", minted)
    assert not credentials.is_well_formed("rpt", minted)
    for index in range(4, len(minted)):
        slip = minted[:index] + ("A" if minted[index] != "A" else "B") + minted[index + 1 :]
        assert not credentials.is_well_formed("rps", slip)


def test_secret_file_is_private_and_made_once(tmp_path: Path) -> None:
    """The service's secret is readable by its user alone, and the same for every process."""
    settings = read_settings(data=tmp_path)
    first = load_service_secret(settings)
    path = tmp_path / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]
    assert load_service_secret(settings).hash("key", "x") == first.hash("key", "x")
    assert load_service_secret(read_settings(data=tmp_path, secret="o" * 32)).hash("key", "x") != first.hash("key", "x")
    assert first.hash("key", "x") != first.hash("link", "x")
    assert len(path.read_text().strip()) == 64


def test_empty_secret_file_is_refused(tmp_path: Path) -> None:
    """A secret that was truncated to nothing would protect nothing."""
    (tmp_path / "secret.key").touch()
    with pytest.raises(StorageError, match=r"secret\.key"):
        load_service_secret(read_settings(data=tmp_path))


def test_another_secret_over_the_same_state_is_seen(state: State) -> None:
    """It is refused while keys of the first one count; the state goes on with the first, and with none lost."""
    first, other = (state.again(secret=letter * 32) for letter in "ab")
    assert repr(require_same_secret(state.db, first)) == "ServiceSecret(…)"
    assert require_same_secret(state.db, other) != require_same_secret(state.db, state.settings), (
        "without keys nothing can be lost"
    )
    require_same_secret(state.db, first)
    state.organization("demo")
    key = keys.create_key(state.db, require_same_secret(state.db, first), "demo", ["read_reports"], state.now)
    for wrong in (other, state.settings):
        with pytest.raises(UsageError, match="another secret"):
            require_same_secret(state.db, wrong)
    state.service_secret = require_same_secret(state.db, first)
    assert state.granted(key).scopes
    keys.revoke_key(state.db, key.id, state.now)
    assert require_same_secret(state.db, other) == load_service_secret(other)


def test_a_state_without_a_fingerprint_takes_that_of_the_secret_in_use(state: State) -> None:
    """It serves its keys with their secret, and from then on with no other."""
    state.organization("demo")
    key = state.key("demo")
    with writing(state.db) as connection:
        connection.execute(text("DELETE FROM secret_fingerprints"))
    db = connect(state.settings)
    assert isinstance(
        grants.grant_token(
            db, require_same_secret(db, state.settings), ClientCredentials(key.id, key.secret), [], state.now
        ),
        Grant,
    )
    with pytest.raises(UsageError, match="another secret"):
        require_same_secret(db, state.again(secret="a" * 32))
    db.dispose()


def test_rows_of_channels_that_nobody_may_read_are_counted(state: State) -> None:
    """What any organization may read is known; of the rest the most frequent channels are named."""
    assert describe_unread_rows(state.settings, {"c1": 1}) is not None
    state.organization("one", "c1", "c2")
    state.organization("two", "c3")
    assert describe_unread_rows(state.settings, {}) is None
    assert describe_unread_rows(state.settings, {"c1": 5, "c3": 5}) is None
    told = describe_unread_rows(state.settings, {"c1": 5, "x1": 1, "x2": 30, "x3": 2, "x4": 4})
    assert told is not None
    assert told.startswith("37 rows of 4 owner channels that no organization may read ('x2', 'x4', 'x3' …): ")


def test_a_load_beside_an_empty_database_says_what_was_loaded(
    new_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Facts may come before the service makes its state: nobody's channels are known then, and nothing fails."""
    file = tmp_path / "e.csv"
    file.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n")
    monkeypatch.setenv("REELPORT_DATABASE_URL", new_database())
    with pytest.raises(SystemExit) as left:
        main(["load", "earnings", str(file), "--data", str(tmp_path / "data")])
    assert left.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith("earnings: 1 row loaded")
    assert "no organization" not in out + err
