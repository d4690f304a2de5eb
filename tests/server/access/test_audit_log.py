"""The audit log: what is in it, who it is for, and that nothing takes it away; on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, update
from sqlalchemy.exc import DBAPIError
from tests.server.conftest import State

from reelport.server.access import audit_log, organizations, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.reports import removal
from reelport.server.settings import read_settings
from reelport.server.state.database import connected, writing
from reelport.server.state.tables import AUDIT_LOG

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
ANN = Actor("ann@demo.example", "192.0.2.1")


def told(state: State, organization_id: int | None = None) -> list[str]:
    """What the log tells, oldest first."""
    found = audit_log.list_actions(state.db, organization_id=organization_id)
    return [audit_log.describe_action(each) for each in reversed(found)]


def record(state: State, organization_id: int | None, action: Action, actor: Actor = ANN) -> None:
    """Add a row."""
    with writing(state.db) as connection:
        audit_log.record_action(connection, organization_id, actor, action, "x", state.now)


def test_commands_are_in_the_log_of_the_organization(state: State) -> None:
    """Owners read what operators did to their organization, and who it was, in plain words."""
    demo = state.organization("demo", "c-1", "c-2")
    users.add_user(state.db, "demo", "ann@demo.example", "owner", PASSWORD, state.now)
    users.change_password(state.db, "Ann@demo.example", PASSWORD)
    users.remove_user(state.db, "ann@demo.example")
    organizations.allow_channels(state.db, demo, ["c-1"])
    removal.remove_channels(state.db, state.settings, "demo", ["c-1"], state.now)
    assert told(state, demo) == [
        "added an organization: demo",
        "added channels: c-1, c-2",
        "added a user: ann@demo.example (role owner)",
        "changed a password: ann@demo.example",
        "removed a user: ann@demo.example",
        "removed channels: c-1",
    ]
    assert {each.actor.address for each in audit_log.list_actions(state.db)} == {"command line"}


def test_what_has_no_value_is_not_told(state: State) -> None:
    """A key without a name and an expiry has neither word in its row."""
    details: dict[str, object] = {"name": "", "kind": "private", "channels": 0, "expires": None}
    entry = audit_log.AuditEntry(1, state.now, "demo", ANN, Action.KEY_CREATED, "rpk_1", details)
    assert audit_log.describe_action(entry) == "created a key: rpk_1 (kind private, channels 0)"


def test_many_channels_are_counted(state: State) -> None:
    """A row of a thousand names would hide the others."""
    details: dict[str, object] = {"channels": [f"c-{number}" for number in range(11)]}
    entry = audit_log.AuditEntry(1, state.now, "demo", ANN, Action.CHANNELS_ADDED, "", details)
    assert audit_log.describe_action(entry, {"c-1": "One"}) == "added channels: 11 channels"
    few = replace(entry, details={"channels": ["c-1", "c-2"]})
    assert audit_log.describe_action(few, {"c-1": "One"}) == "added channels: One, c-2"


def test_what_is_refused_is_not_in_the_log(state: State) -> None:
    """A row is written in the transaction of its change: both are there, or neither."""
    demo = state.organization("demo", "c-1")
    before = told(state)
    with pytest.raises(Exception, match="reads no channel"):
        removal.remove_channels(state.db, state.settings, "demo", ["c-9"], state.now)
    with pytest.raises(Exception, match="already"):
        organizations.add_organization(state.db, "demo", state.now)
    assert told(state) == told(state, demo) == before


def test_a_removed_organizations_rows_are_no_others(state: State) -> None:
    """SQLite may give its id to the next one, whose owners read nothing of the time before."""
    state.organization("demo", "c-1")
    removal.remove_organization(state.db, state.settings, "demo")
    rival = organizations.add_organization(state.db, "rival", audit_log.list_actions(state.db)[0].at).id
    assert told(state, rival) == ["added an organization: rival"]
    assert "removed an organization: demo" in told(state)
    platform = audit_log.list_actions(state.db, platform_only=True)
    assert [each.action for each in platform] == ["removed an organization"]


def test_rows_are_chosen_by_person_action_and_time(state: State) -> None:
    """All conditions that are given hold."""
    demo, rival = state.organization("demo"), state.organization("rival")
    record(state, demo, Action.SIGNED_IN)
    record(state, demo, Action.SIGNED_OUT)
    record(state, demo, Action.SIGNED_IN, Actor("ben@demo.example", ""))
    record(state, rival, Action.SIGNED_IN)
    found = audit_log.list_actions(state.db, organization_id=demo, actor=ANN.name, action=Action.SIGNED_IN)
    assert [(each.organization, each.actor) for each in found] == [("demo", ANN)]
    assert len(audit_log.list_actions(state.db, actor=ANN.name)) == 3
    assert audit_log.list_actions(state.db, actor=ANN.name, since=state.now + timedelta(seconds=1)) == ()
    for odd in ("\0", "\ud800", "x" * 10_000, "' OR 1=1"):
        assert audit_log.list_actions(state.db, actor=odd) == ()


def test_pages_hold_every_row_once(state: State) -> None:
    """Each begins below the row that the newer one ended with, also while rows are added."""
    demo = state.organization("demo")
    for _ in range(5):
        record(state, demo, Action.SIGNED_IN)
    numbers: list[int] = []
    while page := audit_log.list_actions(state.db, before=numbers[-1] if numbers else None, most=2):
        numbers += [each.number for each in page]
        record(state, demo, Action.SIGNED_OUT)
    assert numbers == sorted(set(numbers), reverse=True)
    assert len(numbers) == 6


def test_no_row_can_be_changed_or_deleted(state: State) -> None:
    """The database refuses, whoever asks."""
    demo = state.organization("demo")
    record(state, demo, Action.SIGNED_IN)
    before = audit_log.list_actions(state.db)
    for statement in (update(AUDIT_LOG).values(actor="nobody"), delete(AUDIT_LOG)):
        with pytest.raises(DBAPIError, match="append-only"), state.db.begin() as connection:
            connection.execute(statement)
    assert audit_log.list_actions(state.db) == before


@pytest.mark.parametrize(
    ("actor", "action", "index"),
    [
        ("", "", "organization_id_number"),
        ("", "signed in", "organization_id_action_number"),
        ("Ann@demo.example", "", "organization_id_lower_actor_number"),
    ],
)
def test_a_page_of_the_log_is_found_by_an_index(tmp_path: Path, actor: str, action: str, index: str) -> None:
    """However long the log is: of an organization, of one of its people, of one kind of action; older ones too."""
    with connected(read_settings(data=tmp_path)) as db:
        found: list[tuple[str, Any]] = []
        event.listen(db, "before_cursor_execute", lambda _c, _cursor, sql, values, *_: found.append((sql, values)))
        audit_log.list_actions(db, organization_id=1, before=9, actor=actor, action=action)
        sql, values = next(each for each in found if "FROM audit_log" in each[0])
        with db.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    (how,) = (row[3] for row in plan if "audit_log" in row[3])
    assert how.startswith(f"SEARCH audit_log USING INDEX ix_audit_log_{index} (organization_id=?")
    assert how.endswith("number<?)")
